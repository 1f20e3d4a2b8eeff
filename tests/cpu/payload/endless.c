// A guest that never ends: processor 1 writes its own code for ever, processor 2 fills the code cache for ever; alone, the boot
// processor does both in turn. It says how far everybody is, a line a second of guest time.
#include "flood.h"

extern u8 ap_start[], ap_end[];
static volatile u64 rewritten, flooded, computed, wrong;
static volatile u32 processors = 1;

static void rewrite_some(void) {
    static u8 page[2][4096] __attribute__((aligned(4096)));
    for (u32 n = 0; n < 1000; ++n, ++rewritten) {
        u8* const at = page[n / 7 % 2];
        const u64 expected = flood_write(at, (u32)rewritten & 0xffffff, n);
        asm volatile("" ::: "memory");
        wrong += ((FloodFunction)at)(n) != expected;
    }
}
static void flood_some(void) {
    wrong += flood((u32)flooded & 0xffffff, 1024);
    flooded += 1024;
}
void ap_main(u32 number) {
    ++processors;
    while (number == 1) rewrite_some();
    while (number == 2) flood_some();
    for (;;) asm volatile("cli; hlt");
}

static void start_processors(void) {
    volatile u32* const icr = (volatile u32*)0xfee00300;
    for (u32 n = 0; n < (u32)(ap_end - ap_start); ++n) ((volatile u8*)0x7000)[n] = ap_start[n];
    *(volatile u32*)0xfee000f0 = 0x1ff;
    *icr = 0xc4500;   // INIT to all others
    for (u64 end = rdtsc() + 20000000; rdtsc() < end;) asm volatile("pause");
    *icr = 0xc4607;   // SIPI: page 7
    for (u64 end = rdtsc() + 200000000; rdtsc() < end;) asm volatile("pause");
}

static void print_number(const char* name, u64 value) {
    char digits[24] = {0};
    unsigned at = 22;
    do digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    print(name);
    print(digits + at);
}

void payload_main(void) {
    start_processors();
    for (;;) {
        for (u64 end = rdtsc() + 1000000000; rdtsc() < end; ++computed) {
            if (processors != 1) continue;
            rewrite_some();
            for (u32 n = 0; n < 8; ++n) flood_some();
        }
        print_number("endless: processors ", processors);
        print_number(" computed ", computed);
        print_number(" rewritten ", rewritten);
        print_number(" flooded ", flooded);
        print_number(" wrong ", wrong);
        print("\n");
    }
}
