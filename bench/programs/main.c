/* Runs one program: `programs NAME [SECONDS]`, which ends with a line `bench done STATUS`; `programs list` names them all with group and unit;
 * `programs text SIZE` writes generated text. */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct program* const kGroups[] = {kInteger, kFloat, kX87, kLinpack, kVector, kCrypto, kZip, kMemory, kSystem, kParallel};
enum { kGroupCount = sizeof kGroups / sizeof *kGroups };

static void list(void) {
    for (size_t g = 0; g < kGroupCount; g++)
        for (const struct program* p = kGroups[g]; p->name; p++) printf("%s %s %s\n", p->name, p->group, p->unit);
}

static const struct program* find(const char* name) {
    for (size_t g = 0; g <= kGroupCount; g++)
        for (const struct program* p = g < kGroupCount ? kGroups[g] : kEvents; p->name; p++)
            if (!strcmp(p->name, name)) return p;
    return NULL;
}

static int wrong(const struct program* p, uint64_t sum) {
    printf("bench %s wrong: checksum 0x%" PRIx64 ", not 0x%" PRIx64 "\n", p->name, sum, p->expected);
    return 1;
}

/* Rounds until the time is over, at least one. Returns 0 if every checksum was right. */
static int measure_rounds(const struct program* p, double seconds, double* value, uint64_t* sum) {
    if (p->setup) p->setup();
    mark("begin", 0);
    const double began = now();
    double passed;
    long rounds = 0;
    do {
        *sum = p->round();
        rounds++;
        if (*sum != p->expected) return wrong(p, *sum);
        passed = now() - began;
    } while (passed < seconds);
    mark("end", passed);
    *value = (double)rounds * p->amount / passed;
    if (!p->finish || p->finish() == 0) return 0;
    printf("bench %s wrong: the last check\n", p->name);
    return 1;
}

static int run(const struct program* p, double seconds) {
    const char* why = p->absent ? p->absent() : NULL;
    if (why) {
        printf("bench %s absent: %s\n", p->name, why);
        return 3;
    }
    double value = 0;
    uint64_t sum = 0;
    const int status = p->measure ? p->measure(seconds, &value, &sum) : measure_rounds(p, seconds, &value, &sum);
    if (status == 0 && p->measure && p->expected && sum != p->expected) return wrong(p, sum);
    if (status == 0) printf("bench %s %.6g %s %" PRIx64 "\n", p->name, value, p->unit, sum);
    return status;
}

/* The text that compress, crypto and zip work on. */
static int write_text(size_t size) {
    unsigned char* text = touched(size);
    fill_text(text, size, kTextSeed);
    return fwrite(text, 1, size, stdout) != size;
}

int main(int argc, char** argv) {
    if (argc == 3 && !strcmp(argv[1], "exit")) return atoi(argv[2]); /* what the fork+exec benchmark starts */
    if (argc == 2 && !strcmp(argv[1], "list")) return list(), 0;
    if (argc == 3 && !strcmp(argv[1], "text")) return write_text((size_t)atol(argv[2]));
    const struct program* p = argc > 1 ? find(argv[1]) : NULL;
    if (!p) {
        fprintf(stderr, "usage: programs list | text SIZE | NAME [SECONDS]\n");
        return 2;
    }
    const int status = run(p, argc > 2 ? atof(argv[2]) : 0.5);
    printf("bench done %d\n", status);
    return status;
}
