// VZEROUPPER, VZEROALL, VLDMXCSR, VSTMXCSR, and what all handlers of vex/ share.
#include "cpu_interp/vex/ops.h"
#include "cpu_interp/vex/table.h"

namespace yado::cpu_interp::vex {

void raise_unavailable(Core& c, const Insn* i) {
    constexpr uint64_t kState = cpu::kXcr0Sse | cpu::kXcr0Avx;
    const bool enabled = c.cr0 & cpu::cr0::PE && !(c.sysflags & cpu::rflags::VM) && c.cr4 & cpu::cr4::OSXSAVE && (c.xcr0 & kState) == kState;
    c.raise(i, enabled ? Vec::NM : Vec::UD);
}

namespace {

/// Outside 64-bit mode registers 8 to 15 stay as they are.
size_t register_bytes(const Core& c) { return c.code_mode == CodeMode::Bits64 ? 256 : 128; }

void vzeroupper(Core& c, const Insn* i) {
    avx_check(c, i);
    std::memset(c.fpu->ymm_high, 0, register_bytes(c));
    return next(c, i);
}
void vzeroall(Core& c, const Insn* i) {
    avx_check(c, i);
    std::memset(c.fpu->xmm, 0, register_bytes(c));
    std::memset(c.fpu->ymm_high, 0, register_bytes(c));
    return next(c, i);
}

void vldmxcsr(Core& c, const Insn* i) {
    avx_check(c, i);
    const auto v = static_cast<uint32_t>(low(memory_operand<4, Align::None>(c, i)));
    if (v & ~mxcsr::kValid) c.raise(i, Vec::GP, 0);
    fpu_set_mxcsr(*c.fpu, v);
    return next(c, i);
}
void vstmxcsr(Core& c, const Insn* i) {
    avx_check(c, i);
    store_operand<uint32_t>(c, i, fpu_mxcsr(*c.fpu));
    return next(c, i);
}

}  // namespace

void add_state(Table& t) {
    using enum Mandatory;
    t.add({Map::Of, None, 0x77}, {.l = L::L0, .v = V::None}, vzeroupper);
    t.add({Map::Of, None, 0x77}, {.l = L::L1, .v = V::None}, vzeroall);
    t.add({Map::Of, None, 0xae}, {.l = L::L0, .v = V::None, .rm = Rm::Memory, .group = 2}, vldmxcsr);
    t.add({Map::Of, None, 0xae}, {.l = L::L0, .v = V::None, .rm = Rm::Memory, .group = 3}, vstmxcsr);
}

}  // namespace yado::cpu_interp::vex
