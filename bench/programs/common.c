/* Clock, checksums, random numbers, generated text, and other programs' runs, for the benchmark programs. */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void mark(const char* what, double passed) {
    if (!getenv("BENCH_STEP")) return;
    printf("bench %s %.6f\n", what, passed);
    fflush(stdout);
    for (int c = getchar(); c != '\n' && c != EOF;) c = getchar();
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

enum { kWords = 1024, kLongest = 16 };
struct word { char text[kLongest]; int length; };

static void make_words(struct word* words, uint64_t* state) {
    for (int w = 0; w < kWords; w++) {
        const int length = 2 + (int)(next_random(state) % 9);
        for (int i = 0; i < length; i++) words[w].text[i] = "etaoinshrdlucmfwypvbgk"[next_random(state) % 22 * (next_random(state) % 22) / 22];
        words[w].text[length] = w % 32 ? ' ' : '\n';
        words[w].length = length + 1;
    }
}

void fill_text(unsigned char* out, size_t size, uint64_t seed) {
    static struct word words[kWords];
    uint64_t state = seed * 2 + 1;
    make_words(words, &state);
    for (size_t at = 0; at < size;) {
        const uint64_t r = next_random(&state);
        struct word* word = &words[(r >> 32 & 1023) * (r >> 42 & 1023) >> 10]; /* early words are frequent */
        if ((r & 63) == 0) word->text[0] = (char)('0' + (r >> 56) % 10);
        const size_t length = (size_t)word->length < size - at ? (size_t)word->length : size - at;
        memcpy(out + at, word->text, length);
        at += length;
    }
}

/* ---- other programs ---- */
const char* scratch_path(const char* name) {
    static char paths[4][256];
    static int used;
    char* path = paths[used++ % 4];
    snprintf(path, sizeof paths[0], "%s/yado-bench-%d-%s", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", (int)getpid(), name);
    return path;
}

int run_tool(const char* output, const char* const* arguments) {
    const pid_t started = fork();
    if (started == 0) {
        const int file = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        const int silence = open("/dev/null", O_WRONLY);
        if (file < 0 || dup2(file, 1) < 0 || dup2(silence, 2) < 0) _exit(126);
        execvp(arguments[0], (char* const*)arguments);
        _exit(127);
    }
    int status = 1;
    if (started < 0 || waitpid(started, &status, 0) != started) return 1;
    if (status) printf("bench: %s %s ended with %d\n", arguments[0], arguments[1], WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    return status;
}

int write_file(const char* path, const void* data, size_t size) {
    FILE* file = fopen(path, "w");
    if (!file) return 1;
    const int bad = fwrite(data, 1, size, file) != size;
    return fclose(file) || bad;
}

unsigned char* read_file(const char* path, size_t* size) {
    FILE* file = fopen(path, "r");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char* data = touched(*size + 1);
    const int bad = fread(data, 1, *size, file) != *size;
    fclose(file);
    if (!bad) return data;
    free(data);
    return NULL;
}
