// What a guest does to break its processor: page tables that loop, lie outside RAM or in a device; code at the end of RAM and in a
// device; stacks and descriptor tables in nowhere; instructions too long or undefined, run often enough to be translated.
// SDM vol. 2, 2.3.11 (15 bytes); vol. 2, appendix A; vol. 3, 4.7.
#include "payload.h"

enum { P = 1, W = 2, U = 4 };
#define TEST 0x80000000ull           // the linear 2 to 3 GiB: the tests'
#define NOWHERE 0xe00000000ull       // guest-physical: no RAM, no device
#define HOLE 0xf0000000ull           // the same, identity-mapped
#define LAPIC 0xfee00000ull
#define OFTEN 40                     // more than a translator waits for

static u64 test_pd[512] __attribute__((aligned(4096)));
static u64 test_pt[512] __attribute__((aligned(4096)));
static u8 code[2][4096] __attribute__((aligned(4096)));
static u8 far_stack[8192] __attribute__((aligned(16)));

static void read_at(u64 address) { asm volatile("movb (%0), %%al" ::"r"(address) : "rax", "memory"); }
static void write_at(u64 address) { asm volatile("movb $1, (%0)" ::"r"(address) : "memory"); }
static void call_at(u64 address) { asm volatile("call *%0" ::"r"(address) : "rax", "rcx", "rdx", "memory"); }
static u64 word_at(u64 address) { return *(volatile u64*)address; }

/// The vector that OFTEN calls all ended with, or -1.
static u64 often(void (*f)(u64), u64 argument) {
    const u64 first = trap_of(f, argument);
    for (unsigned n = 1; n < OFTEN; ++n)
        if (trap_of(f, argument) != first) return ~0ull;
    return first;
}

static void flush(void) { WRITE_CR(3, READ_CR(3)); }

// --- page tables ---------------------------------------------------------------------------------------------------------------

static void looping_tables(void) {
    const u64 itself = 0x8040201000;   // index 1 at every level
    pml4[1] = (u64)pml4 | P | W;
    flush();
    check("a PML4 that is its own page tables", word_at(itself + 8) & ~0xfffull, (u64)pml4);
    *(volatile u64*)(itself + 5 * 8) = 0x1234000;
    check("written through itself", pml4[5], 0x1234000);
    check("an entry of it executed: #UD", often(call_at, itself), 6);
    *(volatile u64*)(itself + 8) = 0;
    flush();
    check("taken out through itself", trap_of(read_at, itself), 14);
    pdpt[2] = (u64)pdpt | P | W;
    flush();
    check("a PDPT that is its own directory and table", word_at(TEST + (2 << 21) + (2 << 12) + 16) & ~0xfffull, (u64)pdpt);
    pdpt[2] = (u64)test_pd | P | W;
    test_pd[0] = (u64)test_pt | P | W;
    for (u64 n = 0; n < 512; ++n) test_pt[n] = (u64)test_pt | P | W;
    flush();
    u64 wrong = 0;
    for (u64 n = 0; n < 512; ++n) wrong += (word_at(TEST + n * 4096 + 8 * n) & ~0xfffull) != (u64)test_pt;
    check("512 pages that all are their table", wrong, 0);
    for (u64 n = 0; n < 512; ++n) *(volatile u64*)(TEST + n * 4096 + 8 * n) = 0;
    flush();
    check("which erased itself", trap_of(read_at, TEST), 14);
}

static void tables_outside_ram(void) {
    static const struct { const char* name; u64 where; } kPlaces[] = {
        {"tables in nowhere: #PF", NOWHERE}, {"tables in a hole: #PF", HOLE}, {"tables in the local APIC: #PF", LAPIC}};
    for (unsigned n = 0; n < 3; ++n) {
        pdpt[2] = kPlaces[n].where | P | W;
        flush();
        check(kPlaces[n].name, often(read_at, TEST + 0x5123), 14);
        check("its CR2", last.cr2, TEST + 0x5123);
        check("a write by them: #PF", often(write_at, TEST + 0x5123), 14);
        check("a fetch by them: #PF", often(call_at, TEST + 0x5123), 14);
        pdpt[2] = (u64)test_pd | P | W;
        test_pd[0] = kPlaces[n].where | P | W;
        flush();
        check("only the last of them: #PF", often(read_at, TEST + 0x5123), 14);
    }
    test_pd[0] = (u64)test_pt | P | W;
    flush();
}

// --- data where no RAM is --------------------------------------------------------------------------------------------------------

static void accesses_to_nowhere(u64 at) {
    asm volatile("movb $1, (%0); movq %0, 1(%0); lock addq $3, (%0); lock addl $3, 4093(%0); lock cmpxchg16b (%0); xchg %%rax, 8(%0); btsq $77, (%0)\n"
                 "push (%0); pop 16(%0); movups (%0), %%xmm0; movaps %%xmm0, 32(%0); fxsave (%0); fninit; fldt 64(%0); fstpt 4090(%0); cmpxchg8b 3(%0)"
                 ::"r"(at) : "rax", "rbx", "rcx", "rdx", "memory", "cc");
}
static void strings_to_nowhere(u64 at) {
    u64 from = at, to = at + 4000, count = 600;
    asm volatile("cld; rep movsq; mov $3000, %%ecx; rep stosb; mov $1000, %%ecx; repe cmpsb; mov $1000, %%ecx; repne scasb" : "+S"(from), "+D"(to), "+c"(count)::"rax", "memory", "cc");
}

static void data(u64 top) {
    test_pt[0] = NOWHERE | P | W;
    test_pt[1] = (NOWHERE + 0x1000) | P | W;
    test_pt[2] = (NOWHERE + 0x5000) | P | W;
    test_pt[3] = test_pt[4] = test_pt[0];
    flush();
    check("every kind of access to nowhere", often(accesses_to_nowhere, TEST), NO_TRAP);
    check("every kind of access to a hole", often(accesses_to_nowhere, HOLE), NO_TRAP);
    check("strings in nowhere", trap_of(strings_to_nowhere, TEST), NO_TRAP);
    check("strings over the end of RAM", trap_of(strings_to_nowhere, top - 4000), NO_TRAP);
    *(volatile u32*)(top - 4) = 0x12345678;
    check("a load over the end of RAM", word_at(top - 4), 0xffffffff12345678);
    *(volatile u64*)(top - 4) = 0x1111111122222222;
    check("a store over the end of RAM", word_at(top - 4), 0xffffffff22222222);
    asm volatile("lock addq $1, (%0)" ::"r"(top - 4) : "memory", "cc");
    check("a locked add over the end of RAM", word_at(top - 4) & 0xffffffff, 0x22222223);
}

static void stack_in(u64 top) { asm volatile("mov %%rsp, %%rbx; mov %0, %%rsp; call 1f; 1: ret; mov %%rbx, %%rsp" ::"r"(top) : "rbx", "memory"); }
static void stacks(void) {
    idt[14].ist = 1;
    tss.ist[0] = (u64)(far_stack + sizeof far_stack);
    check("a return address lost in a hole is all ones: #PF", often(stack_in, HOLE + 0x800), 14);
    check("there", last.frame.rip, ~0ull);
    idt[14].ist = 0;
}

// --- code where no RAM is ----------------------------------------------------------------------------------------------------------

static u64 end_of_ram(void) {
    for (u64 at = 0x200000; at < 0x40000000; at += 0x100000) {
        volatile u64* p = (volatile u64*)at;
        const u64 before = *p;
        *p = 0x5a17c0de5a17c0de;
        const bool there = *p == 0x5a17c0de5a17c0de;
        *p = before;
        if (!there) return at;
    }
    return 0x40000000;
}

static void put(u8* at, const char* bytes, unsigned n) {
    for (unsigned i = 0; i < n; ++i) ((volatile u8*)at)[i] = (u8)bytes[i];
}

/// Behind RAM FF FF is read, which is no instruction.
static void code_at_the_end(u64 top) {
    for (u64 at = top - 32; at < top; ++at) *(volatile u8*)at = 0x90;
    check("code runs off the end of RAM: #UD", often(call_at, top - 32), 6);
    check("where RAM ends", last.frame.rip, top);
    put((u8*)top - 2, "\xeb\x00", 2);
    check("a jump to the end of RAM: #UD", often(call_at, top - 2), 6);
    check("there", last.frame.rip, top);
    put((u8*)top - 3, "\x31\xc0\xb8", 3);   // XOR EAX, EAX; MOV EAX, with its immediate behind RAM
    check("an instruction over the end of RAM", often(call_at, top - 3), 6);
    check("it has run", last.frame.rip, top + 4);
    check("with what is read there", last.frame.rax, 0xffffffff);
    check("a call into a hole: #UD", often(call_at, HOLE + 0x123), 6);
    check("where it went", last.frame.rip, HOLE + 0x123);
    check("a call into nowhere: #UD", often(call_at, TEST + 0x123), 6);
    test_pt[5] = (u64)code[0] | P | W;
    flush();
    put(code[0], "\xe9\xfb\xef\xff\xff", 5);   // JMP to the page in front, which is nowhere
    check("a jump out of RAM by page tables: #UD", often(call_at, TEST + 0x5000), 6);
    check("its place", last.frame.rip, TEST + 0x4000);
    check("a call into the local APIC comes back by a trap", trap_of(call_at, LAPIC + 0x20) != NO_TRAP, 1);
}

// --- instructions that are none ------------------------------------------------------------------------------------------------------

static void too_long(void) {
    for (unsigned prefixes = 10; prefixes <= 15; ++prefixes) {
        for (unsigned n = 0; n < prefixes; ++n) code[0][n] = 0x66;
        put(code[0] + prefixes, "\x90\xc3", 2);
        check(prefixes == 15 ? "16 bytes: #GP" : "up to 15 bytes", often(call_at, (u64)code[0]), prefixes == 15 ? 13 : NO_TRAP);
    }
    check("16 bytes: error 0", last.frame.error, 0);
    check("16 bytes: its first byte", last.frame.rip, (u64)code[0]);
    put(code[0], "\x2e\x2e\x2e\x2e\x2e\x81\x84\x24\x00\xf8\xff\xff\x01\x00\x00\x00\xc3", 17);   // ADD [RSP - 800H], 1, five CS
    check("16 bytes with operands: #GP", often(call_at, (u64)code[0]), 13);
    check("15 bytes with operands", often(call_at, (u64)code[0] + 1), NO_TRAP);
    for (unsigned n = 0; n < 4096; ++n) code[0][n] = 0x66;
    check("a page of prefixes: #GP", often(call_at, (u64)code[0]), 13);
    for (unsigned n = 0; n < 4096; ++n) code[0][n] = 0xf3;
    put(code[1], "\x90\xc3", 2);
    check("prefixes over two pages: #GP", often(call_at, (u64)code[1] - 15), 13);
    check("prefixes over two pages, 15 bytes", often(call_at, (u64)code[1] - 14), NO_TRAP);
    test_pt[6] = (u64)code[0] | P | W;
    test_pt[7] = 0;
    flush();
    check("prefixes up to a page that is not there: #PF", often(call_at, TEST + 0x7000 - 9), 14);
    check("its CR2", last.cr2, TEST + 0x7000);
    check("its rip", last.frame.rip, TEST + 0x7000 - 9);
}

/// How a sequence in the table begins; what follows are zeros and RET.
static const char* const kUndefined[] = {
    // one-byte opcodes that 64-bit mode has not
    "\x06", "\x07", "\x0e", "\x16", "\x17", "\x1e", "\x1f", "\x27", "\x2f", "\x37", "\x3f", "\x60", "\x61", "\x82", "\x9a", "\xce", "\xd4", "\xd5", "\xd6", "\xea",
    // groups
    "\x8f\xc8", "\xc6\xc8", "\xc6\x48", "\xc7\xd0", "\xfe\xd0", "\xfe\xf8", "\xff\xf8", "\xff\xd8", "\x8e\xc8", "\x8e\xf0", "\x8c\xf0", "\x8d\xc0", "\xc4\xc0", "\xc5\xc0", "\x62\xf1",
    // 0F
    "\x0f\x04", "\x0f\x0a", "\x0f\x0b", "\x0f\x0c", "\x0f\x0f", "\x0f\x24", "\x0f\x26", "\x0f\x36", "\x0f\x39", "\x0f\x3b", "\x0f\x3f", "\x0f\x7a", "\x0f\x7b", "\x0f\xa6", "\x0f\xa7",
    "\x0f\xb9\xc0", "\x0f\xff\xc0", "\x0f\x20\xc8", "\x0f\x20\xe8", "\x0f\x22\xf8", "\x0f\xba\xc0", "\x0f\xba\xd8", "\x0f\xc7\xc0", "\x0f\xc7\xc8", "\x0f\xae\xd8\x90", "\x0f\x71\xc0", "\x0f\x73\xc8",
    "\x0f\xc3\xc0", "\x0f\x2b\xc0", "\x0f\xe7\xc0", "\x0f\x13\xc0", "\x0f\x50\x01", "\x0f\xd7\x01", "\x0f\xf7\x01", "\x0f\xc5\x01", "\x0f\xb2\xc0", "\x0f\xb4\xc0", "\x0f\x01\xd0",
    // 0F38, 0F3A
    "\x0f\x38\x0c", "\x0f\x38\xef", "\x0f\x3a\x00", "\x0f\x3a\x07", "\x0f\x3a\x23", "\x66\x0f\x38\x2a\xc0", "\x0f\x38\x20\xc0",
    // LOCK where it must not be
    "\xf0\x90", "\xf0\x01\xc0", "\xf0\x39\x01", "\xf0\x8b\x01", "\xf0\x03\x01", "\xf0\xc3", "\xf0\xeb", "\xf0\xa4", "\xf0\x0f\xa3\x01", "\xf0\x0f\xba\x21", "\xf0\xff\x11", "\xf0\xf7\x21", "\xf0\x50", "\xf0\x0f\x10\x01",
};

static void undefined(void) {
    u64 wrong = 0, places = 0, tried = 0;
    for (unsigned n = 0; n < sizeof kUndefined / sizeof *kUndefined; ++n) {
        for (unsigned i = 0; i < 24; ++i) code[0][i] = 0;
        code[0][0] = 0x90;
        for (unsigned i = 0; kUndefined[n][i]; ++i) code[0][1 + i] = (u8)kUndefined[n][i];
        code[0][24] = 0xc3;
        ++tried;
        if (often(call_at, (u64)code[0]) != 6) {
            ++wrong;
            check("number of a sequence that is defined", ~0ull, n);
        }
        places += last.frame.rip == (u64)code[0] + 1;
    }
    check("undefined opcodes that were taken", wrong, 0);
    check("undefined opcodes that told their place", places, tried);
}

void payload_main(void) {
    const u64 top = end_of_ram();
    looping_tables();
    tables_outside_ram();
    data(top);
    stacks();
    code_at_the_end(top);
    too_long();
    undefined();
}
