/* AVX2 and FMA: a blocked matrix product, and integer work on bytes. Absent where the CPU model does not show them. */
#include "bench.h"

#include <immintrin.h>

#define YADO_V3 __attribute__((target("avx2,fma,bmi,bmi2")))

static const char* without_v3(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? NULL : "the CPU shows no AVX2 and FMA";
}

/* ---- fma: c = a * b, rows of 8 doubles at a time ---- */
enum { kOrder = 256, kBytes = 1 << 20, kPasses = 16 };
static double *a, *b, *c;

static void fma_setup(void) {
    a = touched(kOrder * kOrder * sizeof *a);
    b = touched(kOrder * kOrder * sizeof *b);
    c = touched(kOrder * kOrder * sizeof *c);
    uint64_t state = 17;
    for (int i = 0; i < kOrder * kOrder; i++) {
        a[i] = (double)(next_random(&state) >> 40) / 16777216.0;
        b[i] = (double)(next_random(&state) >> 40) / 16777216.0;
    }
}

/* Rows i to i + 3 and columns j to j + 7 of c: eight registers of sums. */
YADO_V3 static void multiply_tile(int i, int j) {
    __m256d sums[4][2] = {0};
    for (int k = 0; k < kOrder; k++) {
        const __m256d low = _mm256_load_pd(b + k * kOrder + j), high = _mm256_load_pd(b + k * kOrder + j + 4);
        for (int row = 0; row < 4; row++) {
            const __m256d factor = _mm256_broadcast_sd(a + (i + row) * kOrder + k);
            sums[row][0] = _mm256_fmadd_pd(factor, low, sums[row][0]);
            sums[row][1] = _mm256_fmadd_pd(factor, high, sums[row][1]);
        }
    }
    for (int row = 0; row < 4; row++) {
        _mm256_store_pd(c + (i + row) * kOrder + j, sums[row][0]);
        _mm256_store_pd(c + (i + row) * kOrder + j + 4, sums[row][1]);
    }
}

static uint64_t fma_round(void) {
    for (int i = 0; i < kOrder; i += 4)
        for (int j = 0; j < kOrder; j += 8) multiply_tile(i, j);
    return mix_doubles(0, c, kOrder * kOrder);
}

/* ---- avx2: bytes looked up by nibble (the way of SIMD text parsers), compared, and summed ---- */
static unsigned char* bytes;

static void avx2_setup(void) {
    bytes = touched(kBytes);
    fill_text(bytes, kBytes, kTextSeed);
}

YADO_V3 static __m256i classify(__m256i data) {
    const __m256i table = _mm256_broadcastsi128_si256(_mm_setr_epi8(3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3));
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(data, nibble));
    const __m256i high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(data, 4), nibble));
    const __m256i spaces = _mm256_cmpeq_epi8(data, _mm256_set1_epi8(' '));
    return _mm256_blendv_epi8(_mm256_add_epi8(low, _mm256_max_epu8(high, low)), nibble, spaces);
}

YADO_V3 static uint64_t avx2_pass(int pass) {
    __m256i total = _mm256_setzero_si256();
    uint64_t spaces = 0;
    for (int i = 0; i < kBytes; i += 32) {
        const __m256i classes = classify(_mm256_xor_si256(_mm256_load_si256((const __m256i*)(bytes + i)), _mm256_set1_epi8((char)pass)));
        const __m256i pairs = _mm256_maddubs_epi16(classes, _mm256_set1_epi8(3));
        total = _mm256_add_epi64(total, _mm256_sad_epu8(_mm256_packus_epi16(pairs, pairs), _mm256_permute4x64_epi64(classes, 0x4e)));
        spaces += (uint64_t)__builtin_popcount((unsigned)_mm256_movemask_epi8(_mm256_cmpgt_epi8(classes, _mm256_set1_epi8(14))));
    }
    uint64_t lanes[4];
    _mm256_storeu_si256((__m256i*)lanes, total);
    return mix_bytes(spaces, lanes, sizeof lanes);
}

static uint64_t avx2_round(void) {
    uint64_t sum = 0;
    for (int pass = 0; pass < kPasses; pass++) sum = mix(sum, avx2_pass(pass));
    return sum;
}

const struct program kVector[] = {
    {"fma", "vector", "GFLOPS", 2.0 * kOrder * kOrder * kOrder / 1e9, 0x32ff28b4f4ed03f7, fma_setup, fma_round, NULL, NULL, without_v3},
    {"avx2", "vector", "MB/s", (double)kBytes * kPasses / 1e6, 0x6580ffbbeb6cb4c0, avx2_setup, avx2_round, NULL, NULL, without_v3},
    {0},
};
