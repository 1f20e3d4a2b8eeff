// The IDT, the TSS and the trap handler of 64-bit payloads.
#include "payload.h"

volatile struct Last last;
bool (*trap_hook)(struct Frame* frame);
struct Gate idt[256] __attribute__((aligned(16)));
struct Tss tss __attribute__((aligned(16)));
u8 user_stack[8192] __attribute__((aligned(4096)));
static u8 kernel_stack[8192] __attribute__((aligned(16)));
static u8 double_fault_stack[8192] __attribute__((aligned(16)));
extern u64 resume_rsp;
extern u8 guarded_return[];
u64 guarded(void (*f)(u64), u64 argument);
_Noreturn void enter_user(u64 rip, u64 rsp, u64 cs, u64 rflags, u64 rdi);

void set_gate(unsigned vector, void* handler, u16 selector, u8 type, u8 ist) {
    const u64 at = (u64)handler;
    idt[vector] = (struct Gate){(u16)at, selector, ist, type, (u16)(at >> 16), (u32)(at >> 32), 0};
}

static void copy_frame(volatile struct Frame* to, const struct Frame* from) {
    volatile u64* out = (volatile u64*)to;
    const u64* in = (const u64*)from;
    for (unsigned i = 0; i < sizeof *from / 8; ++i) out[i] = in[i];
}

void trap_handler(struct Frame* frame) {
    copy_frame(&last.frame, frame);
    last.cr2 = READ_CR(2);
    last.at = (u64)frame;
    last.dr6 = READ_DR(6);
    ++last.count;
    if (trap_hook && trap_hook(frame)) return;
    if (!resume_rsp) {
        check("no trap outside a guarded call: vector", frame->vector, NO_TRAP);
        check("at rip", frame->rip, 0);
        check("with error", frame->error, 0);
        check("cr2", last.cr2, 0);
        finish();
    }
    frame->rip = (u64)guarded_return;
    frame->cs = 0x08;
    frame->ss = 0x10;
    frame->rsp = resume_rsp;
    frame->rflags = 2;
}

u64 trap_of(void (*f)(u64), u64 argument) { return guarded(f, argument) ? last.frame.vector : NO_TRAP; }

struct UserEntry { u64 rip, rsp, cs, rflags, rdi; };
static void enter(u64 argument) {
    const struct UserEntry* e = (const struct UserEntry*)argument;
    enter_user(e->rip, e->rsp, e->cs, e->rflags, e->rdi);
}

u64 user_trap_as(void (*f)(void), u64 argument, u64 cs, u64 rflags) {
    const struct UserEntry e = {(u64)f + USER_ALIAS, USER_STACK_TOP, cs, rflags, argument};
    return trap_of(enter, (u64)&e);
}

u64 user_trap(void (*f)(void), u64 argument) { return user_trap_as(f, argument, 0x2b, 2); }

static void set_tss(void) {
    const u64 base = (u64)&tss, limit = sizeof tss - 1;
    gdt[8] = (limit & 0xffff) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    gdt[9] = base >> 32;
    tss.rsp[0] = (u64)(kernel_stack + sizeof kernel_stack);
    tss.ist[0] = (u64)(double_fault_stack + sizeof double_fault_stack);
    tss.io_map = sizeof tss;
    asm volatile("ltr %w0; lldt %w1" ::"r"(0x40), "r"(0) : "memory");
}

void payload_start(void) {
    const struct __attribute__((packed)) { u16 limit; u64 base; } pointer = {sizeof idt - 1, (u64)idt};
    for (unsigned i = 0; i < 256; ++i) set_gate(i, trap_stubs + 16 * i, 0x08, 0x8e, 0);
    set_gate(0x80, trap_stubs + 16 * 0x80, 0x08, 0xee, 0);
    idt[8].ist = 1;
    asm volatile("lidt %0" ::"m"(pointer));
    set_tss();
    payload_main();
    finish();
}
