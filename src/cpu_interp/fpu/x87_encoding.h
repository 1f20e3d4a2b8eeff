// What the opcodes D8 to DF are, for the interpreter's handlers and the translator's forms. SDM vol. 2, tables.
#pragma once

#include <cstdint>

#include "cpu_interp/insn.h"

namespace yado::cpu_interp {

/// Bytes of an x87 instruction's memory operand: positive: read, negative: written, 0: it reads or writes the environment.
constexpr int x87_operand_size(const Insn& i) {
    constexpr int8_t kOperand[8][8] = {
        {4, 4, 4, 4, 4, 4, 4, 4},        // D8
        {4, 0, -4, -4, 0, 0, 0, 0},      // D9
        {4, 4, 4, 4, 4, 4, 4, 4},        // DA
        {4, -4, -4, -4, 0, 10, 0, -10},  // DB
        {8, 8, 8, 8, 8, 8, 8, 8},        // DC
        {8, -8, -8, -8, 0, 0, 0, 0},     // DD
        {2, 2, 2, 2, 2, 2, 2, 2},        // DE
        {2, -2, -2, -2, 10, 8, -10, -8}  // DF
    };
    return kOperand[i.opcode & 7][i.modrm >> 3 & 7];
}
constexpr bool is_fisttp(const Insn& i) { return i.mem && x87_operand_size(i) < 0 && (i.modrm >> 3 & 7) == 1; }

/// Reserved register forms; the undocumented aliases of FCOM, FXCH, FSTP are not: they run.
constexpr bool x87_reserved(const Insn& i) {
    const auto in = [&](uint8_t first, uint8_t last) { return i.modrm >= first && i.modrm <= last; };
    switch (i.opcode) {
    case 0xd9: return in(0xd1, 0xd7) || in(0xe2, 0xe3) || in(0xe6, 0xe7) || i.modrm == 0xef;
    case 0xda: return i.modrm >= 0xe0 && i.modrm != 0xe9;
    case 0xdb: return in(0xe5, 0xe7) || i.modrm >= 0xf8;
    case 0xdd: return i.modrm >= 0xf0;
    case 0xde: return in(0xd8, 0xdf) && i.modrm != 0xd9;
    case 0xdf: return in(0xe1, 0xe7) || i.modrm >= 0xf8;
    default: return false;
    }
}

/// Register forms: FCOMI and its kind, FCMOVcc, and the 8087's and 80287's FENI, FDISI, FSETPM, which do nothing.
constexpr bool x87_sets_flags(const Insn& i) { return (i.opcode == 0xdb || i.opcode == 0xdf) && i.modrm >= 0xe8 && i.modrm <= 0xf7; }
constexpr bool x87_moves_if(const Insn& i) { return (i.opcode == 0xda || i.opcode == 0xdb) && i.modrm >= 0xc0 && i.modrm <= 0xdf; }
constexpr bool x87_does_nothing(const Insn& i) { return i.opcode == 0xdb && (i.modrm == 0xe0 || i.modrm == 0xe1 || i.modrm == 0xe4); }

}  // namespace yado::cpu_interp
