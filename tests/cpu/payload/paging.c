// Paging: sizes, rights, error codes, CR2, accessed and dirty bits, reserved bits, SMEP, SMAP, INVLPG, global pages, PCID.
// SDM vol. 3, chapter 4.
#include "payload.h"

enum { P = 1, W = 2, U = 4, PCD = 16, A = 32, D = 64, PS = 128, G = 256 };
#define NX (1ull << 63)
#define TEST 0x80000000ull   // the linear 2 to 3 GiB: the tests'

static u64 test_pd[512] __attribute__((aligned(4096)));
static u64 test_pt[512] __attribute__((aligned(4096)));
static u8 page[2][4096] __attribute__((aligned(4096)));

static void read_at(u64 address) { asm volatile("movb (%0), %%al" ::"r"(address) : "rax", "memory"); }
static void write_at(u64 address) { asm volatile("movb $1, (%0)" ::"r"(address) : "memory"); }
static void rmw_at(u64 address) { asm volatile("lock addb $1, (%0)" ::"r"(address) : "memory", "cc"); }
static void read8_at(u64 address) { asm volatile("movq (%0), %%rax" ::"r"(address) : "rax", "memory"); }
static void write8_at(u64 address) { asm volatile("movq %0, (%0)" ::"r"(address) : "memory"); }
static void call_at(u64 address) { asm volatile("call *%0" ::"r"(address) : "rax", "memory"); }
static u64 fault(void (*f)(u64), u64 address) {
    const u64 vector = trap_of(f, address);
    return vector == NO_TRAP ? NO_TRAP : vector == 14 ? last.frame.error : 0x10000 | vector;
}
static void map(u64 index, u64 entry) {
    test_pt[index] = entry;
    invlpg(TEST + index * 4096);
}
static u64 user_fault(void (*f)(void), u64 address) {
    const u64 vector = user_trap(f, address);
    return vector == 0x80 ? NO_TRAP : vector == 14 ? last.frame.error : 0x10000 | vector;
}
static void user_read(void) { asm volatile("movb (%rdi), %al; int $0x80"); }
static void user_write(void) { asm volatile("movb $1, (%rdi); int $0x80"); }
static void user_call(void) { asm volatile("call *%rdi; int $0x80"); }

static void rights(void) {
    const u64 frame = (u64)page[0];
    page[0][0] = 0xc3;  // ret
    map(0, frame | P | W);
    check("a mapped page reads", fault(read_at, TEST), NO_TRAP);
    check("not present, read: error 0", fault(read_at, TEST + 0x1234), 0);
    check("not present: CR2", last.cr2, TEST + 0x1234);
    check("not present, write: W", fault(write_at, TEST + 0x1234), 2);
    check("not present, read-modify-write: W", fault(rmw_at, TEST + 0x1234), 2);
    check("not present, fetch: I (NX is enabled)", fault(call_at, TEST + 0x1000), 0x10);
    check("not present, fetch: saved rip", last.frame.rip, TEST + 0x1000);
    map(0, frame | P);
    check("read-only, write: P W", fault(write_at, TEST), 3);
    check("read-only, locked: P W", fault(rmw_at, TEST), 3);
    WRITE_CR(0, READ_CR(0) & ~0x10000ull);
    check("read-only, supervisor write without CR0.WP", fault(write_at, TEST), NO_TRAP);
    WRITE_CR(0, READ_CR(0) | 0x10000);
    page[0][0] = 0xc3;
    map(0, frame | P | W);
    check("a supervisor page executes", fault(call_at, TEST), NO_TRAP);
    map(0, frame | P | W | NX);
    check("NX: reads", fault(read_at, TEST), NO_TRAP);
    check("NX: fetch: P I", fault(call_at, TEST), 0x11);
    map(0, frame | P | W | 1ull << 51);
    check("reserved bit: P RSVD", fault(read_at, TEST), 9);
    check("reserved bit, write: P W RSVD", fault(write_at, TEST), 11);
    map(0, frame | P | W);
    pdpt[2] &= ~(u64)W;
    WRITE_CR(3, READ_CR(3));
    check("read-only in the PDPT: P W", fault(write_at, TEST), 3);
    pdpt[2] |= W | NX;
    WRITE_CR(3, READ_CR(3));
    check("NX in the PDPT: P I", fault(call_at, TEST), 0x11);
    pdpt[2] &= ~NX;
    WRITE_CR(3, READ_CR(3));
}

static void user_rights(void) {
    const u64 frame = (u64)page[0];
    map(0, frame | P | W);
    check("user read of a supervisor page: P U", user_fault(user_read, TEST), 5);
    check("user write of a supervisor page: P W U", user_fault(user_write, TEST), 7);
    check("user fetch of a supervisor page: P U I", user_fault(user_call, TEST), 0x15);
    check("user read, not present: U", user_fault(user_read, TEST + 0x5000), 4);
    check("user write, not present: W U", user_fault(user_write, TEST + 0x5000), 6);
    check("user fault: CR2", last.cr2, TEST + 0x5000);
    map(0, frame | P | U);
    check("user read of a user page", user_fault(user_read, TEST), NO_TRAP);
    check("user write of a read-only user page: P W U", user_fault(user_write, TEST), 7);
    map(0, frame | P | W | U);
    page[0][0] = 0xc3;
    check("user fetch of a user page", user_fault(user_call, TEST), NO_TRAP);
    test_pd[0] &= ~(u64)U;
    WRITE_CR(3, READ_CR(3));
    check("user read under a supervisor directory entry: P U", user_fault(user_read, TEST), 5);
    test_pd[0] |= U;
    WRITE_CR(3, READ_CR(3));
}

static void accessed_and_dirty(void) {
    const u64 frame = (u64)page[0];
    test_pd[0] &= ~(u64)A;
    WRITE_CR(3, READ_CR(3));
    map(1, frame | P | W);
    check("A and D are clear before", test_pt[1] & (A | D), 0);
    read_at(TEST + 0x1000);
    check("a read sets A", test_pt[1] & (A | D), A);
    check("a read sets A of the directory", test_pd[0] & A, A);
    write_at(TEST + 0x1000);
    check("a write after a read sets D", test_pt[1] & (A | D), A | D);
    map(1, frame | P);
    fault(write_at, TEST + 0x1000);
    check("a refused write sets no D", test_pt[1] & D, 0);
    map(1, frame | P | W);
    map(2, 0);
    check("a write over the edge of a page that is there", fault(write8_at, TEST + 0x1ffc), 2);
    check("a write over the edge: CR2 is the missing page", last.cr2, TEST + 0x2000);
    check("a write over the edge: nothing was written", *(u32*)(page[0] + 0xffc), 0);
    check("a read over the edge: CR2", (fault(read8_at, TEST + 0x1ff9), last.cr2), TEST + 0x2000);
    map(2, (u64)page[1] | P | W);
    *(volatile u64*)(TEST + 0x1ffc) = 0x1122334455667788;
    check("a write over two pages: low part", *(u32*)(page[0] + 0xffc), 0x55667788);
    check("a write over two pages: high part", *(u32*)page[1], 0x11223344);
    check("a read over two pages", *(volatile u64*)(TEST + 0x1ffc), 0x1122334455667788);
}

static void sizes(void) {
    const u64 image = (u64)page[0];
    test_pd[1] = (image & ~0x1fffffull) | P | W | PS;
    page[0][5] = 0x5a;
    check("a 2 MiB page", *(volatile u8*)(TEST + 0x200000 + (image & 0x1fffff) + 5), 0x5a);
    check("a 2 MiB page: A", test_pd[1] & (A | D), A);
    *(volatile u8*)(TEST + 0x200000 + (image & 0x1fffff) + 6) = 1;
    check("a 2 MiB page: D", test_pd[1] & (A | D), A | D);
    test_pd[1] |= 1 << 13;
    WRITE_CR(3, READ_CR(3));
    check("a 2 MiB page, bit 13 is reserved", fault(read_at, TEST + 0x200000), 9);
    test_pd[1] = 0;
    u32 regs[4];
    cpuid(0x80000001, 0, regs);
    if (!(regs[3] & 1 << 26)) return;
    const u64 saved = pdpt[2];
    pdpt[2] = P | W | PS;
    WRITE_CR(3, READ_CR(3));
    check("a 1 GiB page", *(volatile u8*)(TEST + image + 5), 0x5a);
    check("a 1 GiB page: A", pdpt[2] & (A | D), A);
    pdpt[2] |= 1 << 20;
    WRITE_CR(3, READ_CR(3));
    check("a 1 GiB page, bit 20 is reserved", fault(read_at, TEST), 9);
    pdpt[2] = saved;
    WRITE_CR(3, READ_CR(3));
    pml4[1] = (u64)pdpt | P | W | PS;
    check("PS in the PML4 is reserved", fault(read_at, 0x8000000000), 9);
    pml4[1] = 0;
    WRITE_CR(3, READ_CR(3));
}

static void smep_and_smap(void) {
    u32 regs[4];
    cpuid(7, 0, regs);
    const u64 frame = (u64)page[0];
    page[0][0] = 0xc3;
    map(0, frame | P | W | U);
    check("supervisor fetch of a user page without SMEP", fault(call_at, TEST), NO_TRAP);
    if (regs[1] & 1 << 7) {
        WRITE_CR(4, READ_CR(4) | 1 << 20);
        check("supervisor fetch of a user page with SMEP: P I", fault(call_at, TEST), 0x11);
        check("supervisor read of a user page with SMEP", fault(read_at, TEST), NO_TRAP);
        WRITE_CR(4, READ_CR(4) & ~(1ull << 20));
    }
    if (regs[1] & 1 << 20) {
        WRITE_CR(4, READ_CR(4) | 1 << 21);
        check("supervisor read of a user page with SMAP: P", fault(read_at, TEST), 1);
        check("supervisor write of a user page with SMAP: P W", fault(write_at, TEST), 3);
        asm volatile("stac" ::: "memory");
        const u8 seen = *(volatile u8*)TEST;
        asm volatile("clac" ::: "memory");
        check("with RFLAGS.AC it may", seen, 0xc3);
        check("and after CLAC it may not", fault(read_at, TEST), 1);
        WRITE_CR(4, READ_CR(4) & ~(1ull << 21));
    }
}

static void translations_go(void) {
    map(0, (u64)page[0] | P | W);
    page[0][0] = 1;
    page[1][0] = 2;
    check("before a change of mapping", *(volatile u8*)TEST, 1);
    test_pt[0] = (u64)page[1] | P | W;
    invlpg(TEST + 0x123);
    check("INVLPG", *(volatile u8*)TEST, 2);
    test_pt[0] = (u64)page[0] | P | W;
    WRITE_CR(3, READ_CR(3));
    check("MOV to CR3", *(volatile u8*)TEST, 1);
    WRITE_CR(4, READ_CR(4) | 0x80);
    map(0, (u64)page[0] | P | W | G);
    check("a global page", *(volatile u8*)TEST, 1);
    test_pt[0] = (u64)page[1] | P | W | G;
    WRITE_CR(4, READ_CR(4) & ~0x80ull);
    check("a change of CR4.PGE drops global pages", *(volatile u8*)TEST, 2);
    map(0, (u64)page[0] | P | W);
    check("mapped again", *(volatile u8*)TEST, 1);
}

static void bad_cr3(u64 value) { WRITE_CR(3, value); }
static void bad_cr4(u64 value) { WRITE_CR(4, value); }
static void bad_cr0(u64 value) { WRITE_CR(0, value); }
static void control_registers(void) {
    check("CR0.PG without PE: #GP", trap_of(bad_cr0, READ_CR(0) & ~1ull), 13);
    check("CR0.NW without CD: #GP", trap_of(bad_cr0, READ_CR(0) | 1 << 29), 13);
    check("CR0 above bit 31: #GP", trap_of(bad_cr0, READ_CR(0) | 1ull << 32), 13);
    check("CR0 keeps ET", (trap_of(bad_cr0, READ_CR(0) & ~0x10ull), READ_CR(0) & 0x10), 0x10);
    check("CR4.PAE cleared in 64-bit mode: #GP", trap_of(bad_cr4, READ_CR(4) & ~0x20ull), 13);
    check("CR4 reserved bit: #GP", trap_of(bad_cr4, READ_CR(4) | 1ull << 31), 13);
    check("CR3 reserved bit: #GP", trap_of(bad_cr3, READ_CR(3) | 1ull << 62), 13);
    u32 regs[4];
    cpuid(1, 0, regs);
    if (regs[2] & 1 << 17) {
        WRITE_CR(4, READ_CR(4) | 1 << 17);
        WRITE_CR(3, READ_CR(3) | 5);
        check("PCID: CR3 keeps it", READ_CR(3) & 0xfff, 5);
        check("CR4.PCIDE: CR0.PG cannot go: #GP", trap_of(bad_cr0, READ_CR(0) & ~(1ull << 31)), 13);
        map(0, (u64)page[0] | P | W);
        read_at(TEST);
        test_pt[0] = (u64)page[1] | P | W;
        WRITE_CR(3, (u64)pml4 | 6);
        WRITE_CR(3, (u64)pml4 | 5);
        check("PCID: MOV to CR3 without bit 63 drops translations", *(volatile u8*)TEST, 2);
        WRITE_CR(3, (u64)pml4);
        WRITE_CR(4, READ_CR(4) & ~(1ull << 17));
    }
}

void payload_main(void) {
    pdpt[2] = (u64)test_pd | P | W | U;
    test_pd[0] = (u64)test_pt | P | W | U;
    rights();
    user_rights();
    accessed_and_dirty();
    sizes();
    smep_and_smap();
    translations_go();
    control_registers();
}
