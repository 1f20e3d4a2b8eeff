/* OpenSSL as Debian builds it: `openssl speed`, after the command has given the right answer for a file of generated text. The file
 * sealed.cms (AES-256-GCM of that text by the host's OpenSSL, made by prepare.sh) is below BENCH_FILES. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define YADO_KEY "000102030405060708090a0b0c0d0e0f"
enum { kText = 256 * 1024 };

static unsigned char* write_plain(const char* path) {
    unsigned char* text = touched(kText);
    fill_text(text, kText, kTextSeed);
    if (write_file(path, text, kText)) printf("bench: cannot write %s\n", path);
    return text;
}

/* The checksum of what the command writes. */
static uint64_t sum_of_output(const char* const* arguments) {
    const char* path = scratch_path("out");
    size_t size = 0;
    unsigned char* data = run_tool(path, arguments) ? NULL : read_file(path, &size);
    unlink(path);
    const uint64_t sum = data ? mix_bytes(0, data, size) : 0;
    free(data);
    return sum;
}

static uint64_t digest_sum(const char* plain) { return sum_of_output((const char*[]){"openssl", "dgst", "-sha256", "-binary", plain, NULL}); }

static uint64_t cbc_sum(const char* plain) {
    return sum_of_output((const char*[]){"openssl", "enc", "-aes-128-cbc", "-K", YADO_KEY, "-iv", YADO_KEY, "-in", plain, NULL});
}

static uint64_t open_sealed(const char* sealed) {
    return sum_of_output((const char*[]){"openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", sealed, "-secretkey",
                                         YADO_KEY YADO_KEY, "-secretkeyid", "01", NULL});
}

/* Opens what the host sealed, then what is sealed here. */
static uint64_t gcm_sum(const char* plain) {
    char sealed[256];
    snprintf(sealed, sizeof sealed, "%s/sealed.cms", getenv("BENCH_FILES") ? getenv("BENCH_FILES") : ".");
    const uint64_t theirs = open_sealed(sealed);
    const char* own = scratch_path("sealed");
    if (run_tool(own, (const char*[]){"openssl", "cms", "-encrypt", "-binary", "-aes-256-gcm", "-outform", "DER", "-in", plain, "-secretkey",
                                      YADO_KEY YADO_KEY, "-secretkeyid", "01", NULL}))
        return 0;
    const uint64_t ours = open_sealed(own);
    unlink(own);
    return ours == theirs ? ours : 0;
}

/* Bytes a second, of `openssl speed -mr`'s last field. */
static double speed(const char* algorithm, int seconds) {
    const char* path = scratch_path("speed");
    char duration[12];
    snprintf(duration, sizeof duration, "%d", seconds);
    size_t size = 0;
    const char* arguments[] = {"openssl", "speed", "-mr", "-elapsed", "-evp", algorithm, "-bytes", "16384", "-seconds", duration, NULL};
    mark("begin", 0);
    const double began = now();
    const int status = run_tool(path, arguments);
    mark("end", now() - began);
    char* said = status ? NULL : (char*)read_file(path, &size);
    unlink(path);
    const char* found = said ? strstr(said, "+F:") : NULL;
    const double rate = found ? atof(strrchr(found, ':') + 1) : 0;
    free(said);
    return rate;
}

static int measure(const char* algorithm, uint64_t (*check)(const char* plain), double seconds, double* value, uint64_t* sum) {
    const char* plain = scratch_path("plain");
    free(write_plain(plain));
    *sum = check(plain);
    unlink(plain);
    *value = speed(algorithm, seconds < 1 ? 1 : (int)seconds) / 1e6;
    return *value == 0;
}

static int measure_sha(double seconds, double* value, uint64_t* sum) { return measure("sha256", digest_sum, seconds, value, sum); }
static int measure_cbc(double seconds, double* value, uint64_t* sum) { return measure("aes-128-cbc", cbc_sum, seconds, value, sum); }
static int measure_gcm(double seconds, double* value, uint64_t* sum) { return measure("aes-256-gcm", gcm_sum, seconds, value, sum); }

const struct program kCrypto[] = {
    {.name = "sha256", .group = "crypto", .unit = "MB/s", .expected = 0xf0fee6db251b2908, .measure = measure_sha},
    {.name = "aes128cbc", .group = "crypto", .unit = "MB/s", .expected = 0xe4a8ccf3527e288f, .measure = measure_cbc},
    {.name = "aes256gcm", .group = "crypto", .unit = "MB/s", .expected = 0xd4dba31c319eb542, .measure = measure_gcm},
    {0},
};
