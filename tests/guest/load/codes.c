// Code that changes under several threads: codes SECONDS. Prints the number of wrong answers of each kind.
//   patched   one thread stores a new immediate into a function that the others call: what they see never goes back
//   published new functions in fresh memory, their addresses handed over
//   moved     the page under an address is replaced by another (MAP_FIXED), and everybody is told: nobody sees the old one
//   flipped   a page is writable, then executable, then writable again
//   data      the same for data pages: no thread sees an old page once the call has returned
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { kReaders = 3, kVersions = 64 };
typedef uint32_t (*Function)(void);
static atomic_int over;
static atomic_long wrong[5], calls[5];
static unsigned char *patched, *moved, *flipped, *data;
static _Atomic(Function) published;
static atomic_uint published_number;

static void put(unsigned char* at, uint32_t value) {   // mov eax, value; ret: in one aligned word
    const uint64_t code = 0xb8ull | (uint64_t)value << 8 | 0xc3ull << 40;
    __atomic_store_n((uint64_t*)at, code, __ATOMIC_SEQ_CST);
}

static void* reader(void* unused) {
    uint32_t last = 0, last_published = 0;
    while (!over) {
        for (int n = 0; n < 200; ++n) {
            const uint32_t value = ((Function)patched)();
            wrong[0] += value < last;
            last = value;
            const Function f = published;
            const uint32_t number = f();
            wrong[1] += number < last_published || number > published_number;
            last_published = number;
            calls[0]++;
        }
        sched_yield();
    }
    return unused;
}

/// Everybody meets here; who waits yields.
struct Meeting { atomic_int arrived, round; };
static struct Meeting meeting;
static void meet(void) {
    const int round = meeting.round;
    if (atomic_fetch_add(&meeting.arrived, 1) == kReaders) {
        meeting.arrived = 0;
        meeting.round = round + 1;
        return;
    }
    for (long n = 0; meeting.round == round; ++n)
        if (n % 64 == 63) sched_yield();
}

static uint32_t expected;
static atomic_int leaving;
static void look(void) {
    for (int n = 0; n < 20; ++n) {
        wrong[2] += ((Function)moved)() != expected;
        wrong[3] += ((Function)flipped)() != expected;
        wrong[4] += *(volatile uint32_t*)data != expected || *(volatile uint32_t*)(data + 4096) != expected + 1;
        calls[2]++;
    }
}
static void* follower(void* unused) {
    for (;;) {
        meet();
        if (leaving) return unused;
        look();
        meet();
    }
}

static void change(int files[2], uint32_t n) {
    expected = n;
    const uint32_t slot = n % kVersions;
    mmap(moved, 4096, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, files[0], slot * 4096);
    mprotect(flipped, 4096, PROT_READ | PROT_WRITE);
    put(flipped, n);
    mprotect(flipped, 4096, PROT_READ | PROT_EXEC);
    mmap(data, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, files[1], slot % (kVersions / 2) * 8192);
    if (n & 1) mprotect(data, 8192, PROT_READ);
}

int main(int count, char** arguments) {
    const int seconds = count > 1 ? atoi(arguments[1]) : 5;
    int files[2] = {memfd_create("code", 0), memfd_create("data", 0)};
    if (ftruncate(files[0], kVersions * 4096) || ftruncate(files[1], kVersions * 4096)) return 2;
    unsigned char* codes = mmap(0, kVersions * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, files[0], 0);
    unsigned char* datas = mmap(0, kVersions * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, files[1], 0);
    unsigned char* pages = mmap(0, 64 * 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    patched = pages, moved = pages + 4096, flipped = pages + 2 * 4096, data = pages + 4 * 4096;
    put(patched, 0);
    unsigned char* fresh = mmap(0, 1 << 20, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    put(fresh, 0);
    published = (Function)fresh;

    pthread_t threads[kReaders];
    for (int n = 0; n < kReaders; ++n) pthread_create(&threads[n], 0, reader, 0);
    uint32_t number = 0, version = 0;
    for (const time_t end = time(0) + seconds / 2 + 1; time(0) < end;) {
        for (int k = 0; k < 100; ++k) {
            put(patched, ++version);
            ++number;
            unsigned char* at = fresh + number % ((1 << 20) / 64 - 1) * 64 + 64;   // not one that somebody may be in
            if (at == (unsigned char*)published) continue;
            published_number = number;
            put(at, number);
            published = (Function)at;
        }
        sched_yield();
    }
    over = 1;
    for (int n = 0; n < kReaders; ++n) pthread_join(threads[n], 0);
    wrong[0] += ((Function)patched)() != version;

    for (int n = 0; n < kReaders; ++n) pthread_create(&threads[n], 0, follower, 0);
    uint32_t n = 0;
    for (const time_t end = time(0) + seconds / 2 + 1; time(0) < end; ++n) {
        const uint32_t slot = n % kVersions;
        put(codes + slot * 4096, n);
        uint32_t* d = (uint32_t*)(datas + slot % (kVersions / 2) * 8192);
        d[0] = n, d[1024] = n + 1;
        change(files, n);
        meet();
        look();
        meet();
    }
    leaving = 1;
    meet();
    for (int k = 0; k < kReaders; ++k) pthread_join(threads[k], 0);
    printf("wrong: patched %ld, published %ld, moved %ld, flipped %ld, data %ld; %s\n", wrong[0], wrong[1], wrong[2], wrong[3], wrong[4], version > 100 && n > 20 ? "often" : "hardly");
    fprintf(stderr, "calls %ld, patches %u, moves %u\n", calls[0], version, n);
    return wrong[0] + wrong[1] + wrong[2] + wrong[3] + wrong[4] != 0;
}
