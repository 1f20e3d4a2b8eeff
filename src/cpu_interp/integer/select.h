// The integer instructions by kind; each answers for its own opcodes with a handler, or with an empty Selected.
#pragma once

#include "cpu/cpu_model.h"
#include "cpu_interp/insn.h"

namespace yado::cpu_interp {

Selected select_alu(const Insn& i);       // two-operand arithmetic, INC, DEC, NOT, NEG, XADD, CMPXCHG
Selected select_multiply(const Insn& i);  // MUL, IMUL, DIV, IDIV
Selected select_shift(const Insn& i);
Selected select_bits(const Insn& i);      // BT.., BSF, BSR, TZCNT, LZCNT, POPCNT, CRC32, BSWAP, MOVBE
Selected select_adx(const Insn& i);
Selected select_move(const Insn& i);      // MOV.., LEA, XCHG, CMOV, SET, conversions, flags
Selected select_hint(const Insn& i);      // NOP, PAUSE, prefetches, fences, cache flushes
Selected select_stack(const Insn& i);
Selected select_branch(const Insn& i);
Selected select_string(const Insn& i);
Selected select_legacy(const Insn& i);    // BCD, BOUND, SALC: outside 64-bit mode

/// Features of this part that only some hosts can execute.
cpu::FeatureSet integer_host_features();

inline bool in_mode64(const Insn& i) { return i.mode == static_cast<uint8_t>(CodeMode::Bits64); }
inline unsigned group_of(const Insn& i) { return i.modrm >> 3 & 7; }

}  // namespace yado::cpu_interp
