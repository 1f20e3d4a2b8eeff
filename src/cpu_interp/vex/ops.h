// What the handlers of vex/ are made of: checks, operands, and the wrappers that turn a stub (stubs.h) into a handler.
//
// A YMM register is Fpu::xmm[n] and Fpu::ymm_high[n], which lie kHigh apart; so does a temporary. A pointer to the lower
// half names the whole.
#pragma once

#include "cpu_interp/fpu/ops.h"

namespace yado::cpu_interp::vex {

[[noreturn]] void raise_unavailable(Core& c, const Insn* i);

/// SDM vol. 2, 2.4, exception classes of VEX instructions: #UD in real and virtual-8086 mode, without OSXSAVE, without
/// XCR0[2:1] = 11b; #NM for TS. A model that lacks AVX cannot set XCR0.AVX.
template <Feature F = Feature::AVX>
void avx_check(Core& c, const Insn* i) {
    need_feature<F>(c, i);
    constexpr uint64_t kState = cpu::kXcr0Sse | cpu::kXcr0Avx;
    const uint64_t cr0 = (c.cr0 ^ cpu::cr0::PE) & (cpu::cr0::PE | cpu::cr0::TS);
    const uint64_t missing = cr0 | (~c.cr4 & cpu::cr4::OSXSAVE) | (~c.xcr0 & kState) | (c.sysflags & cpu::rflags::VM);
    if (missing) [[unlikely]] raise_unavailable(c, i);
}

}  // namespace yado::cpu_interp::vex
