// Multiboot 1 entry and trap stubs of 32-bit payloads. Flat segments, no paging.
.section .multiboot, "ax"
.code32
.align 4
.long 0x1badb002, 0, -0x1badb002
.globl start
start:
  mov $boot_stack_top, %esp
  mov $0x33, %eax            // NE, ET, MP, PE
  mov %eax, %cr0
  lgdt gdt_pointer
  ljmp $0x08, $1f
1:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  xor %eax, %eax
  mov %eax, %fs
  mov %eax, %gs
  call payload_start

.text
.altmacro
.macro stub n
  .align 16
  .if \n != 8 && (\n < 10 || \n > 14) && \n != 17
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
  pusha
  push %ds
  push %es
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  cld
  push %esp
  call trap_handler
  add $4, %esp
  pop %es
  pop %ds
  popa
  add $8, %esp
  iret

// u32 guarded(void (*f)(u32), u32 argument): 1 if a trap ended it.
.globl guarded
guarded:
  push %ebx ; push %ebp ; push %esi ; push %edi
  pushl resume_esp
  mov 24(%esp), %eax
  mov 28(%esp), %ecx
  mov %esp, resume_esp
  push %ecx
  call *%eax
  xor %eax, %eax
  jmp 1f
.globl guarded_return
guarded_return:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov $1, %eax
1:
  mov resume_esp, %esp
  popl resume_esp
  pop %edi ; pop %esi ; pop %ebp ; pop %ebx
  ret

.data
.align 16
.globl gdt, gdt_pointer
gdt:
  .quad 0
  .quad 0x00cf9b000000ffff   // 08 code
  .quad 0x00cf93000000ffff   // 10 data
  .quad 0x00cffb000000ffff   // 18 user code
  .quad 0x00cff3000000ffff   // 20 user data
  .fill 59, 8, 0             // 28 TSS, 30 and on: the tests'
gdt_pointer:
  .word 511
  .long gdt
.bss
.align 4096
boot_stack: .skip 65536
.globl boot_stack_top, resume_esp
boot_stack_top:
resume_esp: .long 0
.section .note.GNU-stack, "", @progbits
