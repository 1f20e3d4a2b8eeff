/* Clock, checksums, random numbers and generated text of the benchmark programs. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

uint64_t mix_bytes(uint64_t hash, const void* data, size_t size) {
    const unsigned char* at = data;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = mix(hash, word);
    }
    for (; size; at++, size--) hash = mix(hash, *at);
    return hash;
}

uint64_t mix_doubles(uint64_t hash, const double* values, size_t count) { return mix_bytes(hash, values, count * sizeof *values); }

uint64_t next_random(uint64_t* state) {
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1du;
}

void* touched(size_t size) {
    void* memory = aligned_alloc(64, (size + 63) & ~(size_t)63);
    if (!memory) {
        fprintf(stderr, "bench: no memory for %zu bytes\n", size);
        exit(1);
    }
    memset(memory, 1, size); /* not zero: gcc would make a calloc of it, whose pages do not exist yet */
    memset(memory, 0, size);
    return memory;
}

enum { kWords = 1024, kWordRoom = 12 };

static size_t make_words(char words[kWords][kWordRoom], uint64_t* state) {
    for (int w = 0; w < kWords; w++) {
        const int length = 2 + (int)(next_random(state) % 9);
        for (int i = 0; i < length; i++) words[w][i] = "etaoinshrdlucmfwypvbgk"[next_random(state) % 22 * (next_random(state) % 22) / 22];
        words[w][length] = 0;
    }
    return kWords;
}

void fill_text(unsigned char* out, size_t size, uint64_t seed) {
    static char words[kWords][kWordRoom];
    uint64_t state = seed * 2 + 1;
    make_words(words, &state);
    for (size_t at = 0; at < size;) {
        const uint64_t r = next_random(&state);
        char text[24];
        int length;
        if ((r & 31) == 0) length = snprintf(text, sizeof text, "%u\n", (unsigned)(r >> 44));
        else length = snprintf(text, sizeof text, "%s ", words[(r >> 32 & 1023) * (r >> 42 & 1023) >> 10]);
        for (int i = 0; i < length && at < size; i++) out[at++] = (unsigned char)text[i];
    }
}
