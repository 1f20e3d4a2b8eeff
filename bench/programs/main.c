/* Runs one program: `programs NAME [SECONDS]`; `programs list` names them all with group and unit. */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct program* const kGroups[] = {kInteger, kFloat, kLinpack, kVector, kCrypto, kZip, kMemory, kSystem, kParallel};

static void list(void) {
    for (size_t g = 0; g < sizeof kGroups / sizeof *kGroups; g++)
        for (const struct program* p = kGroups[g]; p->name; p++) printf("%s %s %s\n", p->name, p->group, p->unit);
}

static const struct program* find(const char* name) {
    for (size_t g = 0; g < sizeof kGroups / sizeof *kGroups; g++)
        for (const struct program* p = kGroups[g]; p->name; p++)
            if (!strcmp(p->name, name)) return p;
    return NULL;
}

/* Rounds until the time is over, at least one. Returns 0 if every checksum was right. */
static int measure_rounds(const struct program* p, double seconds, double* value, uint64_t* sum) {
    if (p->setup) p->setup();
    const double began = now();
    double passed;
    long rounds = 0;
    do {
        *sum = p->round();
        rounds++;
        if (*sum != p->expected) {
            printf("bench %s wrong: checksum 0x%" PRIx64 ", not 0x%" PRIx64 ", in round %ld\n", p->name, *sum, p->expected, rounds);
            return 1;
        }
        passed = now() - began;
    } while (passed < seconds);
    *value = (double)rounds * p->amount / passed;
    if (!p->finish || p->finish() == 0) return 0;
    printf("bench %s wrong: the last check\n", p->name);
    return 1;
}

static int run(const struct program* p, double seconds) {
    double value = 0;
    uint64_t sum = 0;
    const int status = p->measure ? p->measure(seconds, &value, &sum) : measure_rounds(p, seconds, &value, &sum);
    if (status == 0) printf("bench %s %.6g %s %" PRIx64 "\n", p->name, value, p->unit, sum);
    return status;
}

int main(int argc, char** argv) {
    if (argc == 3 && !strcmp(argv[1], "exit")) return atoi(argv[2]); /* what the fork+exec benchmark starts */
    if (argc == 2 && !strcmp(argv[1], "list")) return list(), 0;
    const struct program* p = argc > 1 ? find(argv[1]) : NULL;
    if (!p) {
        fprintf(stderr, "usage: programs list | NAME [SECONDS]\n");
        return 2;
    }
    return run(p, argc > 2 ? atof(argv[2]) : 0.5);
}
