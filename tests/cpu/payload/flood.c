// A guest that fills the code cache on purpose: more hot code than it holds, several times over, and its own answers checked.
#include "flood.h"

static u64 rewrite(u32 rounds) {
    u8* const at = FLOOD_AREA;
    u64 wrong = 0;
    for (u32 n = 0; n < rounds; ++n) {
        const u64 expected = flood_write(at, n, n);
        asm volatile("" ::: "memory");
        wrong += ((FloodFunction)at)(n) != expected;
    }
    return wrong;
}

/// Two pages that call each other and change each other.
static u64 rewrite_each_other(u32 rounds) {
    u8* const at[2] = {FLOOD_AREA, FLOOD_AREA + 4096};
    u64 wrong = 0, x[2] = {0, 0};
    for (u32 n = 0; n < rounds; ++n) {
        x[n % 2] = flood_write(at[n % 2], n, 5);
        asm volatile("" ::: "memory");
        for (unsigned i = 0; n > 0 && i < 4; ++i) wrong += ((FloodFunction)at[i % 2])(5) != x[i % 2];
    }
    return wrong;
}

void payload_main(void) {
    for (u32 round = 0; round < 4; ++round) check("wrong answers of 65536 hot functions", flood(round << 20, FLOOD_FUNCTIONS), 0);
    check("wrong answers of a function rewritten for each call", rewrite(50000), 0);
    check("wrong answers of two pages rewritten in turn", rewrite_each_other(20000), 0);
}
