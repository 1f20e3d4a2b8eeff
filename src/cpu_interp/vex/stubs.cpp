#include "cpu_interp/vex/stubs.h"

// VZEROUPPER after each 256-bit run: code compiled for SSE must not meet upper halves in use (Intel optimization manual, 15.3).
asm(R"(
.pushsection .text.yado_stubs,"ax",@progbits
.balign 64
.globl yado_vex_stubs
.hidden yado_vex_stubs
yado_vex_stubs:
.irp map, 1, 2
.irp w, 0x00, 0x80
.irp l, 0, 4
.irp pp, 0, 1, 2, 3
.set yado_n, 0
.rept 256
.byte 0xc4, 0xe0+\map, \w+0x78+\l+\pp, yado_n, 0xca, 0xc3, 0x90, 0x90
.set yado_n, yado_n+1
.endr
.endr
.endr
.endr
.endr

.macro yado_load128 from, n
  vmovaps (%\from), %xmm\n
.endm
.macro yado_load256 from, n
  vmovaps (%\from), %xmm\n
  vinsertf128 $1, 256(%\from), %ymm\n, %ymm\n
.endm
.macro yado_store128 n
  vmovaps %xmm\n, (%rdi)
.endm
.macro yado_store256 n
  vmovaps %xmm\n, (%rdi)
  vextractf128 $1, %ymm\n, 256(%rdi)
  vzeroupper
.endm
.macro yado_clear128
.endm
.macro yado_clear256
  vzeroupper
.endm
.macro yado_function name
  .balign 16
  .globl \name
  .hidden \name
  \name:
.endm
.macro yado_runners bits
yado_function yado_vex_run\bits
  yado_load\bits rsi, 1
  yado_load\bits rdx, 0
  yado_load\bits rcx, 2
  call *%r8
  yado_store\bits 1
  ret
yado_function yado_vex_run\bits\()_is4
  yado_load\bits rsi, 3
  yado_load\bits rdx, 0
  yado_load\bits rcx, 2
  call *%r8
  yado_store\bits 1
  ret
yado_function yado_vex_flags\bits
  yado_load\bits rdi, 1
  yado_load\bits rsi, 2
  call *%rdx
  lahf
  seto %al
  yado_clear\bits
  ret
yado_function yado_vex_to_gpr\bits
  yado_load\bits rdi, 2
  call *%rsi
  mov %rcx, %rax
  yado_clear\bits
  ret
.endm
yado_runners 128
yado_runners 256
yado_function yado_vex_from_gpr
  yado_load128 rsi, 0
  call *%rcx
  yado_store128 1
  ret
.popsection
)");
