// A trip to real mode and back for 32-bit payloads: real_call(offset) runs 16-bit code at 0x8000 + offset with CS 0800,
// DS ES 0900, SS 0A00, SP fff0; the code ends by a far return with its answer in EAX.
.section .note.GNU-stack, "", @progbits
.text
.code32
.globl real_call
real_call:
  push %ebx ; push %ebp ; push %esi ; push %edi
  mov 20(%esp), %edi
  mov %esp, real_saved_esp
  sidt real_saved_idt
  lidt real_ivt
  // The code that turns protection off must lie below 64 KiB: it is copied to 0x6000.
  mov $trip, %esi
  mov $0x6000, %eax
  mov $trip_end - trip, %ecx
1:
  mov (%esi), %dl
  mov %dl, (%eax)
  inc %esi
  inc %eax
  loop 1b
  ljmp $0x70, $0x6000
.globl real_back
real_back:
  mov $0x10, %edx
  mov %edx, %ds
  mov %edx, %es
  mov %edx, %ss
  mov real_saved_esp, %esp
  lidt real_saved_idt
  xor %edx, %edx
  mov %edx, %fs
  mov %edx, %gs
  pop %edi ; pop %esi ; pop %ebp ; pop %ebx
  ret
.code16
trip:
  mov $0x78, %ax             // 16-bit data with a 64 KiB limit
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  mov %ax, %fs
  mov %cr0, %eax
  and $0xfe, %al
  mov %eax, %cr0
  ljmp $0, $0x6000 + (2f - trip)
2:
  mov $0x900, %ax
  mov %ax, %ds
  mov %ax, %es
  mov $0xa00, %ax
  mov %ax, %ss
  mov $0xfff0, %sp
  push %cs
  push $0x6000 + (3f - trip)
  push $0x800
  push %di
  lret
3:
  mov %eax, %ecx
  mov %cr0, %eax
  or $1, %al
  mov %eax, %cr0
  mov %ecx, %eax
  ljmpl $8, $real_back
trip_end:
.data
real_ivt: .word 0x3ff
  .long 0
real_saved_idt: .word 0
  .long 0
real_saved_esp: .long 0
