/* A load that can be judged after its disk was cut off at any moment: batches of 4 KiB blocks, each full of a pattern
 * made of its batch and place, and a flush behind each batch; "flushed N" is said when that has returned. What a batch
 * writes follows from its number alone, so that blocks.py knows it too. In each batch some blocks of earlier ones are read back.
 *
 *     blocks DEVICE FIRST_BATCH BATCHES
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { kBlock = 4096, kMostWrites = 48, kZeroed = 16 };

static uint64_t mix(uint64_t x) { /* splitmix64's finalizer */
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void fill(uint64_t *words, uint64_t batch, uint64_t block) {
    words[0] = batch;
    words[1] = block;
    for (uint64_t n = 2; n < kBlock / 8; ++n) words[n] = mix(batch * 1000003 + block * 512 + n);
}

static void die(const char *what) {
    printf("yado-test blocks: WRONG %s\n", what);
    perror(what);
    exit(1);
}

static uint64_t *expected, blocks; /* the batch that wrote a block last in this run; 0: none. ~0: zeroes */
static char *page, *other;

static void check(int fd, uint64_t block) {
    if (expected[block] == 0) return;
    if (pread(fd, page, kBlock, (off_t)(block * kBlock)) != kBlock) die("read");
    memset(other, 0, kBlock);
    if (expected[block] != ~0ull) fill((uint64_t *)other, expected[block], block);
    if (memcmp(page, other, kBlock) == 0) return;
    printf("yado-test blocks: WRONG block %llu: of batch %llu, expected %llu\n", (unsigned long long)block,
           (unsigned long long)*(uint64_t *)page, (unsigned long long)expected[block]);
    exit(1);
}

static void do_batch(int cached, int direct, uint64_t batch) {
    uint64_t state = mix(batch);
    const uint64_t writes = 1 + state % kMostWrites;
    for (uint64_t n = 0; n < writes; ++n) {
        state = mix(state);
        const uint64_t block = state % blocks;
        fill((uint64_t *)page, batch, block);
        const int fd = state >> 60 < 8 ? cached : direct;
        if (pwrite(fd, page, kBlock, (off_t)(block * kBlock)) != kBlock) die("write");
        expected[block] = batch;
    }
    state = mix(state);
    if (state % 4 == 0) {
        const uint64_t first = state / 4 % (blocks / kZeroed) * kZeroed;
        uint64_t range[2] = {first * kBlock, (uint64_t)kZeroed * kBlock};
        if (ioctl(cached, BLKZEROOUT, range) != 0) die("zero");
        for (uint64_t n = first; n < first + kZeroed; ++n) expected[n] = ~0ull;
    }
    if (fsync(cached) != 0) die("flush");
    printf("yado-test blocks: flushed %llu\n", (unsigned long long)batch);
    for (int n = 0; n < 8; ++n) check(direct, (state = mix(state)) % blocks);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    const int cached = open(argv[1], O_RDWR), direct = open(argv[1], O_RDWR | O_DIRECT);
    uint64_t bytes = 0;
    if (cached < 0 || direct < 0 || ioctl(cached, BLKGETSIZE64, &bytes) != 0) die("open");
    blocks = bytes / kBlock;
    expected = calloc(blocks, sizeof *expected);
    page = aligned_alloc(kBlock, kBlock);
    other = aligned_alloc(kBlock, kBlock);
    const uint64_t first = strtoull(argv[2], NULL, 10), count = strtoull(argv[3], NULL, 10);
    for (uint64_t batch = first; batch < first + count; ++batch) do_batch(cached, direct, batch);
    for (uint64_t block = 0; block < blocks; ++block) check(direct, block);
    printf("yado-test blocks: all %llu batches\n", (unsigned long long)count);
    return 0;
}
