/* Debian's zstd -3 and gzip -6 of generated text: 64 MiB at 0.5 seconds, less for less. The checksum is the packed file's; the runner
 * compares it with the other sides'. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static size_t size_for(double seconds) {
    const double mebibytes = seconds * 128;
    return (size_t)(mebibytes < 4 ? 4 : mebibytes > 64 ? 64 : mebibytes) << 20;
}

static int measure(const char* const* arguments, const char* text, size_t size, double* value, uint64_t* sum) {
    const char* packed = scratch_path("packed");
    mark("begin", 0);
    const double began = now();
    const int status = run_tool(packed, arguments);
    const double passed = now() - began;
    mark("end", passed);
    *value = (double)size / passed / 1e6;
    size_t packed_size = 0;
    unsigned char* data = status ? NULL : read_file(packed, &packed_size);
    *sum = data ? mix_bytes(packed_size, data, packed_size) : 0;
    free(data);
    unlink(packed);
    unlink(text);
    return !data;
}

static const char* write_text(size_t size) {
    const char* path = scratch_path("text");
    unsigned char* text = touched(size);
    fill_text(text, size, kTextSeed);
    if (write_file(path, text, size)) printf("bench: cannot write %s\n", path);
    free(text);
    return path;
}

static int measure_zstd(double seconds, double* value, uint64_t* sum) {
    const char* text = write_text(size_for(seconds));
    return measure((const char*[]){"zstd", "-3", "-q", "-c", text, NULL}, text, size_for(seconds), value, sum);
}

static int measure_gzip(double seconds, double* value, uint64_t* sum) {
    const char* text = write_text(size_for(seconds));
    return measure((const char*[]){"gzip", "-6", "-n", "-c", text, NULL}, text, size_for(seconds), value, sum);
}

const struct program kZip[] = {
    {.name = "zstd", .group = "zstd", .unit = "MB/s", .measure = measure_zstd},
    {.name = "gzip", .group = "gzip", .unit = "MB/s", .measure = measure_gzip},
    {0},
};
