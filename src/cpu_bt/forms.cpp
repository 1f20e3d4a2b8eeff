#include "cpu_bt/forms.h"

#include <array>

#include "cpu_bt/block_translator.h"
#include "cpu_interp/host_flags.h"

namespace yado::cpu_bt {

namespace {

using T = BlockTranslator;
using Table = std::array<Form, 256>;

constexpr Form kInterpreted{};

/// A plain ModRM instruction that reads no flags.
constexpr Form modrm(Use reg, Use rm, uint8_t set = 0, Width width = Width::Operand) {
    return {.translate = &T::modrm, .flags_read = 0, .flags_set = set, .changes_flags = set != 0, .reg = reg, .rm = rm,
            .reg_width = width, .rm_width = width};
}
constexpr Form special(Form::Translate translate, uint8_t set = 0) {
    return {.translate = translate, .flags_read = 0, .flags_set = set, .changes_flags = set != 0};
}
constexpr Form ending(Form::Translate translate) { return {.translate = translate, .ends_block = true}; }
constexpr Form with_immediate(Form f, uint8_t bytes) {
    f.immediate = bytes;
    return f;
}

/// What multiplications, bit tests and bit scans define. The rest is undefined, and processors leave some of it as it was.
constexpr uint8_t kMultiplySets = flag::C | flag::O, kBitTestSets = flag::C, kBitScanSets = flag::Z;

// --- one-byte opcodes -------------------------------------------------------------------------------------------------

/// 00 to 3D: ADD OR ADC SBB AND SUB XOR CMP in six forms each.
void add_arithmetic(Table& t) {
    for (unsigned kind = 0; kind < 8; ++kind) {
        const uint8_t read = kind == 2 || kind == 3 ? flag::C : 0;
        const Use target = kind == 7 ? Use::Read : Use::Modify;
        for (unsigned form = 0; form < 6; ++form) {
            const Width width = form & 1 ? Width::Operand : Width::Byte;
            Form f = modrm(form < 2 ? Use::Read : target, form < 2 ? target : Use::Read, flag::All, width);
            if (form >= 4) {
                f = modrm(Use::None, target, flag::All, width);
                f.translate = &T::accumulator_immediate;
            }
            f.flags_read = read;
            t[kind * 8 + form] = f;
        }
    }
}

void add_moves(Table& t) {
    t[0x88] = modrm(Use::Read, Use::Write, 0, Width::Byte);
    t[0x89] = modrm(Use::Read, Use::Write);
    t[0x8a] = modrm(Use::Write, Use::Read, 0, Width::Byte);
    t[0x8b] = modrm(Use::Write, Use::Read);
    t[0xc6] = with_immediate(modrm(Use::None, Use::Write, 0, Width::Byte), 1);
    t[0xc7] = with_immediate(modrm(Use::None, Use::Write), 4);
    t[0x86] = modrm(Use::Modify, Use::Modify, 0, Width::Byte);
    t[0x87] = modrm(Use::Modify, Use::Modify);
    t[0x63] = modrm(Use::Write, Use::Read);
    t[0x63].rm_width = Width::Dword;
    t[0x8d] = special(&T::lea);
    for (unsigned op = 0xb0; op < 0xb8; ++op) t[op] = special(&T::move_immediate_byte);
    for (unsigned op = 0xb8; op < 0xc0; ++op) t[op] = special(&T::move_immediate);
    for (unsigned op = 0x91; op < 0x98; ++op) t[op] = special(&T::exchange_accumulator);
    t[0x90] = special(&T::exchange_accumulator);
    t[0x98] = special(&T::sign_extend_accumulator);
    t[0x99] = special(&T::sign_extend_into_rdx);
}

void add_stack_and_branches(Table& t) {
    for (unsigned op = 0x50; op < 0x58; ++op) t[op] = special(&T::push_register);
    for (unsigned op = 0x58; op < 0x60; ++op) t[op] = special(&T::pop_register);
    t[0x68] = t[0x6a] = special(&T::push_immediate);
    t[0xc9] = special(&T::leave);
    for (unsigned op = 0x70; op < 0x80; ++op) t[op] = ending(&T::jump_if);
    t[0xe8] = ending(&T::call);
    t[0xe9] = t[0xeb] = ending(&T::jump);
    t[0xc2] = t[0xc3] = ending(&T::ret);
}

Table one_byte_table() {
    Table t{};
    add_arithmetic(t);
    add_moves(t);
    add_stack_and_branches(t);
    t[0x69] = with_immediate(modrm(Use::Write, Use::Read, kMultiplySets), 4);
    t[0x6b] = with_immediate(modrm(Use::Write, Use::Read, kMultiplySets), 1);
    t[0x84] = modrm(Use::Read, Use::Read, flag::All, Width::Byte);
    t[0x85] = modrm(Use::Read, Use::Read, flag::All);
    t[0xa8] = modrm(Use::None, Use::Read, flag::All, Width::Byte);
    t[0xa9] = modrm(Use::None, Use::Read, flag::All);
    t[0xa8].translate = t[0xa9].translate = &T::accumulator_immediate;
    t[0x9c] = special(&T::push_flags);
    t[0x9c].flags_read = flag::All;
    t[0x9f] = special(&T::flags_to_ah);
    t[0x9f].flags_read = flag::All & ~flag::O;
    t[0x9e] = special(&T::ah_to_flags, flag::All & ~flag::O);
    t[0xfc] = t[0xfd] = special(&T::direction_flag);
    t[0xfa] = special(&T::clear_interrupt_flag);
    t[0xf5] = t[0xf8] = t[0xf9] = special(&T::carry_flag, flag::C);
    t[0xf5].flags_read = flag::C;
    return t;
}

/// 80 to 83.
Form arithmetic_group(const Insn& i, unsigned group) {
    Form f = modrm(Use::None, group == 7 ? Use::Read : Use::Modify, flag::All, i.opcode & 1 ? Width::Operand : Width::Byte);
    f.flags_read = group == 2 || group == 3 ? flag::C : 0;
    f.immediate = i.opcode == 0x81 ? 4 : 1;
    return f;
}

/// C0, C1, D0 to D3. A count of 0 leaves the flags; rotations change C and O only.
Form shift_group(const Insn& i, unsigned group) {
    Form f = modrm(Use::None, Use::Modify, 0, i.opcode & 1 ? Width::Operand : Width::Byte);
    f.changes_flags = true;
    if (group == 2 || group == 3) f.flags_read = flag::C;
    const bool by_cl = i.opcode >= 0xd2;
    const unsigned count = by_cl || (i.opcode & 0xf0) == 0xd0 ? 1 : cpu_interp::masked_count(i);
    const bool keeps_overflow = group < 2 && !i.mem && count != 1 && cpu_interp::host_rotate_keeps_overflow();
    f.not_at_home = keeps_overflow;
    if (!by_cl && count != 0) f.flags_set = group >= 4 ? flag::All : keeps_overflow ? flag::C : flag::C | flag::O;
    if (by_cl) f.translate = &T::shift_by_cl;
    else if (i.opcode < 0xd0) f.immediate = 1;
    return f;
}

/// F6, F7: TEST, NOT, NEG, MUL, IMUL, DIV, IDIV.
Form unary_group(const Insn& i, unsigned group) {
    const Width width = i.opcode & 1 ? Width::Operand : Width::Byte;
    switch (group) {
    case 0: case 1: return with_immediate(modrm(Use::None, Use::Read, flag::All, width), i.opcode & 1 ? 4 : 1);
    case 2: return modrm(Use::None, Use::Modify, 0, width);
    case 3: return modrm(Use::None, Use::Modify, flag::All, width);
    default: break;
    }
    Form f = modrm(Use::None, Use::Read, kMultiplySets, width);
    f.translate = group < 6 ? &T::multiply : &T::divide;
    if (group >= 6) f.flags_set = 0;  // undefined; processors keep some
    return group >= 6 && (width == Width::Byte || i.opsize == 2) ? kInterpreted : f;
}

/// FE, FF.
Form increment_group(const Insn& i, unsigned group) {
    const Width width = i.opcode & 1 ? Width::Operand : Width::Byte;
    if (group < 2) return modrm(Use::None, Use::Modify, flag::All & ~flag::C, width);
    if (width == Width::Byte) return kInterpreted;
    if (group == 6 && i.mem) return special(&T::push_memory);
    if (group != 2 && group != 4) return kInterpreted;
    Form f = ending(group == 2 ? &T::call_indirect : &T::jump_indirect);
    f.rm = Use::Read;
    return f;
}

/// MOV from a segment register to a general one.
Form from_segment(const Insn& i, unsigned group) {
    Form f = modrm(Use::None, Use::Write);
    f.translate = &T::from_segment;
    return i.mem || group > cpu::GS ? kInterpreted : f;
}

Form one_byte_form(const Insn& i, const cpu::CpuModel& model) {
    static const Table table = one_byte_table();
    const unsigned group = i.modrm >> 3 & 7;
    if (i.opcode >= 0x80 && i.opcode <= 0x83) return arithmetic_group(i, group);
    if ((i.opcode & 0xfe) == 0xc0 || (i.opcode & 0xfc) == 0xd0) return shift_group(i, group);
    if ((i.opcode & 0xfe) == 0xf6) return unary_group(i, group);
    if ((i.opcode & 0xfe) == 0xfe) return increment_group(i, group);
    if ((i.opcode == 0xc6 || i.opcode == 0xc7) && group != 0) return kInterpreted;
    if (i.opcode == 0x90 && i.reg == 0) return i.rep ? kInterpreted : special(&T::nothing);
    if (i.opcode == 0x63 && i.opsize != 8) return kInterpreted;
    if (i.opcode == 0x8c) return from_segment(i, group);
    if ((i.opcode == 0x9e || i.opcode == 0x9f) && !model.has(cpu::Feature::LAHF_LM)) return kInterpreted;
    return table[i.opcode];
}

// --- 0F ---------------------------------------------------------------------------------------------------------------

Form bit_test(Use rm) {
    Form f = modrm(Use::Read, rm, kBitTestSets);
    f.not_at_home = true;
    return f;
}

void add_conditionals(Table& t) {
    for (unsigned condition = 0; condition < 16; ++condition) {
        t[0x40 + condition] = modrm(Use::Modify, Use::Read);
        t[0x80 + condition] = ending(&T::jump_if);
        t[0x90 + condition] = modrm(Use::None, Use::Write, 0, Width::Byte);
        t[0x40 + condition].flags_read = t[0x90 + condition].flags_read = flag::read_by(condition);
    }
}

Table two_byte_table() {
    Table t{};
    add_conditionals(t);
    for (unsigned op = 0x18; op < 0x20; ++op) t[op] = special(&T::nothing);
    t[0x0d] = special(&T::nothing);
    t[0xa3] = bit_test(Use::Read);
    t[0xab] = t[0xb3] = t[0xbb] = bit_test(Use::Modify);
    t[0xa4] = t[0xac] = with_immediate(modrm(Use::Read, Use::Modify), 1);
    t[0xa4].changes_flags = t[0xac].changes_flags = true;
    t[0xa5] = t[0xad] = modrm(Use::Read, Use::Modify);
    t[0xa5].changes_flags = t[0xad].changes_flags = true;
    t[0xa5].translate = t[0xad].translate = &T::shift_by_cl;
    t[0xaf] = modrm(Use::Modify, Use::Read, kMultiplySets);
    t[0xb0] = modrm(Use::Read, Use::Modify, flag::All, Width::Byte);
    t[0xb1] = modrm(Use::Read, Use::Modify, flag::All);
    t[0xb0].translate = t[0xb1].translate = &T::compare_exchange;
    for (unsigned op : {0xb6, 0xb7, 0xbe, 0xbf}) {
        t[op] = modrm(Use::Write, Use::Read);
        t[op].rm_width = op & 1 ? Width::Word : Width::Byte;
    }
    t[0xbc] = t[0xbd] = modrm(Use::Modify, Use::Read, kBitScanSets);
    t[0xc0] = modrm(Use::Modify, Use::Modify, flag::All, Width::Byte);
    t[0xc1] = modrm(Use::Modify, Use::Modify, flag::All);
    t[0xc3] = modrm(Use::Read, Use::Write);
    for (unsigned op = 0xc8; op < 0xd0; ++op) t[op] = special(&T::byte_swap);
    return t;
}

/// 0F BA: BT, BTS, BTR, BTC by an immediate.
Form bit_test_immediate(unsigned group) {
    if (group < 4) return kInterpreted;
    Form f = bit_test(group == 4 ? Use::Read : Use::Modify);
    f.reg = Use::None;
    f.not_at_home = false;
    f.immediate = 1;
    return f;
}

/// POPCNT, TZCNT, LZCNT. Without its feature TZCNT is BSF, and LZCNT BSR.
Form counting(uint8_t set) {
    Form f = modrm(Use::Write, Use::Read, set);
    f.mandatory = true;
    return f;
}

/// CMPXCHG8B, CMPXCHG16B.
Form compare_exchange_pair(const Insn& i, const cpu::CpuModel& model) {
    if (i.mandatory != Mandatory::None || (i.opsize == 8 && !model.has(cpu::Feature::CX16))) return kInterpreted;
    Form f = modrm(Use::None, Use::Modify, flag::Z, i.opsize == 8 ? Width::Xmm : Width::Qword);
    f.translate = &T::compare_exchange_pair;
    f.aligned = i.opsize == 8;
    return f;
}

/// Bits of memory, by a signed offset in a register that reaches beyond the operand.
Form bit_string(const Insn& i) {
    Form f = bit_test(i.opcode == 0xa3 ? Use::Read : Use::Modify);
    f.translate = &T::bit_string;
    return f;
}

Form system_form(const Insn& i, const cpu::CpuModel& model) {
    if (i.opcode == 0x31) return special(&T::read_tsc);
    if (i.modrm == 0xf8) return special(&T::swap_gs);
    return i.modrm == 0xf9 && model.has(cpu::Feature::RDTSCP) ? special(&T::read_tsc) : kInterpreted;
}

/// 0F AE: LFENCE, MFENCE, SFENCE.
Form fence(const Insn& i, unsigned group) {
    return !i.mem && i.mandatory == Mandatory::None && group >= 5 ? special(&T::fence) : kInterpreted;
}

Form two_byte_form(const Insn& i, const cpu::CpuModel& model) {
    static const Table table = two_byte_table();
    const unsigned group = i.modrm >> 3 & 7;
    if (i.opcode == 0xba) return bit_test_immediate(group);
    if (i.opcode == 0xb8) {
        if (i.mandatory != Mandatory::PF3 || !model.has(cpu::Feature::POPCNT)) return kInterpreted;
        return counting(flag::All);
    }
    if (i.opcode == 0xbc && i.rep && model.has(cpu::Feature::BMI1)) return counting(flag::C | flag::Z);
    if (i.opcode == 0xbd && i.rep && model.has(cpu::Feature::LZCNT)) return counting(flag::C | flag::Z);
    if (i.mem && (i.opcode & 0xe7) == 0xa3) return bit_string(i);
    if (i.opcode == 0xc7) return i.mem && group == 1 ? compare_exchange_pair(i, model) : kInterpreted;
    if (i.opcode == 0xae) return fence(i, group);
    if (i.opcode == 0x01 || i.opcode == 0x31) return i.mandatory == Mandatory::None ? system_form(i, model) : kInterpreted;
    if (i.opcode == 0xc3 && (!i.mem || i.mandatory != Mandatory::None || i.opsize == 2)) return kInterpreted;
    if (i.opcode >= 0xc8 && i.opcode <= 0xcf && i.opsize == 2) return kInterpreted;
    if (i.opcode == 0xa4 || i.opcode == 0xac) {
        Form f = table[i.opcode];
        if (static_cast<unsigned>(i.imm) & (i.opsize == 8 ? 63 : 31)) f.flags_set = flag::All;
        return i.opsize == 2 ? kInterpreted : f;
    }
    return table[i.opcode];
}

// --- 0F 38 --------------------------------------------------------------------------------------------------------------------

/// ADCX, ADOX: 66 and F3 choose the flag, so only W sets the size.
Form add_with_flag(const Insn& i, uint8_t carry) {
    Form f = modrm(Use::Modify, Use::Read, carry, i.rex_w ? Width::Qword : Width::Dword);
    f.flags_read = carry;
    f.mandatory = true;
    return f;
}

Form crc32(const Insn& i) {
    Form f = modrm(Use::Modify, Use::Read);
    f.rm_width = i.opcode & 1 ? Width::Operand : Width::Byte;
    f.mandatory = true;
    return f;
}

Form three_byte_form(const Insn& i, const cpu::CpuModel& model) {
    if (i.opcode == 0xf6 && model.has(cpu::Feature::ADX)) {
        if (i.mandatory == Mandatory::P66) return add_with_flag(i, flag::C);
        return i.mandatory == Mandatory::PF3 ? add_with_flag(i, flag::O) : kInterpreted;
    }
    if (i.opcode != 0xf0 && i.opcode != 0xf1) return kInterpreted;
    if (i.mandatory == Mandatory::PF2) return model.has(cpu::Feature::SSE4_2) && i.opsize != 2 ? crc32(i) : kInterpreted;
    if (!i.mem || i.rep || !model.has(cpu::Feature::MOVBE)) return kInterpreted;
    return i.opcode == 0xf0 ? modrm(Use::Write, Use::Read) : modrm(Use::Read, Use::Write);
}

}  // namespace

unsigned operand_bytes(const Insn& i, const Form& f) {
    const bool wide = i.vex ? i.rex_w : i.opsize == 8;
    if (f.rm_width == Width::Operand) return i.vex ? (wide ? 8 : 4) : i.opsize;
    const auto bytes = static_cast<unsigned>(f.rm_width);
    if (!i.vex) return bytes;
    switch (f.vex_size) {
    case VexSize::Fixed: return bytes;
    case VexSize::Full: return i.vex_l ? 32 : 16;
    case VexSize::Twice: return i.vex_l ? 2 * bytes : bytes;
    case VexSize::Duplicate: return i.vex_l ? 32 : 8;
    case VexSize::Scalar: return wide ? 8 : 4;
    }
    return bytes;
}

Form form_of(const Insn& i, const cpu::CpuModel& model) {
    if (i.vex) return vex_form(i, model);
    if (const Form f = vector_form(i, model); f.translate) return f;
    if (const Form f = x87_form(i, model); f.translate) return f;
    if (i.map == Map::One) return one_byte_form(i, model);
    if (i.map == Map::Of) return two_byte_form(i, model);
    if (i.map == Map::Of38) return three_byte_form(i, model);
    return kInterpreted;
}

}  // namespace yado::cpu_bt
