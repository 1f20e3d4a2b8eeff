// Handlers of the system instructions, named after them. select.cpp maps opcodes to them.
#pragma once

#include "cpu_interp/core.h"

namespace yado::cpu_interp::op {

// transfer.cpp
void jmp_far_immediate(Core& c, const Insn* i);
void jmp_far_memory(Core& c, const Insn* i);
void call_far_immediate(Core& c, const Insn* i);
void call_far_memory(Core& c, const Insn* i);
void ret_far(Core& c, const Insn* i);
void ret_far_release(Core& c, const Insn* i);

// iret.cpp
void iret(Core& c, const Insn* i);
void int_n(Core& c, const Insn* i);
void int3(Core& c, const Insn* i);
void into(Core& c, const Insn* i);
void icebp(Core& c, const Insn* i);

// segment_ops.cpp
void mov_from_seg(Core& c, const Insn* i);
void mov_to_seg(Core& c, const Insn* i);
void push_seg(Core& c, const Insn* i);
void pop_seg(Core& c, const Insn* i);
void load_far_pointer(Core& c, const Insn* i);
void sldt(Core& c, const Insn* i);
void str(Core& c, const Insn* i);
void lldt(Core& c, const Insn* i);
void ltr(Core& c, const Insn* i);
void verr(Core& c, const Insn* i);
void verw(Core& c, const Insn* i);
void sgdt(Core& c, const Insn* i);
void sidt(Core& c, const Insn* i);
void lgdt(Core& c, const Insn* i);
void lidt(Core& c, const Insn* i);
void lar(Core& c, const Insn* i);
void lsl(Core& c, const Insn* i);
void arpl(Core& c, const Insn* i);

// control.cpp
void mov_from_cr(Core& c, const Insn* i);
void mov_to_cr(Core& c, const Insn* i);
void lmsw(Core& c, const Insn* i);
void smsw(Core& c, const Insn* i);
void clts(Core& c, const Insn* i);
void invlpg(Core& c, const Insn* i);
void invpcid(Core& c, const Insn* i);
void cache_control(Core& c, const Insn* i);
void xgetbv(Core& c, const Insn* i);
void xsetbv(Core& c, const Insn* i);

// flags.cpp
void hlt(Core& c, const Insn* i);
void cli(Core& c, const Insn* i);
void sti(Core& c, const Insn* i);
void clac(Core& c, const Insn* i);
void stac(Core& c, const Insn* i);
void pushf(Core& c, const Insn* i);
void popf(Core& c, const Insn* i);

// syscall.cpp
void syscall(Core& c, const Insn* i);
void sysret(Core& c, const Insn* i);
void sysenter(Core& c, const Insn* i);
void sysexit(Core& c, const Insn* i);
void swapgs(Core& c, const Insn* i);
void fsgsbase(Core& c, const Insn* i);

// misc.cpp
void cpuid(Core& c, const Insn* i);
void rdtsc(Core& c, const Insn* i);
void rdtscp(Core& c, const Insn* i);
void rdpid(Core& c, const Insn* i);
void rdpmc(Core& c, const Insn* i);
void rdrand(Core& c, const Insn* i);
void rdseed(Core& c, const Insn* i);
void monitor(Core& c, const Insn* i);
void hypercall(Core& c, const Insn* i);
void undefined(Core& c, const Insn* i);

// msr.cpp
void rdmsr(Core& c, const Insn* i);
void wrmsr(Core& c, const Insn* i);

// debug.cpp
void mov_from_dr(Core& c, const Insn* i);
void mov_to_dr(Core& c, const Insn* i);

// io.cpp
void in_immediate(Core& c, const Insn* i);
void in_dx(Core& c, const Insn* i);
void out_immediate(Core& c, const Insn* i);
void out_dx(Core& c, const Insn* i);
void ins(Core& c, const Insn* i);
void outs(Core& c, const Insn* i);

}  // namespace yado::cpu_interp::op
