// What remains of us in a mirrored address space: one page of code, entered once by the child of a fork, and a list of system
// calls behind it, both never writable there. No stack, no data: all state is in registers that only this code has written.
//
// In: r12 = the stub's address, r13 = its end, r14 = end of user space, r15 = 1: RDTSC shall fault.
#include "stub.h"

    .section .rodata
    .globl yado_direct_stub, yado_direct_stub_syscall, yado_direct_stub_rdtsc, yado_direct_stub_cpuid, yado_direct_stub_end
    .p2align 4
yado_direct_stub:
    mov $11, %eax                   // munmap, below
    xor %edi, %edi
    mov %r12, %rsi
    syscall
    test %rax, %rax
    jnz 9f
    mov %r14, %rsi                  // and above
    sub %r13, %rsi
    jz 1f
    mov $11, %eax
    mov %r13, %rdi
    syscall
    test %rax, %rax
    jnz 9f
1:  mov $56, %eax                   // clone(CLONE_VM): the runner, a process of its own with the same memory
    mov $0x100, %edi
    xor %esi, %esi
    xor %edx, %edx
    xor %r10d, %r10d
    xor %r8d, %r8d
    syscall
    test %rax, %rax
    js 9f
    jz runner

    mov $157, %eax                  // prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    mov $38, %edi
    mov $1, %esi
    xor %edx, %edx
    xor %r10d, %r10d
    xor %r8d, %r8d
    syscall
    test %rax, %rax
    jnz 9f
    mov $317, %eax                  // seccomp(SECCOMP_SET_MODE_FILTER, 0, filter)
    mov $1, %edi
    xor %esi, %esi
    lea STUB_MAPPER_FILTER(%r12), %rdx
    syscall
    test %rax, %rax
    jnz 9f
2:  int3                            // rax: 0 or an error; rbx: the entry that failed
    lea STUB_COMMANDS(%r12), %rbx
3:  mov (%rbx), %rax
    cmp $STUB_END_OF_LIST, %rax
    je 4f
    mov 8(%rbx), %rdi
    mov 16(%rbx), %rsi
    mov 24(%rbx), %rdx
    mov 32(%rbx), %r10
    mov 40(%rbx), %r8
    mov 48(%rbx), %r9
    syscall
yado_direct_stub_syscall:
    cmp $-4095, %rax
    jae 2b
    add $STUB_COMMAND_BYTES, %rbx
    jmp 3b
4:  xor %eax, %eax
    jmp 2b

runner:
    mov $436, %eax                  // close_range(0, ~0, 0)
    xor %edi, %edi
    mov $-1, %esi
    xor %edx, %edx
    syscall
    test %rax, %rax
    jnz 9f
    mov $157, %eax                  // prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    mov $38, %edi
    mov $1, %esi
    xor %edx, %edx
    xor %r10d, %r10d
    xor %r8d, %r8d
    syscall
    test %rax, %rax
    jnz 9f
    test %r15, %r15
    jz 5f
    mov $157, %eax                  // prctl(PR_SET_TSC, PR_TSC_SIGSEGV)
    mov $26, %edi
    mov $2, %esi
    syscall
    test %rax, %rax
    jnz 9f
5:  mov $158, %eax                  // arch_prctl(ARCH_SET_CPUID, 0): not on every host
    mov $0x1012, %edi
    xor %esi, %esi
    syscall
    mov $317, %eax
    mov $1, %edi
    xor %esi, %esi
    lea STUB_RUNNER_FILTER(%r12), %rdx
    syscall
    test %rax, %rax
    jnz 9f
    int3                            // ready; from here on registers are the guest's
9:  hlt

yado_direct_stub_rdtsc:             // what faults here, and does not only say so: virtual machines differ
    rdtsc
    int3
yado_direct_stub_cpuid:
    cpuid
    int3
yado_direct_stub_end:

    .section .note.GNU-stack, "", @progbits
