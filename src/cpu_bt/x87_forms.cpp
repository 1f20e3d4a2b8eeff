// x87 and MMX forms: each is the same instruction on the same registers of the host's. SDM vol. 2, tables.
// Left to the interpreter: FNINIT, what loads or stores the whole environment, MASKMOVQ.
#include <array>
#include <initializer_list>

#include "cpu_bt/block_translator.h"
#include "cpu_bt/forms.h"
#include "cpu_interp/fpu/x87_encoding.h"

namespace yado::cpu_bt {

namespace {

using cpu::Feature;
using T = BlockTranslator;

// --- x87 ----------------------------------------------------------------------------------------------------------------

constexpr Form plain(Form::Translate translate) {
    return {.translate = translate, .flags_read = 0, .reg_width = Width::Dword, .rm_width = Width::Dword, .x87 = true};
}
constexpr Form with_memory(Form::Translate translate, Use use, unsigned bytes) {
    Form f = plain(translate);
    f.rm = use;
    f.rm_width = static_cast<Width>(bytes);
    return f;
}
constexpr Form noting_pointer(Form f) {
    f.notes_pointer = true;
    return f;
}

Form x87_memory_form(const Insn& i, const cpu::CpuModel& model) {
    if (const int size = cpu_interp::x87_operand_size(i); size != 0) {
        if (cpu_interp::is_fisttp(i) && !model.has(Feature::SSE3)) return {};
        return noting_pointer(with_memory(&T::x87, size > 0 ? Use::Read : Use::Write, static_cast<unsigned>(size > 0 ? size : -size)));
    }
    switch (i.opcode << 4 | (i.modrm >> 3 & 7)) {
    case 0xd95: return with_memory(&T::x87_load_control, Use::Read, 2);
    case 0xd97: case 0xdd7: return with_memory(&T::x87_control, Use::Write, 2);  // FNSTCW, FNSTSW
    default: return {};
    }
}

/// FCMOVcc: B, E, BE, U and their opposites.
constexpr uint8_t read_by_move(const Insn& i) {
    constexpr uint8_t kRead[4] = {flag::C, flag::Z, flag::C | flag::Z, flag::P};
    return kRead[i.modrm >> 3 & 3];
}

Form x87_register_form(const Insn& i) {
    if (cpu_interp::x87_reserved(i)) return {};
    if (cpu_interp::x87_does_nothing(i) || (i.opcode == 0xdb && i.modrm == 0xe2)) return plain(&T::x87_control);  // FNCLEX
    if (i.opcode == 0xdb && i.modrm == 0xe3) return {};                                                           // FNINIT
    if (i.opcode == 0xdf && i.modrm == 0xe0) return plain(&T::x87_status_to_ax);
    Form f = noting_pointer(plain(&T::x87));
    if (cpu_interp::x87_moves_if(i)) f.flags_read = read_by_move(i);
    if (cpu_interp::x87_sets_flags(i)) {
        f.flags_set = flag::C | flag::P | flag::Z;
        f.changes_flags = true;
    }
    return f;
}

// --- MMX ----------------------------------------------------------------------------------------------------------------

/// Both operands are MMX registers, or one is memory.
constexpr Form mmx(Use reg, Use rm = Use::Read, Width memory = Width::Qword) {
    Form f = plain(&T::mmx);
    f.reg = reg;
    f.rm = rm;
    f.rm_width = memory;
    f.vector_reg = f.vector_rm = true;
    return f;
}
constexpr Form immediate(Form f) {
    f.immediate = 1;
    return f;
}
/// ModRM.rm is a general register.
constexpr Form general_rm(Use reg, Use rm, Width width) {
    Form f = mmx(reg, rm, width);
    f.vector_rm = false;
    return f;
}
/// ModRM.reg is.
constexpr Form general_reg() {
    Form f = mmx(Use::Write);
    f.vector_reg = false;
    f.reg_width = Width::Operand;
    return f;
}
/// ModRM.reg is an opcode extension.
constexpr Form shift() {
    Form f = immediate(mmx(Use::None, Use::Modify));
    f.vector_reg = false;
    return f;
}
constexpr Form mixed(Width memory = Width::Qword) {
    Form f = mmx(Use::Modify, Use::Read, memory);
    f.translate = &T::mmx_and_vector;
    f.aligned = memory == Width::Xmm;
    return f;
}

using Table = std::array<Form, 256>;

void put(Table& t, std::initializer_list<int> opcodes, const Form& f) {
    for (const int op : opcodes) t[op] = f;
}
void range(Table& t, int first, int last, const Form& f) {
    for (int op = first; op <= last; ++op) t[op] = f;
}

Table plain_table() {
    Table t{};
    const Form both = mmx(Use::Modify);
    range(t, 0x60, 0x62, mmx(Use::Modify, Use::Read, Width::Dword));
    range(t, 0x63, 0x6b, both);
    range(t, 0x74, 0x76, both);
    range(t, 0xd1, 0xd5, both);
    range(t, 0xd8, 0xdf, both);
    range(t, 0xe0, 0xe5, both);
    range(t, 0xe8, 0xef, both);
    range(t, 0xf1, 0xf6, both);
    range(t, 0xf8, 0xfe, both);
    t[0x6e] = general_rm(Use::Modify, Use::Read, Width::Operand);
    t[0x7e] = general_rm(Use::Read, Use::Write, Width::Operand);
    t[0x6f] = mmx(Use::Write);
    put(t, {0x7f, 0xe7}, mmx(Use::Read, Use::Write));
    t[0x70] = immediate(both);
    range(t, 0x71, 0x73, shift());
    t[0x77] = plain(&T::x87_control);  // EMMS
    t[0xc4] = immediate(general_rm(Use::Modify, Use::Read, Width::Word));
    t[0xc5] = immediate(general_reg());
    t[0xd7] = general_reg();
    put(t, {0x2a, 0x2c, 0x2d}, mixed());
    return t;
}

/// Register forms that exist only with memory, or the other way round; shifts that do not exist.
bool has_form(const Insn& i) {
    const unsigned group = i.modrm >> 3 & 7;
    switch (i.opcode) {
    case 0xe7: return i.mem;
    case 0xc5: case 0xd7: return !i.mem;
    case 0x71: case 0x72: return !i.mem && (group == 2 || group == 4 || group == 6);
    case 0x73: return !i.mem && (group == 2 || group == 6);
    default: return true;
    }
}

Form two_byte_form(const Insn& i) {
    static const Table table = plain_table();
    switch (i.mandatory) {
    case Mandatory::None: return has_form(i) ? table[i.opcode] : Form{};
    case Mandatory::P66:
        if (i.opcode == 0x2a) return mixed();
        return i.opcode == 0x2c || i.opcode == 0x2d ? mixed(Width::Xmm) : Form{};
    default: return i.opcode == 0xd6 && !i.mem ? mixed() : Form{};  // MOVQ2DQ, MOVDQ2Q
    }
}

Form mmx_form(const Insn& i, const cpu::CpuModel& model) {
    if (i.lock || !model.has(Feature::SSE4_2)) return {};
    if (i.map == Map::Of) return two_byte_form(i);
    if (i.mandatory != Mandatory::None) return {};
    if (i.map == Map::Of38 && (i.opcode <= 0x0b || (i.opcode >= 0x1c && i.opcode <= 0x1e))) return mmx(Use::Modify);
    return i.map == Map::Of3A && i.opcode == 0x0f ? immediate(mmx(Use::Modify)) : Form{};
}

}  // namespace

Form x87_form(const Insn& i, const cpu::CpuModel& model) {
    if (i.map != Map::One) return mmx_form(i, model);
    if (i.opcode == 0x9b) return plain(&T::x87_control);
    if (i.opcode < 0xd8 || i.opcode > 0xdf || i.lock) return {};
    return i.mem ? x87_memory_form(i, model) : x87_register_form(i);
}

}  // namespace yado::cpu_bt
