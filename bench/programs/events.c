/* What depends on events: how late timers fire, and how threads get on that wait for each other when there are more vCPUs than cores.
 * Not in the list of `programs list`: bench/timers.py runs the first, `bench=spin4,dup4` on the kernel command line the others. */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- lateness of timers: a line `late KIND INTERVAL_US MIN MEDIAN P90 P99`, in microseconds, for each interval ---- */

static const long kIntervals[] = {50000, 200000, 1000000, 10000000}; /* ns */
enum { kIntervalCount = sizeof kIntervals / sizeof *kIntervals, kMost = 4000, kFewest = 60 };

static int64_t nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static struct timespec timespec_of(int64_t at) { return (struct timespec){at / 1000000000, at % 1000000000}; }

static int ascending(const void* a, const void* b) {
    const int64_t x = *(const int64_t*)a, y = *(const int64_t*)b;
    return (x > y) - (x < y);
}

static int64_t sleep_late(long interval) {
    const int64_t at = nanoseconds() + interval;
    const struct timespec t = timespec_of(at);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL)) {}
    return nanoseconds() - at;
}

static timer_t alarm_timer;
static volatile sig_atomic_t rang;
static volatile int64_t rang_at;

static void ring(int number) {
    (void)number;
    rang_at = nanoseconds();
    rang = 1;
}

/* The CPU is busy when the timer fires. */
static int64_t busy_late(long interval) {
    const int64_t at = nanoseconds() + interval;
    const struct itimerspec t = {.it_value = timespec_of(at)};
    rang = 0;
    timer_settime(alarm_timer, TIMER_ABSTIME, &t, NULL);
    while (!rang) {}
    return rang_at - at;
}

static void print_lateness(const char* kind, double seconds, int64_t (*late)(long), double* value) {
    static int64_t found[kMost];
    for (int i = 0; i < kIntervalCount; i++) {
        long count = (long)(seconds * 1e9 / (double)(kIntervals[i] + 100000));
        count = count > kMost ? kMost : count < kFewest ? kFewest : count;
        for (int warm = 0; warm < 20; warm++) late(kIntervals[i]);
        for (long n = 0; n < count; n++) found[n] = late(kIntervals[i]);
        qsort(found, (size_t)count, sizeof *found, ascending);
        printf("late %s %ld %.1f %.1f %.1f %.1f\n", kind, kIntervals[i] / 1000, (double)found[0] / 1e3, (double)found[count / 2] / 1e3,
               (double)found[count * 9 / 10] / 1e3, (double)found[count * 99 / 100] / 1e3);
        if (i == 1) *value = (double)found[count / 2] / 1e3;
    }
}

static int measure_timers(double seconds, double* value, uint64_t* sum) {
    *sum = 0;
    prctl(PR_SET_TIMERSLACK, 1);
    print_lateness("asleep", seconds, sleep_late, value);
    struct sigaction action = {.sa_handler = ring};
    if (sigaction(SIGALRM, &action, NULL) || timer_create(CLOCK_MONOTONIC, NULL, &alarm_timer)) return 1;
    double ignored;
    print_lateness("busy", seconds, busy_late, &ignored);
    return 0;
}

/* ---- four threads that wait for each other ---- */

enum { kThreads = 4 };
static atomic_int over, held, arrived, phase;
static long counted[kThreads];
static volatile uint64_t guarded;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void relax(void) { __builtin_ia32_pause(); }

static void outside(void) {
    for (volatile int i = 0; i < 100; i++) {}
}
static void inside(void) {
    for (int i = 0; i < 100; i++) guarded++;
}

static void by_spinlock(void) {
    while (atomic_exchange(&held, 1))
        while (atomic_load_explicit(&held, memory_order_relaxed)) relax();
    inside();
    atomic_store(&held, 0);
    outside();
}

static void by_mutex(void) {
    pthread_mutex_lock(&mutex);
    inside();
    pthread_mutex_unlock(&mutex);
    outside();
}

/* Each round needs all four: the worst for those that are not scheduled. */
static void by_barrier(void) {
    const int now_in = atomic_load(&phase);
    if (atomic_fetch_add(&arrived, 1) == kThreads - 1) {
        atomic_store(&arrived, 0);
        atomic_fetch_add(&phase, 1);
        return;
    }
    while (atomic_load(&phase) == now_in && !atomic_load(&over)) relax();
}

/* The kernel's spinlock of the table of open files. */
static void by_kernel_lock(void) {
    const int copy = dup(0);
    if (copy >= 0) close(copy);
}

static void (*turn)(void);

static void* take_turns(void* count) {
    long n = 0;
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        turn();
        n++;
    }
    *(long*)count = n;
    return NULL;
}

static int measure_threads(double seconds, double* value, uint64_t* sum) {
    pthread_t threads[kThreads];
    const struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    const double began = now();
    for (int i = 0; i < kThreads; i++)
        if (pthread_create(&threads[i], NULL, take_turns, &counted[i])) return 1;
    nanosleep(&t, NULL);
    atomic_store(&over, 1);
    long all = 0;
    for (int i = 0; i < kThreads; i++) {
        pthread_join(threads[i], NULL);
        all += counted[i];
    }
    *value = (double)all / 1000 / (now() - began);
    *sum = 0;
    return 0;
}

static int measure_spinlock(double s, double* v, uint64_t* sum) { return turn = by_spinlock, measure_threads(s, v, sum); }
static int measure_mutex(double s, double* v, uint64_t* sum) { return turn = by_mutex, measure_threads(s, v, sum); }
static int measure_barrier(double s, double* v, uint64_t* sum) { return turn = by_barrier, measure_threads(s, v, sum); }
static int measure_kernel_lock(double s, double* v, uint64_t* sum) { return turn = by_kernel_lock, measure_threads(s, v, sum); }

/* Four senders, four receivers, each sender to each receiver's pipe: processes that wake each other on all CPUs. */
static void send_all(int pipes[kThreads][2], long rounds) {
    char message[100] = {0};
    for (long n = 0; n < rounds; n++)
        for (int i = 0; i < kThreads; i++)
            if (write(pipes[i][1], message, sizeof message) != sizeof message) _exit(1);
    _exit(0);
}
static void receive_all(int from, long messages) {
    char message[100];
    for (long n = 0; n < messages; n++)
        for (size_t have = 0; have < sizeof message;) {
            const ssize_t more = read(from, message + have, sizeof message - have);
            if (more <= 0) _exit(1);
            have += (size_t)more;
        }
    _exit(0);
}

static int pipe_round(long rounds) {
    int pipes[kThreads][2], wrong = 0;
    for (int i = 0; i < kThreads; i++)
        if (pipe(pipes[i])) return 1;
    for (int i = 0; i < kThreads; i++) {
        if (!fork()) send_all(pipes, rounds);
        if (!fork()) receive_all(pipes[i][0], rounds * kThreads);
    }
    for (int status, i = 0; i < 2 * kThreads; i++) wrong |= wait(&status) < 0 || status;
    for (int i = 0; i < kThreads; i++) close(pipes[i][0]), close(pipes[i][1]);
    return wrong;
}

static int measure_pipes(double seconds, double* value, uint64_t* sum) {
    enum { kRounds = 500 };
    const double began = now();
    long rounds = 0;
    double passed;
    do {
        if (pipe_round(kRounds)) return 1;
        rounds += kRounds;
        passed = now() - began;
    } while (passed < seconds);
    *value = (double)(rounds * kThreads * kThreads) / 1000 / passed;
    *sum = 0;
    return 0;
}

const struct program kEvents[] = {
    {"timers", "events", "us", 1, 0, NULL, NULL, NULL, measure_timers, NULL},
    {"spin4", "events", "kturns/s", 1, 0, NULL, NULL, NULL, measure_spinlock, NULL},
    {"mutex4", "events", "kturns/s", 1, 0, NULL, NULL, NULL, measure_mutex, NULL},
    {"barrier4", "events", "kturns/s", 1, 0, NULL, NULL, NULL, measure_barrier, NULL},
    {"dup4", "events", "kturns/s", 1, 0, NULL, NULL, NULL, measure_kernel_lock, NULL},
    {"hackbench4", "events", "kmessages/s", 1, 0, NULL, NULL, NULL, measure_pipes, NULL},
    {0},
};
