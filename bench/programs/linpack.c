/* LINPACK's dense solve: LU factors with partial pivoting (dgefa), back substitution (dgesl), on columns, as the 1979 original. */
#include "bench.h"

#include <string.h>

enum { kOrder = 1000, kSmallOrder = 200 };
static double *a, *b;
static int* pivots;

static void linpack_setup(void) {
    a = touched((size_t)kOrder * kOrder * sizeof *a);
    b = touched(kOrder * sizeof *b);
    pivots = touched(kOrder * sizeof *pivots);
}

/* A random matrix and the right side for which every unknown is 1. */
static void generate(int n) {
    uint64_t state = 1325;
    memset(b, 0, (size_t)n * sizeof *b);
    for (int j = 0; j < n; j++)
        for (int i = 0; i < n; i++) {
            a[(size_t)j * n + i] = (double)(next_random(&state) >> 40) / 16777216.0 - 0.5;
            b[i] += a[(size_t)j * n + i];
        }
}

static void daxpy(int n, double factor, const double* restrict x, double* restrict y) {
    for (int i = 0; i < n; i++) y[i] += factor * x[i];
}

static int idamax(int n, const double* x) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (__builtin_fabs(x[i]) > __builtin_fabs(x[best])) best = i;
    return best;
}

static void swap(double* x, double* y) {
    const double was = *x;
    *x = *y;
    *y = was;
}

static void dgefa(int n) {
    for (int k = 0; k < n - 1; k++) {
        double* column = a + (size_t)k * n;
        const int pivot = pivots[k] = k + idamax(n - k, column + k);
        swap(&column[pivot], &column[k]);
        for (int i = k + 1; i < n; i++) column[i] *= -1.0 / column[k];
        for (int j = k + 1; j < n; j++) {
            double* other = a + (size_t)j * n;
            swap(&other[pivot], &other[k]);
            daxpy(n - k - 1, other[k], column + k + 1, other + k + 1);
        }
    }
}

static void dgesl(int n) {
    for (int k = 0; k < n - 1; k++) {
        swap(&b[pivots[k]], &b[k]);
        daxpy(n - k - 1, b[k], a + (size_t)k * n + k + 1, b + k + 1);
    }
    for (int k = n - 1; k >= 0; k--) {
        b[k] /= a[(size_t)k * n + k];
        daxpy(k, -b[k], a + (size_t)k * n, b);
    }
}

/* The solution's bits; 0 if an unknown is not 1. */
static uint64_t solve(int n) {
    generate(n);
    dgefa(n);
    dgesl(n);
    for (int i = 0; i < n; i++)
        if (__builtin_fabs(b[i] - 1) > 1e-8) return 0;
    return mix_doubles(0, b, (size_t)n);
}

static uint64_t linpack_round(void) { return solve(kOrder); }

static uint64_t small_round(void) {
    uint64_t sum = 0;
    for (int i = 0; i < 4; i++) sum = mix(sum, solve(kSmallOrder));
    return sum;
}

#define YADO_OPERATIONS(n) (2.0 * (n) * (n) * (n) / 3 + 2.0 * (n) * (n))

const struct program kLinpack[] = {
    {"linpack", "linpack", "GFLOPS", YADO_OPERATIONS(kOrder) / 1e9, 0x362eaf1be1e3e683, linpack_setup, linpack_round, NULL, NULL},
    {"linpack200", "linpack", "GFLOPS", YADO_OPERATIONS(kSmallOrder) * 4 / 1e9, 0x492c570a4c55cd03, linpack_setup, small_round, NULL, NULL},
    {0},
};
