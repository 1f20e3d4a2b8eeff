// Where application processors begin: copied to 0x7000, which the SIPI names. Each takes a number and a stack, enters 64-bit mode with the
// boot processor's tables and calls ap_main(number).
.section .note.GNU-stack, "", @progbits
.text
.globl ap_start, ap_end
.code16
ap_start:
  cli
  xor %ax, %ax
  mov %ax, %ds
  lgdtl 0x7000 + (ap_gdt_pointer - ap_start)
  mov $0x33, %eax            // NE, ET, MP, PE
  mov %eax, %cr0
  ljmpl $0x38, $ap_protected // 32-bit code
ap_gdt_pointer:
  .word 255
  .long gdt
ap_end:
.code32
ap_protected:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %ss
  mov $0x620, %eax           // PAE, OSFXSR, OSXMMEXCPT
  mov %eax, %cr4
  mov $pml4, %eax
  mov %eax, %cr3
  mov $0xc0000080, %ecx
  rdmsr
  or $0x901, %eax            // NXE, LME, SCE
  wrmsr
  mov $0x80010033, %eax      // PG, WP, NE, ET, MP, PE
  mov %eax, %cr0
  ljmp $0x08, $1f
.code64
1:
  mov $0x10, %eax
  mov %eax, %es
  mov $1, %edi
  lock xadd %edi, ap_number(%rip)
  mov %edi, %eax
  shl $14, %eax
  lea ap_stacks(%rip), %rsp
  add %rax, %rsp
  call ap_main
.data
ap_number: .long 1
.bss
.align 16
.skip 16384
ap_stacks: .skip 65536
