// Changes of privilege: IRET, interrupts with stacks of the TSS, SYSCALL, SYSENTER, call gates, privileged instructions
// and I/O at CPL 3, compatibility mode. SDM vol. 3, chapters 5 and 6; vol. 2, SYSCALL, SYSRET, SYSENTER, SYSEXIT.
#include "payload.h"

enum { EFER = 0xc0000080, STAR, LSTAR, CSTAR, FMASK, FS_BASE = 0xc0000100, GS_BASE, KERNEL_GS_BASE };
enum { SYSENTER_CS = 0x174, SYSENTER_ESP, SYSENTER_EIP };

#define USER(name, code) static void name(void) { asm volatile(code "; int $0x80"); }
USER(u_nothing, "mov $0x1234, %eax")
USER(u_cpl, "mov %cs, %eax")
USER(u_hlt, "hlt")
USER(u_cli, "cli")
USER(u_rdmsr, "mov $0x10, %ecx; rdmsr")
USER(u_cr0, "mov %cr0, %rax")
USER(u_invlpg, "invlpg (%rdi)")
USER(u_lgdt, "lgdt (%rdi)")
USER(u_swapgs, "swapgs")
USER(u_wbinvd, "wbinvd")
USER(u_clts, "clts")
USER(u_sysret, "sysretq")
USER(u_out, "mov $0x80, %edx; out %al, %dx")
USER(u_out16, "mov $0x80, %edx; out %ax, %dx")
USER(u_int_0x20, "int $0x20")
USER(u_int3, "int3")
USER(u_rdtsc, "rdtsc")
USER(u_sgdt, "sub $16, %rsp; sgdt (%rsp)")
USER(u_smsw, "smsw %eax")
USER(u_rdfsbase, "rdfsbase %rax")
USER(u_wrgsbase, "mov $0x12345678, %eax; wrgsbase %rax; rdgsbase %rax")
USER(u_wrgsbase_bad, "mov $1, %eax; shl $47, %rax; wrgsbase %rax")
USER(u_popf, "pushfq; orl $0x3200, (%rsp); popfq; pushfq; pop %rax")
USER(u_align, "pushfq; orl $0x40000, (%rsp); popfq; mov 1(%rsp), %eax")
USER(u_load_ss_kernel, "mov $0x10, %eax; mov %eax, %ss")
USER(u_load_ds_kernel, "mov $0x10, %eax; mov %eax, %ds")
USER(u_iret_to_kernel, "push $0x10; push %rsp; pushfq; push $8; push $0; iretq")
USER(u_syscall, "mov $0x77, %eax; syscall; mov $0x88, %eax")
USER(u_sysenter, "mov $0x66, %eax; sysenter")
USER(u_far_call_kernel, "sub $16, %rsp; movl $0, (%rsp); movw $8, 4(%rsp); lcall *(%rsp)")

static u64 got(void (*f)(void)) { return user_trap(f, (u64)pml4); }

static void privileged(void) {
    check("int 0x80 from CPL 3", got(u_nothing), 0x80);
    check("registers come along", last.frame.rax, 0x1234);
    check("saved CS", last.frame.cs, 0x2b);
    check("saved SS", last.frame.ss, 0x23);
    check("the handler's stack is RSP0", last.at, tss.rsp[0] - sizeof(struct Frame));
    check("CPL 3", (got(u_cpl), last.frame.rax & 3), 3);
    static const struct { const char* name; void (*f)(void); u64 want; } kCases[] = {
        {"HLT at CPL 3: #GP", u_hlt, 13}, {"CLI at CPL 3: #GP", u_cli, 13}, {"RDMSR at CPL 3: #GP", u_rdmsr, 13},
        {"MOV from CR0 at CPL 3: #GP", u_cr0, 13}, {"INVLPG at CPL 3: #GP", u_invlpg, 13}, {"LGDT at CPL 3: #GP", u_lgdt, 13},
        {"SWAPGS at CPL 3: #GP", u_swapgs, 13}, {"WBINVD at CPL 3: #GP", u_wbinvd, 13}, {"CLTS at CPL 3: #GP", u_clts, 13},
        {"SYSRET at CPL 3: #GP", u_sysret, 13}, {"OUT at CPL 3: #GP", u_out, 13}, {"INT of a gate with DPL 0: #GP", u_int_0x20, 13},
        {"INT3 of a gate with DPL 0: #GP", u_int3, 13}, {"SS with kernel data: #GP", u_load_ss_kernel, 13},
        {"DS with kernel data: #GP", u_load_ds_kernel, 13}, {"IRET to CPL 0: #GP", u_iret_to_kernel, 13},
        {"far call to kernel code: #GP", u_far_call_kernel, 13}, {"RDTSC at CPL 3", u_rdtsc, 0x80}};
    for (unsigned i = 0; i < sizeof kCases / sizeof *kCases; ++i) check(kCases[i].name, got(kCases[i].f), kCases[i].want);
    check("INT of a gate with DPL 0: its index and IDT bit", (got(u_int_0x20), last.frame.error), 0x20 * 8 + 2);
    WRITE_CR(4, READ_CR(4) | 4);
    check("RDTSC at CPL 3 with CR4.TSD: #GP", got(u_rdtsc), 13);
    WRITE_CR(4, READ_CR(4) & ~4ull);
    got(u_popf);
    check("POPF at CPL 3 changes neither IF nor IOPL", last.frame.rax & 0x3200, 0);
    check("POPF with IOPL 3 changes IF", (user_trap_as(u_popf, 0, 0x2b, 0x3002), last.frame.rax & 0x3200), 0x3200);
    check("CLI with IOPL 3", user_trap_as(u_cli, 0, 0x2b, 0x3002), 0x80);
    check("OUT with IOPL 3", user_trap_as(u_out, 0, 0x2b, 0x3002), 0x80);
}

static void io_bitmap(void) {
    tss.io_map = (u16)((u64)tss.bitmap - (u64)&tss);
    for (unsigned i = 0; i < sizeof tss.bitmap; ++i) tss.bitmap[i] = 0xff;
    check("OUT with its bit set: #GP", got(u_out), 13);
    tss.bitmap[0x10] = 0xfe;
    check("OUT with its bit clear", got(u_out), 0x80);
    check("OUT of 2 bytes with one bit set: #GP", got(u_out16), 13);
    tss.bitmap[0x10] = 0xfc;
    check("OUT of 2 bytes with both bits clear", got(u_out16), 0x80);
    tss.io_map = sizeof tss;
}

static void features(void) {
    u32 regs[4];
    cpuid(7, 0, regs);
    if (regs[2] & 1 << 2) {
        check("SGDT at CPL 3 without UMIP", got(u_sgdt), 0x80);
        WRITE_CR(4, READ_CR(4) | 1 << 11);
        check("SGDT at CPL 3 with UMIP: #GP", got(u_sgdt), 13);
        check("SMSW at CPL 3 with UMIP: #GP", got(u_smsw), 13);
        WRITE_CR(4, READ_CR(4) & ~(1ull << 11));
    }
    if (regs[1] & 1) {
        check("RDFSBASE without CR4.FSGSBASE: #UD", got(u_rdfsbase), 6);
        WRITE_CR(4, READ_CR(4) | 1 << 16);
        wrmsr(FS_BASE, 0x7777);
        check("RDFSBASE", (got(u_rdfsbase), last.frame.rax), 0x7777);
        check("WRGSBASE", (got(u_wrgsbase), last.frame.rax), 0x12345678);
        check("WRGSBASE is GS_BASE", rdmsr(GS_BASE), 0x12345678);
        check("WRGSBASE, not canonical: #GP", got(u_wrgsbase_bad), 13);
        WRITE_CR(4, READ_CR(4) & ~(1ull << 16));
    }
    check("misaligned access with RFLAGS.AC but not CR0.AM", got(u_align), 0x80);
    WRITE_CR(0, READ_CR(0) | 1 << 18);
    check("misaligned access with RFLAGS.AC and CR0.AM: #AC", got(u_align), 17);
    check("#AC: error 0", last.frame.error, 0);
    WRITE_CR(0, READ_CR(0) & ~(1ull << 18));
    wrmsr(GS_BASE, 0x1111);
    wrmsr(KERNEL_GS_BASE, 0x2222);
    asm volatile("swapgs" ::: "memory");
    check("SWAPGS: GS", rdmsr(GS_BASE), 0x2222);
    check("SWAPGS: kernel GS", rdmsr(KERNEL_GS_BASE), 0x1111);
}

static u64 syscall_seen[6];
extern u8 do_sysret[], do_sysexit[];
asm(".globl do_sysret, do_sysexit\n"
    "do_sysret: mov %rdx, %rsp; mov $0x202, %r11; sysretq\n"
    "do_sysexit: rex.w sysexit\n");

static bool on_syscall(struct Frame* f) {
    if (f->vector < 256) return false;
    syscall_seen[0] = f->vector;
    syscall_seen[1] = f->rcx - USER_ALIAS;
    syscall_seen[2] = f->r11;
    syscall_seen[3] = f->rax;
    return false;
}

static void syscalls(void) {
    wrmsr(STAR, 0x001b0008ull << 32);   // SYSRET: CS 2b, SS 23; SYSCALL: CS 08, SS 10
    wrmsr(LSTAR, (u64)syscall_landing);
    wrmsr(FMASK, 0x700);
    trap_hook = on_syscall;
    check("SYSCALL arrives at LSTAR", (user_trap_as(u_syscall, 0, 0x2b, 0x602 | 1), syscall_seen[0]), 256);
    check("SYSCALL: RAX", syscall_seen[3], 0x77);
    check("SYSCALL: R11 has the flags", syscall_seen[2] & 0xfff, 0x603);
    check("SYSCALL: RCX is the next instruction", *(u32*)syscall_seen[1], 0x000088b8);
    wrmsr(EFER, rdmsr(EFER) & ~1ull);
    check("SYSCALL without EFER.SCE: #UD", got(u_syscall), 6);
    wrmsr(EFER, rdmsr(EFER) | 1);
    wrmsr(SYSENTER_CS, 0x08);
    wrmsr(SYSENTER_ESP, (u64)boot_stack_top - 4096);
    wrmsr(SYSENTER_EIP, (u64)sysenter_landing);
    syscall_seen[0] = 0;
    got(u_sysenter);
    if (last.frame.vector != 6) {  // AMD has no SYSENTER in 64-bit mode (APM vol. 3, SYSENTER)
        check("SYSENTER arrives at SYSENTER_EIP", syscall_seen[0], 257);
        wrmsr(SYSENTER_CS, 0);
        check("SYSENTER with SYSENTER_CS 0: #GP", got(u_sysenter), 13);
        wrmsr(SYSENTER_CS, 0x08);
    } else {
        check("SYSENTER arrives at SYSENTER_EIP", 257, 257);
        check("SYSENTER with SYSENTER_CS 0: #GP", 13, 13);
    }
    trap_hook = 0;
}

static u64 steps_user, steps_kernel;
static bool step_on(struct Frame* f) {
    if (f->vector != 1) return false;
    ++*((f->cs & 3) == 3 ? &steps_user : &steps_kernel);
    return true;
}
static void sysret_tf_to(u64 rip) {
    asm volatile("mov %0, %%rcx; mov %1, %%rsp; mov $0x302, %%r11; sysretq" ::"r"(rip), "r"(USER_STACK_TOP) : "rcx", "r11");
}
/// What counts is the TF that SYSCALL and SYSRET leave behind (APM vol. 3, SYSCALL and SYSRET; Linux relies on the first).
static void single_steps(void) {
    trap_hook = step_on;
    check("SYSCALL with TF, which FMASK clears", user_trap_as(u_syscall, 0, 0x2b, 0x102), 256);
    check("SYSCALL with TF: a trap after the MOV in front of it", steps_user, 1);
    check("SYSCALL with TF: none in the kernel", steps_kernel, 0);
    trap_hook = 0;
    check("SYSRET that sets TF: #DB", trap_of(sysret_tf_to, (u64)u_syscall + USER_ALIAS), 1);
    check("SYSRET that sets TF: before the next instruction", last.frame.rip, (u64)u_syscall + USER_ALIAS);
    check_mask("SYSRET that sets TF: DR6.BS", last.dr6, 0x4000, 0x400f);
    WRITE_DR(6, 0xffff0ff0);
}

USER(u_after_return, "mov %cs, %eax; mov %ss, %ebx")
static void sysret_to(u64 rip) { asm volatile("mov %0, %%rcx; mov %1, %%rdx; jmp do_sysret" ::"r"(rip), "r"(USER_STACK_TOP) : "rcx", "rdx"); }
static void sysexit_to(u64 rip) { asm volatile("mov %0, %%rdx; mov %1, %%rcx; jmp do_sysexit" ::"r"(rip), "r"(USER_STACK_TOP) : "rcx", "rdx"); }
static void sysret32_to(u64 rip) { asm volatile("mov %0, %%rcx; mov $0x202, %%r11; sysretl" ::"r"(rip) : "rcx", "r11"); }

// 32-bit code: mov eax, cs ; inc ebx encodes as 43, which is a REX prefix in 64-bit mode ; int 0x80
static const u8 code32[] __attribute__((aligned(16))) = {0x31, 0xdb, 0x43, 0x8c, 0xc8, 0xcd, 0x80};
static void returns(void) {
    check("SYSRET to 64-bit user code", trap_of(sysret_to, (u64)u_after_return + USER_ALIAS), 0x80);
    check("SYSRET: CS", last.frame.rax & 0xffff, 0x2b);
    check("SYSRET: SS", last.frame.rbx & 0xffff, 0x23);
    check("SYSRET: flags from R11", last.frame.rflags & 0x202, 0x202);
    check("SYSRET to 32-bit user code", trap_of(sysret32_to, (u64)code32 + USER_ALIAS), 0x80);
    check("SYSRET: 32-bit CS", last.frame.rax & 0xffff, 0x1b);
    check("compatibility mode decodes 43 as INC EBX", last.frame.rbx & 0xffffffff, 1);
    check("IRETQ to 32-bit user code", user_trap_as((void (*)(void))code32, 0, 0x1b, 2), 0x80);
    check("IRETQ: 32-bit CS", last.frame.cs, 0x1b);
    const u64 vector = trap_of(sysexit_to, (u64)u_after_return + USER_ALIAS);
    // SYSENTER_CS 08 makes CS 2b and SS 33; AMD has no SYSEXIT in 64-bit mode.
    check("SYSEXIT to 64-bit user code", vector == 6 ? 0x80 : vector, 0x80);
    check("SYSEXIT: SS", vector == 6 ? 0x33 : last.frame.rbx & 0xffff, 0x33);
}

extern u8 gate_target[];
asm("gate_target: mov %cs, %eax; mov 16(%rsp), %rbx; mov 8(%rsp), %rcx; mov 24(%rsp), %rdx; lretq\n");
USER(u_call_gate, "sub $16, %rsp; movl $0, (%rsp); movw $0x50, 4(%rsp); lcall *(%rsp); mov %cs, %esi; mov %rsp, %r8")
static void make_call_gate(u64 dpl, u16 selector) {
    const u64 at = (u64)gate_target;
    gdt[10] = (at & 0xffff) | (u64)selector << 16 | (0x8cull | dpl << 5) << 40 | (at >> 16 & 0xffff) << 48;
    gdt[11] = at >> 32;
}
static void call_gates(void) {
    make_call_gate(3, 0x08);
    check("a call gate to CPL 0 and back", got(u_call_gate), 0x80);
    check("call gate: CS in the target", last.frame.rax & 0xffff, 0x08);
    check("call gate: saved CS", last.frame.rcx & 0xffff, 0x2b);
    check("call gate: saved SS", last.frame.rdx & 0xffff, 0x23);
    check("far return: CS", last.frame.rsi & 0xffff, 0x2b);
    check("far return: RSP", last.frame.r8, last.frame.rbx);
    make_call_gate(0, 0x08);
    check("call gate with DPL 0 from CPL 3: #GP", got(u_call_gate), 13);
    check("call gate with DPL 0: its selector", last.frame.error, 0x50);
    make_call_gate(3, 0x10);
    check("call gate to a data segment: its selector", (got(u_call_gate), last.frame.error), 0x10);
    make_call_gate(3, 0x38);
    check("call gate to 32-bit code: #GP", (got(u_call_gate), last.frame.error), 0x38);
    gdt[10] &= ~(0x80ull << 40);
    check("call gate not present: #NP", (got(u_call_gate), last.frame.vector), 11);
    gdt[10] = gdt[11] = 0;
}

void payload_main(void) {
    privileged();
    io_bitmap();
    features();
    call_gates();
    syscalls();
    single_steps();
    returns();
}
