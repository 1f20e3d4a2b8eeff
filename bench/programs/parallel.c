/* The same compute on one thread and on two at once: what a second vCPU brings. */
#include "bench.h"

#include <pthread.h>

enum { kMachines = 2, kTurns = 2 };
static int64_t* memories[kMachines];

static void parallel_setup(void) {
    for (int i = 0; i < kMachines; i++) memories[i] = touched(kBytecodeMemory * sizeof **memories);
}

static void* work(void* memory) {
    uint64_t sum = 0;
    for (int i = 0; i < kTurns; i++) sum = mix(sum, run_bytecode(memory));
    return (void*)(uintptr_t)sum;
}

static uint64_t one_round(void) { return (uintptr_t)work(memories[0]); }

static uint64_t two_round(void) {
    pthread_t other;
    void* sum = NULL;
    if (pthread_create(&other, NULL, work, memories[1])) return 0;
    const uint64_t own = (uintptr_t)work(memories[0]);
    pthread_join(other, &sum);
    return own == (uintptr_t)sum ? own : 0;
}

const struct program kParallel[] = {
    {"threads1", "parallel", "turns/s", kTurns, 0x8f53bfe32b1490ae, parallel_setup, one_round, NULL, NULL},
    {"threads2", "parallel", "turns/s", 2 * kTurns, 0x8f53bfe32b1490ae, parallel_setup, two_round, NULL, NULL},
    {0},
};
