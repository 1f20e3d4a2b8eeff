/* System work: system calls, a pipe between two processes, fork+exec+wait, mmap and touch. On one CPU, as a guest with one has it. */
#define _GNU_SOURCE
#include "bench.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kCalls = 20000, kTrips = 1000, kStarts = 10, kPages = 2048, kPageSize = 4096 };

static void stay_here(void) {
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(sched_getcpu(), &here);
    sched_setaffinity(0, sizeof here, &here);
}

static uint64_t getppid_round(void) {
    const long parent = syscall(SYS_getppid);
    uint64_t same = 0;
    for (int i = 0; i < kCalls; i++) same += syscall(SYS_getppid) == parent;
    return same;
}

/* ---- pipe: a child answers each number with its successor ---- */
static int to_child[2], from_child[2];
static pid_t child;

static void answer(void) {
    uint32_t number;
    close(to_child[1]);
    while (read(to_child[0], &number, sizeof number) == sizeof number) {
        number++;
        if (write(from_child[1], &number, sizeof number) != sizeof number) break;
    }
    _exit(0);
}

static void pipe_setup(void) {
    stay_here();
    if (pipe(to_child) || pipe(from_child) || (child = fork()) < 0) {
        perror("bench: pipe");
        exit(1);
    }
    if (child == 0) answer();
}

static uint64_t pipe_round(void) {
    uint64_t right = 0;
    for (uint32_t i = 0; i < kTrips; i++) {
        uint32_t number = i;
        if (write(to_child[1], &number, sizeof number) != sizeof number) return 0;
        if (read(from_child[0], &number, sizeof number) != sizeof number) return 0;
        right += number == i + 1;
    }
    return right;
}

static int pipe_finish(void) {
    int status = 1;
    close(to_child[1]);
    return waitpid(child, &status, 0) == child ? status : 1;
}

/* ---- forkexec: this binary again, which ends with the status asked for ---- */
static uint64_t forkexec_round(void) {
    uint64_t right = 0;
    for (int i = 0; i < kStarts; i++) {
        char number[12];
        snprintf(number, sizeof number, "%d", i + 3);
        const pid_t started = fork();
        if (started == 0) {
            execl("/proc/self/exe", "programs", "exit", number, (char*)NULL);
            _exit(127);
        }
        int status = 0;
        right += waitpid(started, &status, 0) == started && WIFEXITED(status) && WEXITSTATUS(status) == i + 3;
    }
    return right;
}

/* ---- mmap: fresh pages are mapped, found to be zero, written, unmapped ---- */
static uint64_t mmap_round(void) {
    char* pages = mmap(NULL, (size_t)kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return 0;
    madvise(pages, (size_t)kPages * kPageSize, MADV_NOHUGEPAGE);
    uint64_t touched_pages = 0;
    for (int i = 0; i < kPages; i++) {
        char* at = pages + (size_t)i * kPageSize;
        *(volatile char*)at = 1;
        touched_pages += at[1] == 0;
    }
    munmap(pages, (size_t)kPages * kPageSize);
    return touched_pages;
}

const struct program kSystem[] = {
    {"getppid", "system", "kcalls/s", kCalls / 1e3, kCalls, stay_here, getppid_round, NULL, NULL},
    {"pipe", "system", "ktrips/s", kTrips / 1e3, kTrips, pipe_setup, pipe_round, pipe_finish, NULL},
    {"forkexec", "system", "starts/s", kStarts, kStarts, stay_here, forkexec_round, NULL, NULL},
    {"mmap", "system", "kpages/s", kPages / 1e3, kPages, stay_here, mmap_round, NULL, NULL},
    {0},
};
