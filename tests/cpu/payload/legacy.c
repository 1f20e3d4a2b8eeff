// 32-bit protected mode: segment limits and types, gates, INTO and BOUND, task switches, virtual-8086 mode, 16-bit code,
// paging without and with PAE. SDM vol. 3, chapters 3 to 7 and 20.
#include "payload32.h"

enum { FREE = 0x40 };   // selectors from here are the tests'
static u8 area[8192] __attribute__((aligned(4096)));

static void set_descriptor(u32 selector, u64 value) { gdt[selector >> 3] = value; }
#define SEG_TEST(name, code) \
    static void name(u32 at) { asm volatile("mov $0x40, %%ecx; mov %%ecx, %%fs; " code ::"a"(at) : "ecx", "edx", "memory"); }
SEG_TEST(fs_read1, "movb %%fs:(%%eax), %%dl")
SEG_TEST(fs_read4, "movl %%fs:(%%eax), %%edx")
SEG_TEST(fs_write1, "movb %%dl, %%fs:(%%eax)")
static void null_read(u32 at) { asm volatile("xor %%ecx, %%ecx; mov %%ecx, %%fs; movb %%fs:(%0), %%cl" ::"r"(at) : "ecx"); }
static void load_fs(u32 selector) { asm volatile("mov %w0, %%fs" ::"r"(selector)); }
static void limits(void) {
    set_descriptor(FREE, segment((u32)area, 0xfff, 0x93, 4));
    check("within the limit", trap_of(fs_read1, 0xfff), NO_TRAP);
    check("a byte beyond the limit: #GP", trap_of(fs_read1, 0x1000), 13);
    check("beyond the limit: error 0", last.frame.error, 0);
    check("4 bytes up to the limit", trap_of(fs_read4, 0xffc), NO_TRAP);
    check("4 bytes over the limit: #GP", trap_of(fs_read4, 0xffd), 13);
    check("4 bytes that wrap: #GP", trap_of(fs_read4, 0xffffffff), 13);
    area[8] = 0x5a;
    u32 seen;
    asm volatile("mov %1, %%fs; movzbl %%fs:8, %0" : "=r"(seen) : "r"(FREE));
    check("the base is added", seen, 0x5a);
    set_descriptor(FREE, segment((u32)area, 0xfff, 0x97, 4));
    check("expand-down: at the limit: #GP", trap_of(fs_read1, 0xfff), 13);
    check("expand-down: above the limit", trap_of(fs_read1, 0x1000), NO_TRAP);
    set_descriptor(FREE, segment((u32)area, 0xfff, 0x97, 0));
    check("expand-down, 16-bit: up to FFFF", trap_of(fs_read1, 0xffff), NO_TRAP);
    check("expand-down, 16-bit: above FFFF: #GP", trap_of(fs_read1, 0x10000), 13);
    set_descriptor(FREE, segment((u32)area, 1, 0x93, 12));
    check("granularity: 2 pages", trap_of(fs_read1, 0x1fff), NO_TRAP);
    check("granularity: beyond 2 pages: #GP", trap_of(fs_read1, 0x2000), 13);
    set_descriptor(FREE, segment((u32)area, 0xfff, 0x91, 4));
    check("read-only: reads", trap_of(fs_read1, 0), NO_TRAP);
    check("read-only: a write: #GP", trap_of(fs_write1, 0), 13);
    set_descriptor(FREE, segment((u32)area, 0xfff, 0x9b, 4));
    check("readable code: reads", trap_of(fs_read1, 0), NO_TRAP);
    check("readable code: a write: #GP", trap_of(fs_write1, 0), 13);
    set_descriptor(FREE, segment((u32)area, 0xfff, 0x99, 4));
    check("execute-only code in FS: #GP", trap_of(load_fs, FREE), 13);
    check("execute-only code in FS: its selector", last.frame.error, FREE);
    check("a null segment: #GP", trap_of(null_read, (u32)area), 13);
    check("a null segment: error 0", last.frame.error, 0);
    set_descriptor(FREE, segment(0, 0xfffff, 0x13, 12));
    check("not present: #NP", trap_of(load_fs, FREE), 11);
    check("RPL below DPL is fine", trap_of(load_fs, 0x20), NO_TRAP);
    load_fs(0);
}

static void into(u32 of) { asm volatile("mov %0, %%eax; add $0x7fffffff, %%eax; into" ::"r"(of) : "eax"); }
static void bound(u32 index) {
    static const int kBounds[2] = {-1, 5};
    asm volatile("bound %0, %1" ::"r"(index), "m"(kBounds[0]));
}
static void aam0(u32 unused) { (void)unused; asm volatile("mov $7, %%al; .byte 0xd4, 0" ::: "eax"); }
static void sysenter(u32 unused) { (void)unused; asm volatile("sysenter"); }
static void old_traps(void) {
    check("INTO with OF: #OF", trap_of(into, 1), 4);
    check("INTO: saved eip is after it", *(u8*)(last.frame.eip - 1), 0xce);
    check("INTO without OF", trap_of(into, 0), NO_TRAP);
    check("BOUND within", trap_of(bound, 5), NO_TRAP);
    check("BOUND above: #BR", trap_of(bound, 6), 5);
    check("BOUND at the lower bound", trap_of(bound, ~0u), NO_TRAP);
    check("BOUND below: #BR", trap_of(bound, ~1u), 5);
    check("AAM by 0: #DE", trap_of(aam0, 0), 0);
    check("SYSENTER with SYSENTER_CS 0: #GP", trap_of(sysenter, 0), 13);
}

static u8 user_stack[4096] __attribute__((aligned(16)));
static void enter_user(u32 eip) {
    asm volatile("mov $0x23, %%ecx; mov %%ecx, %%ds; mov %%ecx, %%es; push $0x23; push %1; push $2; push $0x1b; push %0; iret" ::"r"(eip), "r"((u32)(user_stack + sizeof user_stack - 64)) : "ecx");
}
extern u8 u_int80[], u_cli[], u_gate[], u_ss_limit[], u_push_limit[], u_far_to_conforming[], gate_target[], conforming_target[];
asm("u_int80: mov %cs, %eax; int $0x80\n"
    "u_cli: cli; int $0x80\n"
    "u_gate: mov %esp, %esi; push $0x11111111; push $0x22222222; lcall $0x48, $0; mov %esp, %edi; mov %cs, %edx; int $0x80\n"
    "gate_target: mov %cs, %eax; mov 8(%esp), %ebx; mov 12(%esp), %ecx; mov %esp, %ebp; lret $8\n"
    "u_ss_limit: mov $0x43, %eax; mov %eax, %ss; movl %ss:0x1000, %eax; int $0x80\n"
    "u_push_limit: mov $0x43, %eax; mov %eax, %ss; mov $0x1002, %esp; push %eax; int $0x80\n"
    "u_far_to_conforming: lcall $0x50, $conforming_target; mov %cs, %edx; int $0x80\n"
    "conforming_target: mov %cs, %eax; lret\n");
static u32 user(const u8* code) { return trap_of(enter_user, (u32)code); }

static void rings(void) {
    check("user mode and INT 80", user(u_int80), 0x80);
    check("user mode: CS", last.frame.eax & 0xffff, 0x1b);
    check("INT 80: saved SS", last.frame.ss, 0x23);
    check("INT 80: saved ESP", last.frame.esp, (u32)(user_stack + sizeof user_stack - 64));
    check("INT 80: the stack is ESP0", last.at + sizeof(struct Frame) - 16, tss.esp0);
    check("CLI at CPL 3: #GP", user(u_cli), 13);
    set_descriptor(FREE, segment((u32)area, 0xfff, 0xf3, 4));
    check("beyond the limit of SS: #SS", user(u_ss_limit), 12);
    check("beyond the limit of SS: error 0", last.frame.error, 0);
    check("a push beyond the limit: #SS", user(u_push_limit), 12);
    check("a push beyond the limit: ESP is as it was", last.frame.esp, 0x1002);
    const u32 at = (u32)gate_target;
    set_descriptor(0x48, (at & 0xffff) | 0x08ull << 16 | 0xec02ull << 32 | (u64)(at >> 16) << 48);
    check("a call gate that copies two parameters", user(u_gate), 0x80);
    check("call gate: CS", last.frame.eax & 0xffff, 0x08);
    check("call gate: last parameter", last.frame.ebx, 0x22222222);
    check("call gate: first parameter", last.frame.ecx, 0x11111111);
    check("call gate: ESP0 less SS, ESP, 2 parameters, CS, EIP", last.frame.ebp, tss.esp0 - 24);
    check("RET n releases on both stacks", last.frame.edi, last.frame.esi);
    check("RET n: CS", last.frame.edx & 0xffff, 0x1b);
    set_descriptor(0x50, segment(0, 0xfffff, 0x9f, 12));
    check("a call to conforming code", user(u_far_to_conforming), 0x80);
    check("conforming code keeps CPL", last.frame.eax & 0xffff, 0x53);
}

static struct Tss32 other __attribute__((aligned(128)));
static u8 other_stack[4096] __attribute__((aligned(16)));
extern u8 task_entry[];
asm("task_entry: mov %eax, task_eax; pushf; pop %eax; mov %eax, task_flags; str %ax; mov %eax, task_tr; mov %cr0, %eax; mov %eax, task_cr0\n"
    "  clts; incl task_runs; iret; jmp task_entry\n"
    ".data\n task_eax: .long 0\n task_flags: .long 0\n task_tr: .long 0\n task_cr0: .long 0\n task_runs: .long 0\n.text\n");
extern volatile u32 task_eax, task_flags, task_tr, task_cr0, task_runs;

static void reset_task(void) {
    other = (struct Tss32){.esp0 = (u32)(other_stack + 2048), .ss0 = 0x10, .eip = (u32)task_entry, .eflags = 2, .eax = 0x4242,
                           .esp = (u32)(other_stack + sizeof other_stack), .es = 0x10, .cs = 8, .ss = 0x10, .ds = 0x10, .io_map = sizeof other};
    set_descriptor(0x58, segment((u32)&other, sizeof other - 1, 0x89, 0));
}
static void call_task(u32 unused) { (void)unused; asm volatile("lcall $0x58, $0" ::: "memory", "eax", "cc"); }
static void jump_task(u32 unused) { (void)unused; asm volatile("ljmp $0x58, $0" ::: "memory", "eax", "cc"); }
static void int_0x60(u32 unused) { (void)unused; asm volatile("int $0x60" ::: "memory"); }

static void tasks(void) {
    reset_task();
    task_runs = 0;
    check("CALL to a TSS and IRET back", trap_of(call_task, 0), NO_TRAP);
    check("the task ran", task_runs, 1);
    check("task: its EAX", task_eax, 0x4242);
    check("task: NT", task_flags & 0x4000, 0x4000);
    check("task: TR", task_tr & 0xffff, 0x58);
    check("task: CR0.TS", task_cr0 & 8, 8);
    check("task: link is the caller", other.link, 0x28);
    u16 tr;
    asm volatile("str %0" : "=r"(tr));
    check("back: TR", tr, 0x28);
    check("the task's TSS is available again", (u32)(gdt[0x58 / 8] >> 40) & 0xff, 0x89);
    check("ours is busy", (u32)(gdt[5] >> 40) & 0xff, 0x8b);
    check("IRET left the task's EIP after it", other.eip != (u32)task_entry, 1);
    asm volatile("clts");
    check("CALL again goes on after the IRET", (trap_of(call_task, 0), task_runs), 2);
    asm volatile("clts");
    reset_task();
    idt[0x60] = 0x58ull << 16 | 0x8500ull << 32;
    check("INT through a task gate", trap_of(int_0x60, 0), NO_TRAP);
    check("task gate: the task ran", task_runs, 3);
    asm volatile("clts");
    reset_task();
    gdt[0x58 / 8] |= 2ull << 40;
    check("a busy TSS: #GP", trap_of(jump_task, 0), 13);
    check("a busy TSS: its selector", last.frame.error, 0x58);
    reset_task();
    gdt[0x58 / 8] &= ~(0x80ull << 40);
    check("TSS not present: #NP", trap_of(jump_task, 0), 11);
    reset_task();
    set_descriptor(0x58, segment((u32)&other, 0x66, 0x89, 0));
    check("a TSS too short: #TS", trap_of(jump_task, 0), 10);
    check("a TSS too short: its selector", last.frame.error, 0x58);
}

static u8* const v86_code = (u8*)0x7000;
static void enter_v86(u32 flags) {
    asm volatile("push $0x300; push $0x200; push $0x700; push $0x100; push $0x600; push $0x100; push %0; push $0x700; push $0; iret" ::"r"(flags));
}
static u32 v86(const u8* code, u32 size, u32 iopl) {
    for (u32 i = 0; i < size; ++i) v86_code[i] = code[i];
    return trap_of(enter_v86, 0x20002 | iopl << 12);
}
static void virtual_8086(void) {
    static const u8 kSegments[] = {0x8c, 0xd8, 0x8e, 0xc0, 0xbb, 0x34, 0x12, 0x53, 0x58, 0xcd, 0x80};  // mov ax,ds; mov es,ax; mov bx,1234; push bx; pop ax; int 80
    check("virtual-8086: INT with IOPL 3", v86(kSegments, sizeof kSegments, 3), 0x80);
    check("virtual-8086: saved VM", last.frame.eflags >> 17 & 1, 1);
    check("virtual-8086: saved CS", last.frame.cs, 0x700);
    check("virtual-8086: saved SS", last.frame.ss, 0x600);
    check("virtual-8086: saved ESP", last.frame.esp, 0x100);
    check("virtual-8086: saved DS", last.frame.v86_ds, 0x700);
    check("virtual-8086: saved ES, loaded by MOV", last.frame.v86_es, 0x700);
    check("virtual-8086: saved FS", last.frame.v86_fs, 0x200);
    check("virtual-8086: saved GS", last.frame.v86_gs, 0x300);
    check("virtual-8086: the stack works", last.frame.eax & 0xffff, 0x1234);
    check("virtual-8086: DS is null in the handler's eyes", last.frame.ds, 0);
    check("virtual-8086: INT with IOPL 0: #GP", v86(kSegments, sizeof kSegments, 0), 13);
    static const u8 kCli[] = {0xfa}, kPushf[] = {0x9c}, kHlt[] = {0xf4}, kLldt[] = {0x0f, 0x00, 0xd0};
    check("virtual-8086: CLI with IOPL 0: #GP", v86(kCli, sizeof kCli, 0), 13);
    check("virtual-8086: PUSHF with IOPL 0: #GP", v86(kPushf, sizeof kPushf, 0), 13);
    check("virtual-8086: HLT: #GP", v86(kHlt, sizeof kHlt, 3), 13);
    check("virtual-8086: LLDT: #UD", v86(kLldt, sizeof kLldt, 3), 6);
    static const u8 kData[] = {0x66, 0xb8, 0xff, 0xff, 0, 0, 0x67, 0x8b, 0x58, 0x01};  // mov eax,ffff; mov bx,[eax+1]
    check("virtual-8086: beyond FFFF: #GP", v86(kData, sizeof kData, 3), 13);
}

static void far16(u32 selector) {
    const struct __attribute__((packed)) { u32 offset; u16 selector; } to = {0, (u16)selector};
    asm volatile("lcall *%0" ::"m"(to) : "eax", "ecx", "memory");
}
static void code16(void) {
    // mov eax, ffffff (66 b8 imm32); push ax; pop cx; mov [10], ax... in a 16-bit segment at `area`, then a 32-bit far return
    static const u8 kCode[] = {0xb8, 0x34, 0x12, 0xe8, 0x02, 0x00, 0x66, 0xcb, 0x2e, 0xff, 0x06, 0x80, 0x00, 0xc3};
    for (u32 i = 0; i < sizeof kCode; ++i) area[i] = kCode[i];
    area[0x80] = 0xff;
    area[0x81] = 0;
    set_descriptor(0x60, segment((u32)area, 0xfff, 0x9b, 0));
    check("16-bit code: INC of a code segment's byte: #GP", trap_of(far16, 0x60), 13);
    area[8] = 0x90;
    area[9] = area[10] = area[11] = area[12] = 0x90;
    u32 eax;
    const struct __attribute__((packed)) { u32 offset; u16 selector; } to = {0, 0x60};
    asm volatile("mov $0xabcd0000, %%eax; lcall *%1" : "=a"(eax) : "m"(to) : "memory");
    check("16-bit code: MOV AX and near CALL, RET", eax, 0xabcd1234);
}

static u32 directory[1024] __attribute__((aligned(4096)));
static u32 table[1024] __attribute__((aligned(4096)));
static u64 pae_pdpt[4] __attribute__((aligned(32)));
static u64 pae_directory[512] __attribute__((aligned(4096)));
static u64 pae_table[512] __attribute__((aligned(4096)));
static void read_at(u32 at) { asm volatile("movb (%0), %%al" ::"r"(at) : "eax", "memory"); }
static void write_at(u32 at) { asm volatile("movb $1, (%0)" ::"r"(at) : "memory"); }
static u32 fault(void (*f)(u32), u32 at) {
    const u32 vector = trap_of(f, at);
    return vector == 14 ? last.frame.error : vector == NO_TRAP ? NO_TRAP : 0x10000 | vector;
}

static void paging(void) {
    area[0] = 0x77;
    WRITE_CR(4, READ_CR(4) | 0x10);  // PSE
    directory[0] = 0x83;
    directory[1] = 0x400083;
    directory[2] = (u32)table | 3;
    table[5] = (u32)area | 3;
    WRITE_CR(3, directory);
    WRITE_CR(0, READ_CR(0) | 0x80010000);
    check("32-bit paging: a 4 MiB page", fault(read_at, 0x400000), NO_TRAP);
    check("32-bit paging: a 4 KiB page", *(volatile u8*)0x805000, 0x77);
    check("32-bit paging: A", table[5] & 0x60, 0x20);
    check("32-bit paging: not present", fault(write_at, 0x806000), 2);
    check("32-bit paging: CR2", last.cr2, 0x806000);
    table[5] &= ~2u;
    asm volatile("invlpg 0x805000" ::: "memory");
    check("32-bit paging: read-only", fault(write_at, 0x805000), 3);
    directory[3] = 0x200083 | 0;  // bit 21 set: reserved without PSE-36 use
    check("32-bit paging: bit 21 of a 4 MiB page is reserved", fault(read_at, 0xc00000), 9);
    WRITE_CR(0, READ_CR(0) & ~0x80000000u);
    WRITE_CR(4, (READ_CR(4) & ~0x10u) | 0x20);  // PAE
    pae_pdpt[0] = (u32)pae_directory | 1;
    for (u32 i = 0; i < 4; ++i) pae_directory[i] = i << 21 | 0x83;
    pae_directory[4] = (u32)pae_table | 3;
    pae_table[5] = (u32)area | 3;
    WRITE_CR(3, pae_pdpt);
    WRITE_CR(0, READ_CR(0) | 0x80000000);
    check("PAE: a 4 KiB page", *(volatile u8*)0x805000, 0x77);
    check("PAE: a 2 MiB page", fault(write_at, 0x400000), NO_TRAP);
    check("PAE: not present", fault(read_at, 0x40000000), 0);
    pae_pdpt[1] = (u32)pae_directory | 1;
    // Whether a new PDPTE counts before that is up to the processor: AMD's nested paging reads them anew (APM vol. 2, 15.25.10).
    WRITE_CR(3, pae_pdpt);
    check("PAE: a PDPTE counts after MOV to CR3", fault(read_at, 0x40805000), NO_TRAP);
    pae_pdpt[1] = 0;
    WRITE_CR(0, READ_CR(0) & ~0x80000000u);
    WRITE_CR(4, READ_CR(4) & ~0x20u);
}

void payload_main(void) {
    limits();
    old_traps();
    rings();
    tasks();
    virtual_8086();
    code16();
    paging();
}
