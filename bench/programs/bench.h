/* What a benchmark program is: fixed rounds of work, repeated until the time given is over, each with a checksum that must be right.
 * One static binary holds them all: `programs NAME [SECONDS]` prints one line, `bench NAME VALUE UNIT SUM`; a wrong result fails. */
#ifndef YADO_BENCH_H
#define YADO_BENCH_H

#include <stddef.h>
#include <stdint.h>

struct program {
    const char* name;
    const char* group;
    const char* unit;            /* more is better */
    double amount;               /* units of work in one round */
    uint64_t expected;           /* checksum of every round */
    void (*setup)(void);         /* allocates and touches its memory; not timed */
    uint64_t (*round)(void);     /* 10 to 50 ms natively, so that an engine 40 times slower still ends */
    int (*finish)(void);         /* may be NULL; a last check, not timed; 0 if right */
    int (*measure)(double seconds, double* value, uint64_t* sum); /* instead of round: measures on its own; 0 if right */
    const char* (*absent)(void); /* may be NULL; why this CPU cannot run it, or NULL */
};

/* each ends with name NULL */
extern const struct program kInteger[], kFloat[], kX87[], kLinpack[], kVector[], kCrypto[], kZip[], kMemory[], kSystem[], kParallel[];
extern const struct program kEvents[]; /* not listed: other scripts' */

/* common.c */
double now(void);                                           /* seconds, monotonic */
void mark(const char* what, double passed);                 /* begin or end of the timed part: with BENCH_STEP, says it and awaits a line */
uint64_t mix(uint64_t hash, uint64_t value);                /* adds a value to a checksum */
uint64_t mix_bytes(uint64_t hash, const void* data, size_t size);
uint64_t mix_doubles(uint64_t hash, const double* values, size_t count); /* their exact bits */
uint64_t next_random(uint64_t* state);                      /* xorshift64* */
void* touched(size_t size);                                 /* zeroed memory whose pages exist; never fails */
enum { kTextSeed = 3 };
void fill_text(unsigned char* out, size_t size, uint64_t seed); /* words, some digits, line ends */
const char* scratch_path(const char* name);                 /* below TMPDIR; the last four stay valid */
int run_tool(const char* output, const char* const* arguments); /* its standard output goes to that file; 0 if it ended with 0 */
int write_file(const char* path, const void* data, size_t size); /* 0 if written */
unsigned char* read_file(const char* path, size_t* size);   /* allocated and ended by a zero; NULL if unreadable */

/* bytecode.c: the interpreter loop, also the work of the parallel rows */
uint64_t run_bytecode(int64_t* memory);
enum { kBytecodeMemory = 1 << 13 };

#endif
