#include "cpu_interp/decode/decode.h"

namespace yado::cpu_interp {

namespace {

/// Outside 64-bit mode the highest bit of a vvvv that names a register is ignored; one that names none must be 1111b all
/// the same (SDM vol. 2, 2.3.5.2; processors do it so).
Selected select_vex_settled(Insn& i) {
    const Selected s = select_vex(i);
    if (i.mode != static_cast<uint8_t>(CodeMode::Bits64)) i.vvvv &= 7;
    return s;
}

}  // namespace

Selected select(Insn& i) {
    if (i.vex) return select_vex_settled(i);
    Selected s = select_system(i);
    if (!s.run) s = select_fpu(i);
    if (!s.run) s = select_integer(i);
    return s;
}

}  // namespace yado::cpu_interp
