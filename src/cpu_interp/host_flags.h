// Flags that the manuals leave undefined and processors differ in, where translated code runs the guest's own instruction on the host but
// the interpreter runs another that is like it: it has to know what the host does.
#pragma once

#include "cpu_interp/insn.h"

namespace yado::cpu_interp {

/// ROL and ROR of a register by an immediate whose masked count is neither 0 nor 1: OF is undefined (SDM vol. 2, "RCL/RCR/ROL/ROR"). Intel's
/// processors leave it as it was, AMD's compute it, as both do for operands in memory and counts in CL. Asked of the host once.
bool host_rotate_keeps_overflow();

/// C0 and C1: the immediate as the instruction takes it, modulo 64 or 32.
inline unsigned masked_count(const Insn& i) { return static_cast<unsigned>(i.imm) & (i.opsize == 8 && i.opcode & 1 ? 63 : 31); }

}  // namespace yado::cpu_interp
