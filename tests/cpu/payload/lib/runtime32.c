// The IDT, the TSS and the trap handler of 32-bit payloads.
#include "payload32.h"

volatile struct Last last;
bool (*trap_hook)(struct Frame* frame);
u64 idt[256] __attribute__((aligned(16)));
struct Tss32 tss __attribute__((aligned(128)));
static u8 ring0_stack[8192] __attribute__((aligned(16)));
extern u32 resume_esp;
extern u8 guarded_return[];
u32 guarded(void (*f)(u32), u32 argument);

u64 segment(u32 base, u32 limit, u8 access, u8 flags) {
    return (u64)(limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 | (u64)(limit >> 16 & 15) << 48 | (u64)flags << 52 | (u64)(base >> 24) << 56;
}

void set_gate(unsigned vector, void* handler, u16 selector, u8 type) {
    const u32 at = (u32)handler;
    idt[vector] = (at & 0xffff) | (u64)selector << 16 | (u64)type << 40 | (u64)(at >> 16) << 48;
}

static void copy(volatile u32* to, const u32* from, unsigned words) {
    for (unsigned i = 0; i < words; ++i) to[i] = from[i];
}

void trap_handler(struct Frame* frame) {
    copy((volatile u32*)&last.frame, (const u32*)frame, sizeof *frame / 4);
    last.cr2 = READ_CR(2);
    last.at = (u32)frame;
    ++last.count;
    if (trap_hook && trap_hook(frame)) return;
    if (!resume_esp) {
        check("no trap outside a guarded call: vector", frame->vector, NO_TRAP);
        check("at eip", frame->eip, 0);
        check("with error", frame->error, 0);
        finish();
    }
    // To ring 0 by a plain jump: the frame has no ESP and SS to return through when the trap came from ring 0.
    asm volatile("jmp guarded_return");
    __builtin_unreachable();
}

u32 trap_of(void (*f)(u32), u32 argument) { return guarded(f, argument) ? last.frame.vector : NO_TRAP; }

void payload_start(void) {
    const struct __attribute__((packed)) { u16 limit; u32 base; } pointer = {sizeof idt - 1, (u32)idt};
    for (unsigned i = 0; i < 256; ++i) set_gate(i, trap_stubs + 16 * i, 0x08, 0x8e);
    set_gate(0x80, trap_stubs + 16 * 0x80, 0x08, 0xee);
    tss.esp0 = (u32)(ring0_stack + sizeof ring0_stack);
    tss.ss0 = 0x10;
    tss.io_map = sizeof tss;
    gdt[5] = segment((u32)&tss, sizeof tss - 1, 0x89, 0);
    asm volatile("lidt %0; lldt %w1; ltr %w2" ::"m"(pointer), "r"(0), "r"(0x28) : "memory");
    payload_main();
    finish();
}
