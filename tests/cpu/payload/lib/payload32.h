// 32-bit payloads: as payload.h, with the frame of 32-bit gates.
#pragma once

#include "payload.h"

struct Frame {
    u32 es, ds, edi, esi, ebp, esp_dummy, ebx, edx, ecx, eax;
    u32 vector, error, eip, cs, eflags;
    u32 esp, ss;                       ///< from an outer ring only
    u32 v86_es, v86_ds, v86_fs, v86_gs;
};
extern volatile struct Last {
    struct Frame frame;
    u32 cr2, at, count;
} last;
#define NO_TRAP 0xffff
u32 trap_of(void (*f)(u32), u32 argument);
extern bool (*trap_hook)(struct Frame* frame);
extern u64 gdt[64];
extern u8 boot_stack_top[], trap_stubs[256 * 16];
struct __attribute__((packed)) Tss32 {
    u16 link, r0; u32 esp0; u16 ss0, r1; u32 esp1; u16 ss1, r2; u32 esp2; u16 ss2, r3; u32 cr3, eip, eflags;
    u32 eax, ecx, edx, ebx, esp, ebp, esi, edi; u16 es, r4, cs, r5, ss, r6, ds, r7, fs, r8, gs, r9, ldt, r10, trap, io_map;
};
extern struct Tss32 tss;
u64 segment(u32 base, u32 limit, u8 access, u8 flags);
void set_gate(unsigned vector, void* handler, u16 selector, u8 type);
extern u64 idt[256];
#define READ_CR(n) ({ u32 v_; asm volatile("mov %%cr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_CR(n, value) asm volatile("mov %0, %%cr" #n ::"r"((u32)(value)) : "memory")
