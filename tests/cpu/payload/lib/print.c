#include "payload.h"

static unsigned failures;

static void put(char c) {
    while (!(inb(0x3fd) & 0x20)) {}
    outb(0x3f8, (u8)c);
}

void print(const char* text) {
    for (; *text; ++text) put(*text);
}

static void print_hex(u64 value) {
    print("0x");
    bool seen = false;
    for (int shift = 60; shift >= 0; shift -= 4) {
        const unsigned digit = (unsigned)(value >> shift) & 15;
        seen |= digit != 0 || shift == 0;
        if (seen) put("0123456789abcdef"[digit]);
    }
}

void check_mask(const char* name, u64 got, u64 want, u64 mask) {
    print(name);
    if (((got ^ want) & mask) == 0) {
        print(": ok\n");
        return;
    }
    ++failures;
    print(": FAIL got ");
    print_hex(got & mask);
    print(" want ");
    print_hex(want & mask);
    put('\n');
}

void check(const char* name, u64 got, u64 want) { check_mask(name, got, want, ~0ull); }

_Noreturn void finish(void) {
    print(failures ? "failed\n" : "passed\n");
    outb(0xf4, failures ? 1 : 0);
    for (;;) asm volatile("cli; hlt");
}
