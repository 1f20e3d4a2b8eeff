// What kernels do often of system instructions, where it takes no more than a look at the privilege level.
#include "cpu_bt/block_translator.h"
#include "cpu_interp/system/system_state.h"

namespace yado::cpu_bt {

using cpu_interp::SystemState;

namespace {

constexpr HostReg kGuestRax = kHostOf[cpu::RAX], kGuestRcx = kHostOf[cpu::RCX];
static_assert(kHostOf[cpu::RDX] == kRdx);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"
constexpr int kKernelGsBase = static_cast<int>(offsetof(SystemState, kernel_gs_base)), kTscAux = static_cast<int>(offsetof(SystemState, tsc_aux)),
              kTscOffset = static_cast<int>(offsetof(SystemState, tsc_offset));
#pragma GCC diagnostic pop

}  // namespace

void BlockTranslator::from_segment(const Insn& i, const Form&) {
    code_.movzx(code_.eax, code_.word[code_.rbp + at::selector(i.modrm >> 3 & 7)]);
    if (i.opsize != 2) return set_guest(i.rm, kRax);
    code_.encode({.opcode = 0x89, .p66 = true}, kRax, host(i.rm) == kAtHome ? Rm::home(i.rm) : Rm::of(host(i.rm)));
}

/// LFENCE orders RDTSC, SFENCE non-temporal stores, which are the host's own.
void BlockTranslator::fence(const Insn& i, const Form&) {
    code_.db(0x0f);
    code_.db(0xae);
    code_.db(i.modrm);
}

void BlockTranslator::swap_gs(const Insn&, const Form&) {
    before_check();
    code_.cmp(code_.byte[code_.rbp + at::kCpl], 0);
    flags_.destroyed();
    cold(cc::kNotEqual, Cold::Kind::Interpret);
    code_.load(kRcx, at::kSystem);
    code_.load(kRax, at::segment_base(cpu::GS));
    code_.push(code_.qword[code_.rcx + kKernelGsBase]);
    code_.mov(code_.qword[code_.rcx + kKernelGsBase], code_.rax);
    code_.pop(code_.qword[code_.rbp + at::segment_base(cpu::GS)]);
    resume_here();
}

/// RDTSC, and RDTSCP, which waits for earlier loads.
void BlockTranslator::read_tsc(const Insn& i, const Form&) {
    before_check();
    code_.test(code_.dword[code_.rbp + at::kCr4], static_cast<uint32_t>(cpu::cr4::TSD));
    flags_.destroyed();
    cold(cc::kNotEqual, Cold::Kind::Interpret);
    if (i.opcode == 0x01) code_.lfence();
    code_.rdtsc();
    code_.shl(code_.rdx, 32);
    code_.or_(code_.rax, code_.rdx);
    code_.load(kRcx, at::kSystem);
    code_.add(code_.rax, code_.qword[code_.rcx + kTscOffset]);
    code_.mov(Assembler::r32(kGuestRax), code_.eax);
    code_.shr(code_.rax, 32);
    code_.mov(code_.edx, code_.eax);
    if (i.opcode == 0x01) code_.mov(Assembler::r64(kGuestRcx), code_.qword[code_.rcx + kTscAux]);
    resume_here();
}

}  // namespace yado::cpu_bt
