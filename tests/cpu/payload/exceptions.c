// Exceptions: vectors, error codes, saved RIP and RFLAGS, debug traps, double faults. SDM vol. 3, chapters 6 and 17.
#include "payload.h"

static void divide(u64 by) { asm volatile("xor %%edx, %%edx; mov $1, %%eax; div %0" ::"r"((u32)by) : "eax", "edx"); }
static void ud2(u64 unused) { (void)unused; asm volatile("ud2"); }
static void int3(u64 unused) { (void)unused; asm volatile("int3; nop"); }
static void int_n(u64 unused) { (void)unused; asm volatile("int $0x40; nop"); }
static void int1(u64 unused) { (void)unused; asm volatile(".byte 0xf1; nop"); }
static void load_ds(u64 selector) { asm volatile("mov %w0, %%ds" ::"r"(selector) : "memory"); }
static void load_ss(u64 selector) { asm volatile("mov %w0, %%ss" ::"r"(selector) : "memory"); }
static void load_fs(u64 selector) { asm volatile("mov %w0, %%fs" ::"r"(selector) : "memory"); }
static void load_tr(u64 selector) { asm volatile("ltr %w0" ::"r"(selector) : "memory"); }
static void load_ldt(u64 selector) { asm volatile("lldt %w0" ::"r"(selector) : "memory"); }
static void read_at(u64 address) { asm volatile("mov (%0), %%rax" ::"r"(address) : "rax"); }
static void read_stack_at(u64 address) {
    asm volatile("mov %%rsp, %%rcx; mov %0, %%rbp; mov (%%rbp), %%rax" ::"r"(address) : "rax", "rcx");
}
static void push_at(u64 address) { asm volatile("mov %0, %%rsp; push %%rax" ::"r"(address)); }
static void jump_to(u64 address) { asm volatile("jmp *%0" ::"r"(address)); }
static void iret_to(u64 cs) { asm volatile("push $0x10; push %%rsp; pushfq; push %0; lea 1f(%%rip), %%rax; push %%rax; iretq; 1: add $8, %%rsp" ::"r"(cs) : "rax", "memory"); }
static void far_jump(u64 selector) {
    struct __attribute__((packed)) { u32 offset; u16 selector; } to = {0x100000, (u16)selector};
    asm volatile("ljmpl *%0" ::"m"(to));
}
static void fpu_disabled(u64 unused) { (void)unused; asm volatile("fninit"); }
static void simd_zero_divide(u64 unused) {
    (void)unused;
    const u32 mxcsr = 0x1d80;  // ZM clear
    asm volatile("ldmxcsr %0; xorps %%xmm0, %%xmm0; mov $1, %%eax; cvtsi2ss %%eax, %%xmm1; divss %%xmm0, %%xmm1" ::"m"(mxcsr) : "rax");
}
static void x87_zero_divide(u64 unused) {
    (void)unused;
    const u16 control = 0x37b;  // ZM clear
    asm volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" ::"m"(control));
}

static void faults(void) {
    check("divide by zero: #DE", trap_of(divide, 0), 0);
    check("divide by one: none", trap_of(divide, 1), NO_TRAP);
    check("ud2: #UD", trap_of(ud2, 0), 6);
    check("ud2: saved rip is at the instruction", *(u16*)last.frame.rip, 0x0b0f);
    check("ud2: RF in the saved flags", last.frame.rflags >> 16 & 1, 1);
    check("int3: #BP", trap_of(int3, 0), 3);
    check("int3: saved rip is after it", *(u8*)(last.frame.rip - 1), 0xcc);
    check("int n: its vector", trap_of(int_n, 0), 0x40);
    check("int n: saved rip is after it", *(u8*)last.frame.rip, 0x90);
    check("int1: #DB", trap_of(int1, 0), 1);
    check("not canonical: #GP", trap_of(read_at, 0x800000000000), 13);
    check("not canonical: error 0", last.frame.error, 0);
    check("not canonical by RBP: #SS", trap_of(read_stack_at, 0x800000000000), 12);
    check("not canonical by RBP: error 0", last.frame.error, 0);
    check("push by a stack pointer that is not canonical: #SS",
          (idt[12].ist = 1, trap_of(push_at, 0x900000000000)), 12);
    idt[12].ist = 0;
    check("jump to not canonical: #GP", trap_of(jump_to, 0x1234567890123456), 13);
    WRITE_CR(0, READ_CR(0) | 8);
    check("x87 with CR0.TS: #NM", trap_of(fpu_disabled, 0), 7);
    asm volatile("clts");
    WRITE_CR(0, READ_CR(0) | 4);
    check("x87 with CR0.EM: #NM", trap_of(fpu_disabled, 0), 7);
    WRITE_CR(0, READ_CR(0) & ~4ull);
    check("SSE divide by zero unmasked: #XM", trap_of(simd_zero_divide, 0), 19);
    check("x87 divide by zero unmasked: #MF", trap_of(x87_zero_divide, 0), 16);
    asm volatile("fninit");
}

static void selectors(void) {
    check("null DS is allowed", trap_of(load_ds, 0), NO_TRAP);
    load_ds(0x10);
    check("DS beyond the GDT: #GP", trap_of(load_ds, 0x400), 13);
    check("DS beyond the GDT: its selector", last.frame.error, 0x400);
    check("DS in no LDT: its selector", (trap_of(load_ds, 0x0c), last.frame.error), 0x0c);
    gdt[10] = 0x00cf13000000ffff;  // data, not present
    check("DS not present: #NP", trap_of(load_ds, 0x50), 11);
    check("DS not present: its selector", last.frame.error, 0x50);
    check("SS not present: #SS", trap_of(load_ss, 0x50), 12);
    check("SS not present: its selector", last.frame.error, 0x50);
    check("SS user data at CPL 0: #GP", trap_of(load_ss, 0x23), 13);
    check("SS user data: its selector without RPL", last.frame.error, 0x20);
    check("SS code: #GP", trap_of(load_ss, 0x08), 13);
    check("FS from a TSS: #GP", (trap_of(load_fs, 0x40), last.frame.error), 0x40);
    gdt[10] = 0x00cf92000000ffff;  // data, not yet accessed
    load_ds(0x50);
    check("a load sets the accessed bit", gdt[10] >> 40 & 0xff, 0x93);
    load_ds(0x10);
    check("LTR of a busy TSS: #GP", trap_of(load_tr, 0x40), 13);
    check("LTR of a busy TSS: its selector", last.frame.error, 0x40);
    check("LLDT of null", trap_of(load_ldt, 0), NO_TRAP);
    check("LLDT of data: #GP", trap_of(load_ldt, 0x10), 13);
    check("far jump to data: #GP", (trap_of(far_jump, 0x10), last.frame.error), 0x10);
    check("far jump to null: #GP(0)", (trap_of(far_jump, 0), last.frame.error), 0);
    gdt[10] = 0x00ef9b000000ffff;  // code with L and D
    check("far jump to code with L and D: #GP", (trap_of(far_jump, 0x50), last.frame.error), 0x50);
    check("iretq to a data selector: #GP", (trap_of(iret_to, 0x10), last.frame.error), 0x10);
    check("iretq to itself", trap_of(iret_to, 0x08), NO_TRAP);
    u64 lar = 0;
    asm volatile("lar %1, %0" : "+r"(lar) : "r"(0x08ull));
    check_mask("LAR of kernel code", lar, 0xa09b00, 0xfffffffffff0ffff);  // bits 19:16 are undefined
    u32 lsl = 0;
    asm volatile("lsl %1, %0" : "+r"(lsl) : "r"(0x10));
    check("LSL of kernel data", lsl, 0xffffffff);
    u8 zero;
    asm volatile("verw %w1; setz %0" : "=r"(zero) : "r"(0x08));
    check("VERW of code", zero, 0);
    asm volatile("verr %w1; setz %0" : "=r"(zero) : "r"(0x08));
    check("VERR of readable code", zero, 1);
}

static u64 traps, first_rip, trap_dr6;
static bool count_debug(struct Frame* frame) {
    if (frame->vector != 1) return false;
    if (traps++ == 0) first_rip = frame->rip;
    trap_dr6 = READ_DR(6);
    WRITE_DR(6, 0xffff0ff0);
    return true;
}
static bool count_and_pass(struct Frame* frame) {
    const bool mine = count_debug(frame);
    if (mine) frame->rflags |= 1 << 16;
    return mine;
}

static u64 watched[4];

static void single_step(void) {
    trap_hook = count_debug;
    traps = 0;
    asm volatile("pushfq; orl $0x100, (%%rsp); popfq; nop; nop; nop; pushfq; andl $~0x100, (%%rsp); popfq" ::: "memory", "cc");
    check("TF: a trap after each instruction but the one that set it", traps, 6);
    check_mask("TF: DR6.BS", trap_dr6, 0x4000, 0x400f);
    traps = 0;
    asm volatile("pushfq; orl $0x100, (%%rsp); popfq; mov %%ss, %%eax; mov %%eax, %%ss; nop; pushfq; andl $~0x100, (%%rsp); popfq" ::: "memory", "cc", "rax");
    check("TF: none between MOV SS and the next instruction", traps, 5);
    traps = 0;
    u64 count = 5;
    asm volatile("cld; pushfq; orl $0x100, (%%rsp); popfq; rep stosb; pushfq; andl $~0x100, (%%rsp); popfq" : "+c"(count) : "D"(watched), "a"(0) : "memory", "cc");
    check("TF: one trap an iteration of REP", traps, 5 + 3);
    trap_hook = 0;
}

static void breakpoints(void) {
    WRITE_DR(6, 0xffff0ff0);
    trap_hook = count_and_pass;
    traps = 0;
    WRITE_DR(0, (u64)&watched[1]);
    WRITE_DR(7, 0x400 | 0x2 | 0xd0000);  // G0, write, 4 bytes
    watched[0] = 1;
    asm volatile("" ::: "memory");
    check("data breakpoint: not by its neighbour", traps, 0);
    watched[1] = 2;
    asm volatile("nop" ::: "memory");
    check("data breakpoint: a write traps", traps, 1);
    check_mask("data breakpoint: DR6.B0", trap_dr6, 1, 0x400f);
    u64 value;
    asm volatile("mov %1, %0" : "=r"(value) : "m"(watched[1]));
    check("write breakpoint: not by a read", traps, 1);
    WRITE_DR(7, 0x400 | 0x2 | 0xf0000);  // read or write
    asm volatile("mov %1, %0" : "=r"(value) : "m"(watched[1]));
    check("read-write breakpoint: by a read", traps, 2);
    *(volatile u8*)((u8*)&watched[1] + 3) = 1;
    check("read-write breakpoint: by its last byte", traps, 3);
    *(volatile u8*)((u8*)&watched[1] + 4) = 1;
    check("read-write breakpoint: not beyond", traps, 3);
    traps = 0;
    u64 target;
    asm volatile("lea 1f(%%rip), %0" : "=r"(target));
    asm volatile("lea 1f(%%rip), %%rax; mov %%rax, %%dr1; mov $0x408, %%eax; mov %%rax, %%dr7; nop; 1: nop; xor %%eax, %%eax; mov %%rax, %%dr7; lea 1b(%%rip), %0"
                 : "=r"(target)::"rax", "memory");
    check("instruction breakpoint: one fault, RF lets it pass", traps, 1);
    check("instruction breakpoint: before the instruction", first_rip, target);
    check_mask("instruction breakpoint: DR6.B1", trap_dr6, 2, 0x400f);
    WRITE_DR(7, 0x400);
    trap_hook = 0;
}

static void dr_access(u64 value) { WRITE_DR(7, value); }
static void read_dr4(u64 unused) { (void)unused; (void)READ_DR(4); }
static void debug_registers(void) {
    check("DR7 above bit 31: #GP", trap_of(dr_access, 1ull << 32), 13);
    WRITE_DR(7, 0x400 | 1 << 13);
    check("DR7.GD: an access traps", trap_of(dr_access, 0x400), 1);
    check_mask("DR7.GD: DR6.BD", last.dr6, 0x2000, 0x2000);
    WRITE_DR(6, 0xffff0ff0);
    WRITE_DR(7, 0x400);
    check("DR4 is DR6 without CR4.DE", trap_of(read_dr4, 0), NO_TRAP);
    WRITE_CR(4, READ_CR(4) | 8);
    check("DR4 with CR4.DE: #UD", trap_of(read_dr4, 0), 6);
    WRITE_CR(4, READ_CR(4) & ~8ull);
}

static void int_0x41(u64 unused) { (void)unused; asm volatile("int $0x41"); }
static void int_0x42(u64 unused) { (void)unused; asm volatile("int $0x42"); }
static void event_errors(void) {
    idt[0x41].type = 0x0e;  // not present
    check("gate not present: #NP", trap_of(int_0x41, 0), 11);
    check("gate not present: index and IDT bit", last.frame.error, 0x41 * 8 + 2);
    idt[0x42].type = 0x85;  // a task gate has no place in 64-bit mode
    check("gate of a wrong type: #GP", trap_of(int_0x42, 0), 13);
    check("gate of a wrong type: index and IDT bit", last.frame.error, 0x42 * 8 + 2);
    idt[0x42].type = 0x8e;
    idt[0x42].selector = 0x10;
    check("gate to a data segment: #GP", trap_of(int_0x42, 0), 13);
    check("gate to a data segment: its selector", last.frame.error, 0x10);
    idt[0x42].selector = 0x400;
    check("gate to a selector beyond the GDT: its selector", (trap_of(int_0x42, 0), last.frame.error), 0x400);
    idt[6].type = 0x0e;
    check("a fault whose gate is not present: #NP", trap_of(ud2, 0), 11);
    check("a fault whose gate is not present: EXT, IDT", last.frame.error, 6 * 8 + 3);
    idt[6].type = 0x8e;
    idt[13].type = 0x0e;
    check("#GP whose gate is not present: #DF", trap_of(read_at, 0x800000000000), 8);
    check("#DF: error 0", last.frame.error, 0);
    idt[13].type = 0x8e;
    check("#DF came by its IST stack", last.at > tss.ist[0] - 8192 && last.at < tss.ist[0], 1);
    check("a bad stack pointer during delivery: #DF", trap_of(push_at, 0x900000000000), 8);
    idt[3].ist = 1;
    check("an IST stack for any vector", (trap_of(int3, 0), last.at > tss.ist[0] - 8192 && last.at < tss.ist[0]), 1);
    check("the IST frame is aligned by 16", last.at & 15, (tss.ist[0] - sizeof(struct Frame)) & 15);
    idt[3].ist = 0;
}

void payload_main(void) {
    faults();
    selectors();
    event_errors();
    single_step();
    breakpoints();
    debug_registers();
    check("LTR of null: #GP", trap_of(load_tr, 0), 13);
    check("LTR of null: error 0", last.frame.error, 0);
}
