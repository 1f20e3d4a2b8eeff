// The 16-bit code that realmode.c copies to 0800:0000 and calls. Each piece ends by LRET with its answer in EAX.
.code16
.globl real_code, real_code_end
.macro piece name
  .globl off_\name
  .set off_\name, . - real_code
.endm
.section .rodata
real_code:
piece segments            // DS:0 is linear 9000
  movl %ds:0, %eax
  lret
piece wrap                // BX + SI wraps at 64 KiB
  mov $0xfff0, %bx
  mov $0x0014, %si
  movl (%bx, %si), %eax
  lret
piece soft_int            // INT 40 through the vector table
  xor %ax, %ax
  mov %ax, %fs
  movw $off_handler, %fs:0x100
  movw %cs, %fs:0x102
  mov $0x1111, %eax
  int $0x40
  lret
piece handler
  add $0x2222, %eax
  pushw %bp
  mov %sp, %bp
  movzwl 6(%bp), %ebx       // the saved flags
  popw %bp
  iret
piece divide              // #DE through the vector table; the handler skips the instruction
  xor %ax, %ax
  mov %ax, %fs
  movw $off_divide_handler, %fs:0
  movw %cs, %fs:2
  mov $5, %ax
  mov $0, %cl
  div %cl
  lret
piece divide_handler
  pushw %bp
  mov %sp, %bp
  addw $2, 2(%bp)
  mov $0xdead, %eax
  popw %bp
  iret
piece limit               // beyond FFFF: #GP (vector 13), no error code is pushed
  xor %ax, %ax
  mov %ax, %fs
  movw $off_limit_handler, %fs:52
  movw %cs, %fs:54
  mov $0xffff, %bx
  movw (%bx), %ax
  mov $0xbad, %eax
  lret
piece limit_handler
  pop %ax                   // IP
  pop %ax                   // CS
  movzwl %ax, %eax
  pop %bx
  lret
piece strings             // REP MOVSW with a segment override
  mov $0, %si
  mov $0x100, %di
  mov $8, %cx
  cld
  rep movsw %ss:(%si), %es:(%di)
  movzwl %di, %eax
  shl $16, %eax
  mov %ds:0x100, %ax
  lret
piece stack               // PUSHA, POPA, ENTER, LEAVE with a 16-bit stack
  mov $0x1234, %ax
  mov %sp, %dx
  pusha
  xor %ax, %ax
  popa
  enter $16, $0
  leave
  sub %sp, %dx
  movzwl %ax, %eax
  movzwl %dx, %edx
  shl $16, %edx
  or %edx, %eax
  lret
piece bcd                 // 15 + 27 = 42 in packed decimal
  mov $0x15, %al
  add $0x27, %al
  daa
  movzbl %al, %eax
  lret
piece smsw
  smsw %ax
  movzwl %ax, %eax
  lret
piece unreal              // FS keeps a limit of 4 GiB from protected mode
  cli
  lgdtl %cs:off_unreal_gdt
  mov %cr0, %eax
  or $1, %al
  mov %eax, %cr0
  mov $8, %bx
  mov %bx, %fs
  and $0xfe, %al
  mov %eax, %cr0
  xor %bx, %bx
  mov %bx, %fs
  mov $0x100000, %ebx
  movl %fs:(%ebx), %eax
  lgdtl %cs:off_flat_gdt
  lret
piece unreal_gdt
  .word 15
  .long 0x8000 + (1f - real_code)
1:
  .quad 0, 0x00cf93000000ffff
piece flat_gdt
  .word 511
  .long gdt
real_code_end:
.section .note.GNU-stack, "", @progbits
