// Self-modifying code: the next instruction, the running block, over pages, by another linear address, by REP and by DMA-like
// copies. SDM vol. 3, 8.1.3 and 11.6.
#include "payload.h"

static u8 code[2][4096] __attribute__((aligned(4096)));
typedef u32 (*Function)(void);

static void put_return(u8* at, u32 value) {   // mov eax, value ; ret
    at[0] = 0xb8;
    *(u32*)(at + 1) = value;
    at[5] = 0xc3;
    asm volatile("" ::: "memory");
}

static void rewritten(void) {
    u32 sum = 0;
    for (u32 i = 0; i < 100; ++i) {
        put_return(code[0], i);
        sum += ((Function)code[0])();
    }
    check("a function rewritten before each call", sum, 4950);
    put_return(code[0] + 4096 - 3, 0x11223344);
    check("code over two pages", ((Function)(code[0] + 4096 - 3))(), 0x11223344);
    code[1][0] = 0x55;   // immediate byte 2, in the second page
    asm volatile("" ::: "memory");
    check("its part in the second page rewritten", ((Function)(code[0] + 4096 - 3))(), 0x11553344);
    code[0][4095] = 0x66;
    asm volatile("" ::: "memory");
    check("its part in the first page rewritten", ((Function)(code[0] + 4096 - 3))(), 0x11556644);
    put_return(code[0], 7);
    check("before a write by another address", ((Function)code[0])(), 7);
    *(volatile u8*)(USER_ALIAS + (u64)code[0] + 1) = 9;
    check("written by another linear address", ((Function)code[0])(), 9);
    put_return(code[1] + 64, 21);
    ((Function)(code[1] + 64))();
    asm volatile("rep movsb" ::"S"("\xb8\x2a\0\0\0\xc3"), "D"(code[1] + 64), "c"(6) : "memory");
    check("written by REP MOVSB", ((Function)(code[1] + 64))(), 42);
}

static void in_the_block(void) {
    u32 result;
    for (u32 round = 0; round < 3; ++round) {
        // The store changes the immediate of the instruction right after it.
        asm volatile("movl %1, 1f + 1(%%rip)\n 1: mov $0x1111, %%eax" : "=a"(result) : "r"(0x2222 + round) : "memory");
        check("the next instruction rewritten", result, 0x2222 + round);
    }
    asm volatile("movb $0x90, 1f(%%rip); movb $0x90, 1f + 1(%%rip); mov $1, %%eax\n 1: .byte 0x31, 0xc0\n" : "=a"(result)::"memory");
    check("XOR EAX, EAX became two NOPs", result, 1);
    asm volatile("xor %%eax, %%eax; mov $10, %%ecx\n 1: incl 2f + 1(%%rip)\n 2: mov $0, %%edx; add %%edx, %%eax; loop 1b" : "=a"(result)::"ecx", "edx", "memory");
    check("a loop that counts in its own immediate", result, 55);
    asm volatile("lea 1f + 1(%%rip), %%rdi; mov $4, %%ecx; mov $0x5a, %%eax; rep stosb\n 1: mov $0, %%eax" : "=a"(result)::"ecx", "edi", "memory");
    check("the next instruction rewritten by REP STOSB", result, 0x5a5a5a5a);
    asm volatile("mov $0x77, %%ecx; lock xchg %%cl, 1f + 1(%%rip)\n 1: mov $0, %%eax" : "=a"(result)::"ecx", "memory");
    check("the next instruction rewritten by a locked exchange", result, 0x77);
}

static void page_moves(void) {
    static u64 table[512] __attribute__((aligned(4096)));
    static u64 directory[512] __attribute__((aligned(4096)));
    pdpt[2] = (u64)directory | 3;
    directory[0] = (u64)table | 3;
    put_return(code[0], 100);
    put_return(code[1], 200);
    table[0] = (u64)code[0] | 3;
    invlpg(0x80000000);
    check("a mapped function", ((Function)0x80000000)(), 100);
    table[0] = (u64)code[1] | 3;
    invlpg(0x80000000);
    check("the page under it changed", ((Function)0x80000000)(), 200);
    put_return(code[1], 300);
    check("and written by its first address", ((Function)0x80000000)(), 300);
    table[0] = (u64)code[0] | 3;
    WRITE_CR(3, READ_CR(3));
    check("and changed again by MOV to CR3", ((Function)0x80000000)(), 100);
}

/// INVLPG of any address in a large page drops all of it (SDM vol. 3, 4.10.4.1): code elsewhere in the page is looked up again.
static void large_pages_move(void) {
    static u64 directory[512] __attribute__((aligned(4096)));
    const u64 first = 0x800000, second = 0xa00000, linear = 0x80000000, inside = 0x5000;  // RAM that nobody else uses
    pdpt[2] = (u64)directory | 3;
    put_return((u8*)(first + inside), 100);
    put_return((u8*)(second + inside), 200);
    directory[0] = first | 0x83;
    WRITE_CR(3, READ_CR(3));
    u32 sum = 0;
    for (u32 i = 0; i < 100; ++i) sum += ((Function)(linear + inside))();
    check("a function in a 2 MiB page", sum, 100 * 100);
    directory[0] = second | 0x83;
    invlpg(linear);
    check("the large page under it changed", ((Function)(linear + inside))(), 200);
}

void payload_main(void) {
    rewritten();
    in_the_block();
    page_moves();
    large_pages_move();
}
