// What the translator knows of an instruction: which flags it reads and overwrites, what its operands are, and which
// function translates it. A table by opcode map; what it does not name is left to the interpreter.
#pragma once

#include <cstdint>

#include "cpu/cpu_model.h"
#include "cpu_interp/insn.h"

namespace yado::cpu_bt {

using cpu_interp::Insn;
using cpu_interp::Mandatory;
using cpu_interp::Map;

class BlockTranslator;

/// Arithmetic flags as a set.
namespace flag {
inline constexpr uint8_t C = 1, P = 2, A = 4, Z = 8, S = 16, O = 32, All = 63;
/// What condition 0 to 15 of Jcc, SETcc, CMOVcc reads (SDM vol. 1, appendix B).
constexpr uint8_t read_by(unsigned condition) {
    constexpr uint8_t kRead[8] = {O, C, Z, C | Z, S, P, S | O, S | O | Z};
    return kRead[condition >> 1 & 7];
}
}  // namespace flag

/// What happens to an operand.
enum class Use : uint8_t { None, Read, Write, Modify };
constexpr bool reads(Use u) { return u == Use::Read || u == Use::Modify; }
constexpr bool writes(Use u) { return u == Use::Write || u == Use::Modify; }

/// An operand's size in bytes where it is not the operand size.
enum class Width : uint8_t { Operand = 0, Byte = 1, Word = 2, Dword = 4, Qword = 8, Tbyte = 10, Xmm = 16 };

/// What VEX.L and VEX.W make of a memory operand's size.
enum class VexSize : uint8_t {
    Fixed,
    Full,       ///< 16 or 32 bytes
    Twice,      ///< doubled by L
    Duplicate,  ///< 8 or 32: VMOVDDUP
    Scalar,     ///< 4 or 8 by W
};

struct Form {
    using Translate = void (BlockTranslator::*)(const Insn&, const Form&);
    Translate translate = nullptr;   ///< nullptr: the interpreter runs it in the middle of the block
    bool ends_block = false;
    uint8_t flags_read = flag::All;  ///< the interpreter may need them all
    uint8_t flags_set = 0;           ///< overwritten whatever they were
    bool changes_flags = false;      ///< may change flags (those not in flags_set may keep their value)
    Use reg = Use::None, rm = Use::None;
    Width reg_width = Width::Operand, rm_width = Width::Operand;
    Use vvvv = Use::None;            ///< a general register in VEX.vvvv
    VexSize vex_size = VexSize::Fixed;
    uint8_t immediate = 0;           ///< bytes that follow the operands when re-encoded
    bool vector_reg = false, vector_rm = false;
    bool aligned = false;            ///< a memory operand of 16 bytes that is not aligned raises #GP
    bool mandatory = false;          ///< the 66, F3 or F2 prefix is part of the opcode, beside any that sets the operand size
    bool x87 = false;                ///< needs the x87 state in the host's
    bool notes_pointer = false;      ///< changes FIP: x87's instructions, but for those that control it
    bool not_at_home = false;        ///< the memory form does something else: an r/m register must be in a register
};

/// SSE to SSE4.2, AES, PCLMULQDQ, SHA; translate == nullptr: none of them.
Form vector_form(const Insn& i, const cpu::CpuModel& model);

/// The same for VEX-encoded instructions, as vector_form and for BMI.
Form vex_form(const Insn& i, const cpu::CpuModel& model);
/// x87, MMX, and SSE instructions with an MMX operand.
Form x87_form(const Insn& i, const cpu::CpuModel& model);
/// A memory operand's size in bytes.
unsigned operand_bytes(const Insn& i, const Form& f);

/// The form of a decoded instruction of 64-bit code on a processor of this model.
Form form_of(const Insn& i, const cpu::CpuModel& model);

}  // namespace yado::cpu_bt
