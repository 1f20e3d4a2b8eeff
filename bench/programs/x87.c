/* x87 and MMX work. Long double arithmetic is exact to the bit: IEEE 754 rounds it one way. */
#include "bench.h"

#include <string.h>

/* ---- nbody80: float.c's n-body, of two planets, in long double ---- */
enum { kBodies = 3, kMoves = 40000 };
struct body { long double x, y, z, vx, vy, vz, mass; };
static const struct body kStart[kBodies] = {
    {0, 0, 0, 0, 0, 0, 39.47841760435743L},
    {4.84143144246472090L, -1.16032004402742839L, -0.103622044471123109L, 0.606326392995832L, 2.81198684491626L, -0.0252183616598876L, 0.0376936749096657L},
    {8.34336671824457987L, 4.12479856412430479L, -0.403523417114321381L, -1.01077434617879L, 1.82566237123041L, 0.00841576137658415L, 0.0112863261319687L},
};

static void attract(struct body* a, struct body* b, long double step) {
    const long double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
    const long double square = dx * dx + dy * dy + dz * dz;
    const long double magnitude = step / (square * __builtin_sqrtl(square));
    a->vx -= dx * b->mass * magnitude;
    a->vy -= dy * b->mass * magnitude;
    a->vz -= dz * b->mass * magnitude;
    b->vx += dx * a->mass * magnitude;
    b->vy += dy * a->mass * magnitude;
    b->vz += dz * a->mass * magnitude;
}

static uint64_t nbody80_round(void) {
    struct body bodies[kBodies];
    for (int i = 0; i < kBodies; i++) bodies[i] = kStart[i];
    for (int move = 0; move < kMoves; move++) {
        for (int i = 0; i < kBodies; i++)
            for (int j = i + 1; j < kBodies; j++) attract(&bodies[i], &bodies[j], 0.01L);
        for (int i = 0; i < kBodies; i++) {
            bodies[i].x += 0.01L * bodies[i].vx;
            bodies[i].y += 0.01L * bodies[i].vy;
            bodies[i].z += 0.01L * bodies[i].vz;
        }
    }
    uint64_t hash = 0;
    for (int i = 0; i < kBodies; i++)
        for (size_t at = 0; at < sizeof *bodies; at += sizeof(long double)) hash = mix_bytes(hash, (unsigned char*)&bodies[i] + at, 10);
    return hash;
}

/* ---- convert80: casts (FISTP between two FLDCWs), compares, double stores ---- */
enum { kConversions = 400000 };

static uint64_t convert80_round(void) {
    long double x = 0.37L, total = 0;
    double stored = 0;
    uint64_t whole = 0;
    for (int i = 0; i < kConversions; i++) {
        x = 3.75L * x * (1 - x);
        volatile double narrow = (double)x;
        whole += (uint64_t)(int64_t)(x * 1000);
        if (x > 0.5L) total += narrow;
        stored = (double)total;
    }
    return mix(mix_doubles(0, &stored, 1), whole);
}

/* ---- mmx: saturated blending of two pictures, as video code did it ---- */
enum { kPixels = 1 << 16, kFrames = 24 };
static unsigned char *pictures[2], *blended;

static void mmx_setup(void) {
    for (int n = 0; n < 2; n++) {
        pictures[n] = touched(kPixels);
        fill_text(pictures[n], kPixels, kTextSeed + (uint64_t)n);
    }
    blended = touched(kPixels);
}

/* In assembler: GCC turns MMX intrinsics into SSE. mm6 and mm7 are the weights, mm5 is zero. */
static void blend(uint64_t weight) {
    const uint64_t left = weight * 0x0001000100010001, right = (256 - weight) * 0x0001000100010001;
    __asm__ volatile("movq %0, %%mm6\n movq %1, %%mm7\n pxor %%mm5, %%mm5" : : "m"(left), "m"(right));
    for (int at = 0; at < kPixels; at += 8)
        __asm__ volatile(
            "movq (%0,%3), %%mm0\n movq (%1,%3), %%mm1\n movq %%mm0, %%mm2\n movq %%mm1, %%mm3\n"
            "punpcklbw %%mm5, %%mm0\n punpcklbw %%mm5, %%mm1\n punpckhbw %%mm5, %%mm2\n punpckhbw %%mm5, %%mm3\n"
            "pmullw %%mm6, %%mm0\n pmullw %%mm7, %%mm1\n pmullw %%mm6, %%mm2\n pmullw %%mm7, %%mm3\n"
            "paddw %%mm1, %%mm0\n paddw %%mm3, %%mm2\n psrlw $8, %%mm0\n psrlw $8, %%mm2\n"
            "packuswb %%mm2, %%mm0\n paddusb (%2,%3), %%mm0\n movq %%mm0, (%2,%3)"
            : : "r"(pictures[0]), "r"(pictures[1]), "r"(blended), "r"((long)at) : "memory");
}

static uint64_t mmx_round(void) {
    memset(blended, 0, kPixels);
    for (int frame = 0; frame < kFrames; frame++) blend((uint64_t)frame * 8);
    __asm__ volatile("emms");
    return mix_bytes(0, blended, kPixels);
}

const struct program kX87[] = {
    {"nbody80", "x87", "Mmoves/s", kMoves / 1e6, 0x933b9606388090a2, NULL, nbody80_round, NULL, NULL},
    {"convert80", "x87", "Mconversions/s", kConversions / 1e6, 0x213fd401f6b0cb79, NULL, convert80_round, NULL, NULL},
    {"mmx", "x87", "frames/s", kFrames, 0x13bf5a16e5206ff8, mmx_setup, mmx_round, NULL, NULL},
    {0},
};
