/* Memory, in arrays beyond the caches: copy, STREAM's triad, set (the guest's libc decides how), and a chase of pointers. */
#include "bench.h"

#include <string.h>

enum { kBytes = 32 << 20, kTimes = 4, kDoubles = 1 << 21, kNodes = 1 << 18, kHops = 1 << 20 };
static unsigned char *source, *target;

static void copy_setup(void) {
    source = touched(kBytes);
    target = touched(kBytes);
    uint64_t state = 11;
    for (int i = 0; i < kBytes; i += 8) {
        const uint64_t word = next_random(&state);
        memcpy(source + i, &word, 8);
    }
}

/* A byte of every page and a half. */
static uint64_t sample(const unsigned char* bytes, uint64_t sum) {
    for (int i = 0; i < kBytes; i += 6151) sum = mix(sum, bytes[i]);
    return sum;
}

static uint64_t copy_round(void) {
    uint64_t sum = 0;
    for (int i = 0; i < kTimes; i++) {
        source[6151 * (i + 1)] = (unsigned char)i;
        memcpy(target, source, kBytes);
        sum = mix(sum, target[6151 * (i + 1)]);
    }
    return sample(target, sum);
}

static int copy_finish(void) { return memcmp(source, target, kBytes); }

static uint64_t set_round(void) {
    uint64_t sum = 0;
    for (int i = 0; i < kTimes; i++) {
        memset(target, i + 1, kBytes);
        sum = mix(sum, target[6151 * (i + 1)]);
    }
    return sample(target, sum);
}

static int set_finish(void) {
    for (int i = 0; i < kBytes; i++)
        if (target[i] != kTimes) return 1;
    return 0;
}

static double *x, *y, *z;

static void triad_setup(void) {
    x = touched(kDoubles * sizeof *x);
    y = touched(kDoubles * sizeof *y);
    z = touched(kDoubles * sizeof *z);
    for (int i = 0; i < kDoubles; i++) y[i] = i, z[i] = 0.5 * i;
}

static __attribute__((noinline)) void triad(double* restrict out, const double* restrict in, const double* restrict scaled, double scale) {
    for (int i = 0; i < kDoubles; i++) out[i] = in[i] + scale * scaled[i];
}

static uint64_t triad_round(void) {
    uint64_t sum = 0;
    for (int i = 0; i < kTimes; i++) {
        triad(x, y, z, i);
        sum = mix_doubles(sum, x + 1000 * i, 8);
    }
    return sum;
}

/* ---- chase: each node, a cache line, names the next; one cycle through all in random order ---- */
static struct node { struct node* next; uint64_t value; char rest[48]; } *nodes;

static void chase_setup(void) {
    nodes = touched(kNodes * sizeof *nodes);
    uint32_t* order = touched(kNodes * sizeof *order);
    uint64_t state = 23;
    for (uint32_t i = 0; i < kNodes; i++) order[i] = i;
    for (uint32_t i = kNodes - 1; i > 0; i--) {
        const uint32_t j = (uint32_t)((next_random(&state) >> 32) * i >> 32), was = order[i];
        order[i] = order[j];
        order[j] = was;
    }
    for (uint32_t i = 0; i < kNodes; i++) {
        nodes[order[i]].next = &nodes[order[(i + 1) % kNodes]];
        nodes[order[i]].value = i;
    }
}

static uint64_t chase_round(void) {
    const struct node* at = nodes;
    uint64_t sum = 0;
    for (int hop = 0; hop < kHops; hop++, at = at->next) sum += at->value;
    return sum;
}

const struct program kMemory[] = {
    {"copy", "memory", "MB/s", (double)kBytes * kTimes / 1e6, 0x1b0b69b3ad21aa55, copy_setup, copy_round, copy_finish, NULL},
    {"triad", "memory", "MB/s", (double)kDoubles * 24 * kTimes / 1e6, 0xd38aef6aac890088, triad_setup, triad_round, NULL, NULL},
    {"set", "memory", "MB/s", (double)kBytes * kTimes / 1e6, 0x49516a15c4c28f26, copy_setup, set_round, set_finish, NULL},
    {"chase", "memory", "Mhops/s", kHops / 1e6, 0x1ffff80000, chase_setup, chase_round, NULL, NULL},
    {0},
};
