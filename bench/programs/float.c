/* Floating-point work. Results are exact to the bit: only operations that IEEE 754 rounds one way (no libm, no contraction). */
#include "bench.h"

#include <emmintrin.h>

/* ---- scalar: a polynomial and the logistic map, conversions and compares between ---- */
enum { kSteps = 1500000 };

static uint64_t scalar_round(void) {
    static const double coefficients[8] = {0.5, -0.25, 0.125, 1.5, -0.75, 0.0625, 0.3, -0.1};
    double x = 0.37, total = 0;
    long above = 0;
    for (int i = 0; i < kSteps; i++) {
        x = 3.75 * x * (1 - x);
        double p = coefficients[0];
        for (int c = 1; c < 8; c++) p = p * x + coefficients[c];
        if (p > 0.2) above += (long)(p * 16);
        total += p - (double)(i & 7);
    }
    const double results[2] = {x, total};
    return mix(mix_doubles(0, results, 2), (uint64_t)above);
}

/* ---- sse2: packed double (Mandelbrot) and packed single (a filter) ---- */
enum { kSide = 400, kDepth = 100, kSamples = 16384, kTaps = 16 };
static float *samples, *filtered;

static void sse2_setup(void) {
    samples = touched((kSamples + kTaps) * sizeof *samples);
    filtered = touched(kSamples * sizeof *filtered);
    uint64_t state = 5;
    for (int i = 0; i < kSamples + kTaps; i++) samples[i] = (float)(next_random(&state) >> 44) / 1048576.0f;
}

/* How many of the first kDepth iterations the two points at (x, y) and (x + step, y) stay inside the circle, summed. */
static uint64_t escape_pair(double x, double y, double step) {
    const __m128d cx = _mm_set_pd(x + step, x), cy = _mm_set1_pd(y), four = _mm_set1_pd(4);
    __m128d zx = _mm_setzero_pd(), zy = zx, inside = _mm_cmpeq_pd(zx, zx);
    __m128i count = _mm_setzero_si128();
    for (int i = 0; i < kDepth; i++) {
        const __m128d xx = _mm_mul_pd(zx, zx), yy = _mm_mul_pd(zy, zy), xy = _mm_mul_pd(zx, zy);
        inside = _mm_and_pd(inside, _mm_cmplt_pd(_mm_add_pd(xx, yy), four));
        if (!_mm_movemask_pd(inside)) break;
        count = _mm_sub_epi64(count, _mm_castpd_si128(inside));
        zx = _mm_add_pd(_mm_sub_pd(xx, yy), cx);
        zy = _mm_add_pd(_mm_add_pd(xy, xy), cy);
    }
    return (uint64_t)_mm_cvtsi128_si64(_mm_add_epi64(count, _mm_unpackhi_epi64(count, count)));
}

static void filter(void) {
    for (int i = 0; i < kSamples; i += 4) {
        __m128 sum = _mm_setzero_ps();
        for (int tap = 0; tap < kTaps; tap++)
            sum = _mm_add_ps(sum, _mm_mul_ps(_mm_loadu_ps(samples + i + tap), _mm_set1_ps(0.0625f * (float)(tap - 4))));
        _mm_store_ps(filtered + i, _mm_max_ps(_mm_sqrt_ps(_mm_mul_ps(sum, sum)), _mm_shuffle_ps(sum, sum, _MM_SHUFFLE(0, 1, 2, 3))));
    }
}

static uint64_t sse2_round(void) {
    uint64_t sum = 0;
    const double step = 3.0 / kSide;
    for (int row = 0; row < kSide; row++)
        for (int column = 0; column < kSide; column += 2) sum = mix(sum, escape_pair(-2 + step * column, -1.5 + step * row, step));
    for (int i = 0; i < 20; i++) filter();
    return mix_bytes(sum, filtered, kSamples * sizeof *filtered);
}

/* ---- divsqrt: scalar and packed division and square root ---- */
enum { kDivisions = 500000 };

static uint64_t divsqrt_round(void) {
    double x = 2, y = 3;
    __m128d packed = _mm_set_pd(5, 7);
    for (int i = 1; i <= kDivisions; i++) {
        x = __builtin_sqrt(x + (double)i / y);
        y = (x + 1) / (y - 0.5 > 0 ? y : 1.25);
        packed = _mm_sqrt_pd(_mm_div_pd(_mm_add_pd(packed, _mm_set1_pd(i)), _mm_set_pd(x, 1.5)));
    }
    double results[4] = {x, y};
    _mm_storeu_pd(results + 2, packed);
    return mix_doubles(0, results, 4);
}

/* ---- nbody: the sun and four planets ---- */
enum { kBodies = 5, kMoves = 60000 };
struct body { double x, y, z, vx, vy, vz, mass; };
static const struct body kStart[kBodies] = {
    {0, 0, 0, 0, 0, 0, 39.47841760435743},
    {4.84143144246472090, -1.16032004402742839, -0.103622044471123109, 0.606326392995832, 2.81198684491626, -0.0252183616598876, 0.0376936749096657},
    {8.34336671824457987, 4.12479856412430479, -0.403523417114321381, -1.01077434617879, 1.82566237123041, 0.00841576137658415, 0.0112863261319687},
    {12.8943695621391310, -15.1111514016986312, -0.223307578892655734, 1.08279100644154, 0.868713018169608, -0.0108326374013636, 0.00172372405705971},
    {15.3796971148509165, -25.9193146099879641, 0.179258772950371181, 0.979090732243898, 0.594698998647676, -0.0347559555046304, 0.00203368686992463},
};

static void attract(struct body* a, struct body* b, double step) {
    const double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
    const double square = dx * dx + dy * dy + dz * dz;
    const double magnitude = step / (square * __builtin_sqrt(square));
    a->vx -= dx * b->mass * magnitude;
    a->vy -= dy * b->mass * magnitude;
    a->vz -= dz * b->mass * magnitude;
    b->vx += dx * a->mass * magnitude;
    b->vy += dy * a->mass * magnitude;
    b->vz += dz * a->mass * magnitude;
}

static uint64_t nbody_round(void) {
    struct body bodies[kBodies];
    for (int i = 0; i < kBodies; i++) bodies[i] = kStart[i];
    for (int move = 0; move < kMoves; move++) {
        for (int i = 0; i < kBodies; i++)
            for (int j = i + 1; j < kBodies; j++) attract(&bodies[i], &bodies[j], 0.01);
        for (int i = 0; i < kBodies; i++) {
            bodies[i].x += 0.01 * bodies[i].vx;
            bodies[i].y += 0.01 * bodies[i].vy;
            bodies[i].z += 0.01 * bodies[i].vz;
        }
    }
    return mix_bytes(0, bodies, sizeof bodies);
}

const struct program kFloat[] = {
    {"scalar", "float", "Msteps/s", kSteps / 1e6, 0x416c468e3117296a, NULL, scalar_round, NULL, NULL},
    {"sse2", "float", "frames/s", 1, 0x9491de9414beaa6b, sse2_setup, sse2_round, NULL, NULL},
    {"divsqrt", "float", "Msteps/s", kDivisions / 1e6, 0x7417442378498852, NULL, divsqrt_round, NULL, NULL},
    {"nbody", "float", "Mmoves/s", kMoves / 1e6, 0x2d49ec21bdf1af26, NULL, nbody_round, NULL, NULL},
    {0},
};
