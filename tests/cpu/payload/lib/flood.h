// Endless different code: functions of some dozen instructions, each of them hot, in an area of RAM that is filled again and again.
#include "payload.h"

enum { FLOOD_FUNCTIONS = 1 << 16, FLOOD_BYTES = 64, FLOOD_CALLS = 20 };
#define FLOOD_AREA ((u8*)0x800000)   // to 12 MiB: RAM that nobody else uses
typedef u64 (*FloodFunction)(u64);

/// x = rotate(x * odd + n) five times, by numbers of its own; returns what the function shall return for x.
static u64 flood_write(u8* at, u32 n, u64 x) {
    u8* const begin = at;
    *at++ = 0x48, *at++ = 0x89, *at++ = 0xf8;                          // mov rax, rdi
    for (unsigned step = 0; step < 3; ++step) {
        const u32 factor = (n * 8 + step) * 2 + 3;
        *at++ = 0x48, *at++ = 0x69, *at++ = 0xc0;                      // imul rax, rax, factor
        *(u32*)at = factor, at += 4;
        *at++ = 0x48, *at++ = 0x05, *(u32*)at = n >> 1, at += 4;       // add rax, n >> 1
        *at++ = 0x48, *at++ = 0xc1, *at++ = 0xc0, *at++ = (u8)(n % 63 + 1);  // rol rax, n
        x = x * factor + (n >> 1);
        x = x << (n % 63 + 1) | x >> (63 - n % 63);
    }
    *at++ = 0xc3;
    while (at < begin + FLOOD_BYTES) *at++ = 0xcc;
    return x;
}

/// Writes functions number `first` and on into the area and calls each FLOOD_CALLS times. How many answers were wrong.
static u64 flood(u32 first, u32 count) {
    u64 wrong = 0;
    for (u32 n = first; n < first + count; ++n) {
        u8* const at = FLOOD_AREA + n % FLOOD_FUNCTIONS * FLOOD_BYTES;
        const u64 x = 0x0123456789abcdefull ^ first, expected = flood_write(at, n, x);
        asm volatile("" ::: "memory");
        for (unsigned i = 0; i < FLOOD_CALLS; ++i) wrong += ((FloodFunction)at)(x) != expected;
    }
    return wrong;
}
