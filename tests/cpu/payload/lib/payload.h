// What a bare-metal test is written with. A payload defines payload_main(); each check prints one line on COM1, and the
// run ends by a write to the isa-debug-exit port (0: all passed, 1: something failed).
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;

void payload_main(void);

/// "name: ok" or "name: FAIL got .. want ..".
void check(const char* name, u64 got, u64 want);
void check_mask(const char* name, u64 got, u64 want, u64 mask);
void print(const char* text);
_Noreturn void finish(void);

static inline void outb(u16 port, u8 value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline u8 inb(u16 port) {
    u8 value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

#ifdef __x86_64__
struct Frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    u64 vector, error, rip, cs, rflags, rsp, ss;
};

/// The last trap as its handler saw it. `at` is the address of the frame itself (which stack?).
extern volatile struct Last {
    struct Frame frame;
    u64 cr2, at, dr6;
    u64 count;
} last;
#define NO_TRAP 0xffff
/// Runs f(argument); a trap ends it (SPL: code and stack as before). Returns the vector or NO_TRAP.
u64 trap_of(void (*f)(u64), u64 argument);
/// Called instead of ending the guarded call; returns true to go on after the trap (frame may be changed).
extern bool (*trap_hook)(struct Frame* frame);

/// Runs user code (position-independent, in any function) at CPL 3 until a trap; INT 0x80 is the usual end. 64-bit unless
/// cs says otherwise. Returns the vector.
u64 user_trap(void (*f)(void), u64 argument);
u64 user_trap_as(void (*f)(void), u64 argument, u64 cs, u64 rflags);
#define USER_ALIAS 0x40000000ull
#define USER_STACK_TOP (USER_ALIAS + (u64)(user_stack + sizeof user_stack) - 64)
extern u8 user_stack[8192];

extern u64 gdt[32];
extern u64 pml4[512], pdpt[512], pd_low[512], pd_user[512], pd_high[512];
extern u8 trap_stubs[256 * 16], boot_stack_top[], syscall_landing[], sysenter_landing[];
struct __attribute__((packed)) Tss { u32 reserved; u64 rsp[3]; u64 reserved1, ist[7], reserved2; u16 reserved3, io_map; u8 bitmap[8193]; };
extern struct Tss tss;
struct __attribute__((packed)) Gate { u16 low; u16 selector; u8 ist; u8 type; u16 middle; u32 high; u32 reserved; };
extern struct Gate idt[256];
void set_gate(unsigned vector, void* handler, u16 selector, u8 type, u8 ist);

#define READ_CR(n) ({ u64 v_; asm volatile("mov %%cr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_CR(n, value) asm volatile("mov %0, %%cr" #n ::"r"((u64)(value)) : "memory")
#define READ_DR(n) ({ u64 v_; asm volatile("mov %%dr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_DR(n, value) asm volatile("mov %0, %%dr" #n ::"r"((u64)(value)))
static inline u64 rdmsr(u32 number) {
    u32 low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(number));
    return (u64)high << 32 | low;
}
static inline void wrmsr(u32 number, u64 value) { asm volatile("wrmsr" ::"c"(number), "a"((u32)value), "d"((u32)(value >> 32)) : "memory"); }
static inline u64 rdtsc(void) {
    u32 low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}
static inline void cpuid(u32 leaf, u32 subleaf, u32 out[4]) {
    asm volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}
static inline void invlpg(u64 address) { asm volatile("invlpg (%0)" ::"r"(address) : "memory"); }
#endif
