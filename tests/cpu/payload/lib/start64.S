// Multiboot 1 entry (flat 32-bit protected mode) to 64-bit mode, trap stubs, guarded and user-mode calls.
//
// Linear map: 0 to 1 GiB identity, supervisor; 1 to 2 GiB the same memory for user mode (kUserAlias);
// 2 to 3 GiB nothing, for the tests; 3 to 4 GiB identity (LAPIC, IOAPIC).
.section .multiboot, "ax"
.code32
.align 4
.long 0x1badb002, 0, -0x1badb002
.globl start
start:
  mov $boot_stack_top, %esp
  mov $pd_low, %edi
  mov $0x83, %eax            // present, writable, 2 MiB
  mov $pd_user, %esi
  mov $pd_high, %ebx
  mov $512, %ecx
1:
  mov %eax, (%edi)
  lea 4(%eax), %edx          // and user
  mov %edx, (%esi)
  lea 0xc0000010(%eax), %edx // uncached
  mov %edx, (%ebx)
  add $8, %edi
  add $8, %esi
  add $8, %ebx
  add $0x200000, %eax
  loop 1b
  movl $pd_low + 3, pdpt
  movl $pd_user + 7, pdpt + 8
  movl $pd_high + 3, pdpt + 24
  movl $pdpt + 7, pml4
  mov %cr4, %eax
  or $0x620, %eax            // PAE, OSFXSR, OSXMMEXCPT
  mov %eax, %cr4
  mov $pml4, %eax
  mov %eax, %cr3
  mov $0xc0000080, %ecx
  rdmsr
  or $0x901, %eax            // NXE, LME, SCE
  wrmsr
  mov $0x80010033, %eax      // PG, WP, NE, ET, MP, PE
  mov %eax, %cr0
  lgdt gdt_pointer
  ljmp $0x08, $2f
.code64
2:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  xor %eax, %eax
  mov %eax, %fs
  mov %eax, %gs
  mov $boot_stack_top, %rsp
  call payload_start

.text
.code64
// Trap stubs: push an error code where the CPU did not, the vector, and all registers.
.altmacro
.macro stub n
  .align 16
  .if \n != 8 && (\n < 10 || \n > 14) && \n != 17 && \n != 21 && \n != 29 && \n != 30
    push $0
  .endif
  push $\n
  jmp trap_common
.endm
.align 16
.globl trap_stubs
trap_stubs:
.set i, 0
.rept 256
  stub %i
  .set i, i + 1
.endr
trap_common:
  push %rax ; push %rcx ; push %rdx ; push %rbx ; push %rbp ; push %rsi ; push %rdi
  push %r8 ; push %r9 ; push %r10 ; push %r11 ; push %r12 ; push %r13 ; push %r14 ; push %r15
  cld
  mov %rsp, %rdi
  mov %rsp, %rbp
  and $-16, %rsp
  call trap_handler
  mov %rbp, %rsp
  pop %r15 ; pop %r14 ; pop %r13 ; pop %r12 ; pop %r11 ; pop %r10 ; pop %r9 ; pop %r8
  pop %rdi ; pop %rsi ; pop %rbp ; pop %rbx ; pop %rdx ; pop %rcx ; pop %rax
  add $16, %rsp
  iretq

// uint64_t guarded(void (*f)(uint64_t), uint64_t argument): 1 if a trap ended it.
.globl guarded
guarded:
  push %rbx ; push %rbp ; push %r12 ; push %r13 ; push %r14 ; push %r15
  pushq resume_rsp
  mov %rsp, resume_rsp
  mov %rdi, %rax
  mov %rsi, %rdi
  call *%rax
  xor %eax, %eax
  jmp 1f
.globl guarded_return
guarded_return:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  mov $1, %eax
1:
  mov resume_rsp, %rsp
  popq resume_rsp
  pop %r15 ; pop %r14 ; pop %r13 ; pop %r12 ; pop %rbp ; pop %rbx
  ret

// enter_user(uint64_t rip, uint64_t rsp, uint64_t cs, uint64_t rflags, uint64_t rdi): never returns but by a trap.
.globl enter_user
enter_user:
  push $0x23
  push %rsi
  push %rcx
  push %rdx
  push %rdi
  mov $0x23, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %r8, %rdi
  iretq

// A system call's or SYSENTER's landing: report as vector 256 or 257 with the registers as they came.
.globl syscall_landing
syscall_landing:
  mov %rsp, user_rsp
  mov $boot_stack_top - 2048, %rsp
  pushq $0x23 ; pushq user_rsp ; push %r11 ; pushq $0x2b ; push %rcx
  push $0 ; push $256
  jmp trap_common
.globl sysenter_landing
sysenter_landing:
  pushq $0x23 ; pushq $0 ; pushfq ; pushq $0x2b ; pushq $0
  push $0 ; push $257
  jmp trap_common

.data
.align 16
.globl gdt
gdt:
  .quad 0
  .quad 0x00af9b000000ffff   // 08 kernel code, 64-bit
  .quad 0x00cf93000000ffff   // 10 kernel data
  .quad 0x00cffb000000ffff   // 18 user code, 32-bit
  .quad 0x00cff3000000ffff   // 20 user data
  .quad 0x00affb000000ffff   // 28 user code, 64-bit
  .quad 0x00cff3000000ffff   // 30 user data (SYSEXIT)
  .quad 0x00cf9b000000ffff   // 38 kernel code, 32-bit
  .quad 0, 0                 // 40 TSS
  .fill 22, 8, 0             // 50 to f8: the tests'
.globl gdt_pointer
gdt_pointer:
  .word 255
  .quad gdt

.bss
.align 4096
.globl pml4, pdpt, pd_low, pd_user, pd_high
pml4: .skip 4096
pdpt: .skip 4096
pd_low: .skip 4096
pd_user: .skip 4096
pd_high: .skip 4096
boot_stack: .skip 65536
.globl boot_stack_top
boot_stack_top:
.globl resume_rsp, user_rsp
resume_rsp: .quad 0
user_rsp: .quad 0
.section .note.GNU-stack, "", @progbits
