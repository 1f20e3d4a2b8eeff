// SSE and AVX forms by opcode map and mandatory prefix: each is the same instruction on the same XMM or YMM registers.
// Instructions with implicit operands or with two results, gathers and masked moves are left to the interpreter; those on MMX
// registers are in x87_forms.cpp. SDM vol. 2, appendix A. Which VEX encodings exist the interpreter's decoder has settled before.
#include <array>
#include <initializer_list>

#include "cpu_bt/block_translator.h"
#include "cpu_bt/forms.h"

namespace yado::cpu_bt {

namespace {

using cpu::Feature;
using T = BlockTranslator;

struct Row {
    Form form;
    Feature feature = Feature::Count;  ///< needed beside those of x86-64-v2
};
using Table = std::array<std::array<std::array<Row, 256>, 4>, 3>;  // 0F, 0F38, 0F3A; prefix; opcode

constexpr int kNone = 0, k66 = 1, kF3 = 2, kF2 = 3;

constexpr Form xmm(Use reg, Width memory = Width::Xmm) {
    return {.translate = &T::vector, .flags_read = 0, .reg = reg, .rm = Use::Read, .rm_width = memory, .vector_reg = true,
            .vector_rm = true, .aligned = memory == Width::Xmm};
}
constexpr Form store(Width memory, bool aligned = false) {
    Form f = xmm(Use::Read, memory);
    f.rm = Use::Write;
    f.aligned = aligned;
    return f;
}
constexpr Form unaligned(Form f) {
    f.aligned = false;
    return f;
}
constexpr Form immediate(Form f) {
    f.immediate = 1;
    return f;
}
constexpr Form string_comparison() {
    Form f = immediate(unaligned(xmm(Use::Read)));
    f.translate = &T::compare_strings;
    return f;
}
constexpr Form setting_flags(Form f) {
    f.flags_set = flag::All;
    f.changes_flags = true;
    return f;
}
/// XMM from a general register or memory, and back.
constexpr Form from_general(Width width) {
    Form f = xmm(Use::Modify, width);
    f.vector_rm = false;
    return f;
}
constexpr Form to_general(Use rm, Width width) {
    Form f = from_general(width);
    f.reg = Use::Read;
    f.rm = rm;
    return f;
}
/// A general register from an XMM register or memory.
constexpr Form into_general(Width memory) {
    Form f = xmm(Use::Write, memory);
    f.vector_reg = false;
    f.aligned = false;
    return f;
}

class Builder {
  public:
    explicit Builder(Table& t) : t_(t) {}
    void put(int map, int prefix, std::initializer_list<int> opcodes, Form f, Feature feature = Feature::Count) {
        for (const int op : opcodes) t_[map][prefix][op] = {f, feature};
    }
    void range(int map, int prefix, int first, int last, Form f) {
        for (int op = first; op <= last; ++op) t_[map][prefix][op] = {f, Feature::Count};
    }

  private:
    Table& t_;
};

constexpr Form kBoth = xmm(Use::Modify);

void add_moves(Builder b) {
    for (const int prefix : {kNone, k66}) {
        b.put(0, prefix, {0x10}, unaligned(kBoth));
        b.put(0, prefix, {0x11}, store(Width::Xmm));
        b.put(0, prefix, {0x12, 0x16}, xmm(Use::Modify, Width::Qword));
        b.put(0, prefix, {0x13, 0x17}, store(Width::Qword));
        b.put(0, prefix, {0x14, 0x15, 0x28}, kBoth);
        b.put(0, prefix, {0x29, 0x2b}, store(Width::Xmm, true));
    }
    b.put(0, kF3, {0x10}, xmm(Use::Modify, Width::Dword));
    b.put(0, kF2, {0x10}, xmm(Use::Modify, Width::Qword));
    b.put(0, kF3, {0x11}, store(Width::Dword));
    b.put(0, kF2, {0x11}, store(Width::Qword));
    b.put(0, kF3, {0x12, 0x16}, kBoth);
    b.put(0, kF2, {0x12}, xmm(Use::Modify, Width::Qword));
    b.put(0, k66, {0x6f}, kBoth);
    b.put(0, kF3, {0x6f}, unaligned(kBoth));
    b.put(0, k66, {0x7f, 0xe7}, store(Width::Xmm, true));
    b.put(0, kF3, {0x7f}, store(Width::Xmm));
    b.put(0, k66, {0xd6}, store(Width::Qword));
    b.put(0, kF3, {0x7e}, xmm(Use::Modify, Width::Qword));
    b.put(0, kF2, {0xf0}, unaligned(kBoth));
}

void add_general_moves(Builder b) {
    b.put(0, k66, {0x6e}, from_general(Width::Operand));
    b.put(0, k66, {0x7e}, to_general(Use::Write, Width::Operand));
    b.put(0, kF3, {0x2a}, from_general(Width::Operand));
    b.put(0, kF2, {0x2a}, from_general(Width::Operand));
    b.put(0, kF3, {0x2c, 0x2d}, into_general(Width::Dword));
    b.put(0, kF2, {0x2c, 0x2d}, into_general(Width::Qword));
    for (const int prefix : {kNone, k66}) b.put(0, prefix, {0x50}, into_general(Width::Xmm));
    b.put(0, k66, {0xd7}, into_general(Width::Xmm));
    b.put(0, k66, {0xc5}, immediate(into_general(Width::Xmm)));
    b.put(0, k66, {0xc4}, immediate(from_general(Width::Word)));
    b.put(2, k66, {0x20}, immediate(from_general(Width::Byte)));
    b.put(2, k66, {0x22}, immediate(from_general(Width::Operand)));
    b.put(2, k66, {0x14}, immediate(to_general(Use::Write, Width::Byte)));
    b.put(2, k66, {0x15}, immediate(to_general(Use::Write, Width::Word)));
    b.put(2, k66, {0x16}, immediate(to_general(Use::Write, Width::Operand)));
    b.put(2, k66, {0x17}, immediate(to_general(Use::Write, Width::Dword)));
}

void add_arithmetic(Builder b) {
    for (const int op : {0x51, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f})
        for (const int prefix : {kNone, k66}) b.put(0, prefix, {op}, kBoth);
    for (const int op : {0x51, 0x58, 0x59, 0x5a, 0x5c, 0x5d, 0x5e, 0x5f}) {
        b.put(0, kF3, {op}, xmm(Use::Modify, Width::Dword));
        b.put(0, kF2, {op}, xmm(Use::Modify, Width::Qword));
    }
    b.put(0, kNone, {0x52, 0x53, 0x5b}, kBoth);
    b.put(0, kF3, {0x52, 0x53}, xmm(Use::Modify, Width::Dword));
    b.put(0, kNone, {0x5a}, xmm(Use::Modify, Width::Qword));
    b.put(0, k66, {0x5a, 0x5b, 0x7c, 0x7d, 0xd0}, kBoth);
    b.put(0, kF3, {0x5b}, kBoth);
    b.put(0, kF2, {0x7c, 0x7d, 0xd0, 0xe6}, kBoth);
    b.put(0, k66, {0xe6}, kBoth);
    b.put(0, kF3, {0xe6}, xmm(Use::Modify, Width::Qword));
    b.put(0, kNone, {0x2e, 0x2f}, setting_flags(xmm(Use::Read, Width::Dword)));
    b.put(0, k66, {0x2e, 0x2f}, setting_flags(xmm(Use::Read, Width::Qword)));
    for (const int prefix : {kNone, k66}) b.put(0, prefix, {0xc2, 0xc6}, immediate(kBoth));
    b.put(0, kF3, {0xc2}, immediate(xmm(Use::Modify, Width::Dword)));
    b.put(0, kF2, {0xc2}, immediate(xmm(Use::Modify, Width::Qword)));
}

void add_integers(Builder b) {
    b.range(0, k66, 0x60, 0x6d, kBoth);
    b.range(0, k66, 0x74, 0x76, kBoth);
    b.range(0, k66, 0xd1, 0xd5, kBoth);
    b.range(0, k66, 0xd8, 0xe5, kBoth);
    b.range(0, k66, 0xe8, 0xef, kBoth);
    b.range(0, k66, 0xf1, 0xf6, kBoth);
    b.range(0, k66, 0xf8, 0xfe, kBoth);
    for (const int prefix : {k66, kF3, kF2}) b.put(0, prefix, {0x70}, immediate(kBoth));
    for (const int op : {0x71, 0x72, 0x73}) {
        Form f = immediate(kBoth);
        f.reg = Use::None;
        f.rm = Use::Modify;
        b.put(0, k66, {op}, f);
    }
}

/// 0F38 and 0F3A with 66.
void add_later_levels(Builder b) {
    b.range(1, k66, 0x00, 0x0b, kBoth);
    b.put(1, k66, {0x10, 0x14, 0x15}, kBoth);
    b.put(1, k66, {0x17}, setting_flags(xmm(Use::Read)));
    b.range(1, k66, 0x1c, 0x1e, kBoth);
    for (const int base : {0x20, 0x30}) {
        b.put(1, k66, {base, base + 3, base + 5}, xmm(Use::Modify, Width::Qword));
        b.put(1, k66, {base + 1, base + 4}, xmm(Use::Modify, Width::Dword));
        b.put(1, k66, {base + 2}, xmm(Use::Modify, Width::Word));
    }
    b.range(1, k66, 0x28, 0x2b, kBoth);
    b.range(1, k66, 0x37, 0x41, kBoth);
    b.range(2, k66, 0x08, 0x09, immediate(kBoth));
    b.put(2, k66, {0x0a, 0x21}, immediate(xmm(Use::Modify, Width::Dword)));
    b.put(2, k66, {0x0b}, immediate(xmm(Use::Modify, Width::Qword)));
    b.range(2, k66, 0x0c, 0x0f, immediate(kBoth));
    b.range(2, k66, 0x40, 0x42, immediate(kBoth));
    b.range(2, k66, 0x60, 0x63, setting_flags(string_comparison()));
    b.put(1, k66, {0xdb, 0xdc, 0xdd, 0xde, 0xdf}, kBoth, Feature::AESNI);
    b.put(2, k66, {0xdf}, immediate(kBoth), Feature::AESNI);
    b.put(2, k66, {0x44}, immediate(kBoth), Feature::PCLMULQDQ);
    b.put(1, kNone, {0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd}, kBoth, Feature::SHA);
    b.put(2, kNone, {0xcc}, immediate(kBoth), Feature::SHA);
}

Table make_table() {
    Table t{};
    Builder b(t);
    add_moves(b);
    add_general_moves(b);
    add_arithmetic(b);
    add_integers(b);
    add_later_levels(b);
    return t;
}

// --- VEX: as the legacy forms, without alignment but in explicitly aligned moves ---------------------------------------------

constexpr Form sized(Form f, VexSize size) {
    f.vex_size = size;
    return f;
}

/// Full vectors are doubled by L, scalars and parts are not.
void widen(Table& t) {
    for (auto& map : t)
        for (auto& prefix : map)
            for (Row& r : prefix) {
                r.form.aligned = false;
                if (r.form.rm_width == Width::Xmm) r.form.vex_size = VexSize::Full;
            }
}

void fix_sizes(Table& t) {
    for (const int prefix : {kNone, k66})
        for (const int op : {0x28, 0x29, 0x2b}) t[0][prefix][op].form.aligned = true;
    for (const int op : {0x6f, 0x7f, 0xe7}) t[0][k66][op].form.aligned = true;
    t[1][k66][0x2a].form.aligned = true;
    for (const int op : {0xd1, 0xd2, 0xd3, 0xe1, 0xe2, 0xf1, 0xf2, 0xf3}) t[0][k66][op].form.vex_size = VexSize::Fixed;
    for (const int base : {0x20, 0x30})
        for (int op = base; op < base + 6; ++op) t[1][k66][op].form.vex_size = VexSize::Twice;
    t[0][kNone][0x5a].form.vex_size = t[0][kF3][0xe6].form.vex_size = VexSize::Twice;
    t[0][kF2][0x12].form.vex_size = VexSize::Duplicate;
}

void add_fma(Builder b) {
    for (const int base : {0x90, 0xa0, 0xb0})
        for (int op = base + 6; op < base + 16; ++op) {
            const bool scalar = op >= base + 9 && op % 2 == 1;
            b.put(1, k66, {op}, sized(kBoth, scalar ? VexSize::Scalar : VexSize::Full));
        }
}

void add_vex_only(Builder b) {
    const Form full = sized(unaligned(kBoth), VexSize::Full);
    b.put(1, k66, {0x0c, 0x0d, 0x16, 0x36, 0x45, 0x46, 0x47}, full);
    b.put(1, k66, {0x0e, 0x0f}, setting_flags(full));
    b.put(1, k66, {0x18, 0x58}, xmm(Use::Write, Width::Dword));
    b.put(1, k66, {0x19, 0x59}, xmm(Use::Write, Width::Qword));
    b.put(1, k66, {0x1a, 0x5a}, unaligned(xmm(Use::Write)));
    b.put(1, k66, {0x78}, xmm(Use::Write, Width::Byte));
    b.put(1, k66, {0x79}, xmm(Use::Write, Width::Word));
    b.put(1, k66, {0x13}, sized(xmm(Use::Write, Width::Qword), VexSize::Twice));
    b.put(2, k66, {0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x46, 0x4a, 0x4b, 0x4c}, immediate(full));
    b.put(2, k66, {0x18, 0x38}, immediate(unaligned(kBoth)));
    b.put(2, k66, {0x19, 0x39}, immediate(store(Width::Xmm)));
    b.put(2, k66, {0x1d}, immediate(sized(store(Width::Qword), VexSize::Twice)));
    add_fma(b);
    Form zero = xmm(Use::None);
    zero.rm = Use::None;
    zero.translate = &T::vector_zero;
    b.put(0, kNone, {0x77}, zero);
}

Table make_vex_table() {
    Table t = make_table();
    widen(t);
    fix_sizes(t);
    Builder b(t);
    add_vex_only(b);
    b.put(1, k66, {0xcf}, sized(unaligned(kBoth), VexSize::Full), Feature::GFNI);
    b.put(2, k66, {0xce, 0xcf}, immediate(sized(unaligned(kBoth), VexSize::Full)), Feature::GFNI);
    return t;
}

/// 256-bit forms of AES and PCLMULQDQ have features of their own.
Feature needed(const Insn& i, Feature f) {
    if (!i.vex_l) return f;
    if (f == Feature::AESNI) return Feature::VAES;
    return f == Feature::PCLMULQDQ ? Feature::VPCLMULQDQ : f;
}

// --- BMI ----------------------------------------------------------------------------------------------------------------------

constexpr Form bmi(Use reg, Use vvvv, uint8_t set) {
    return {.translate = &T::bit_manipulation, .flags_read = 0, .flags_set = set, .changes_flags = set != 0, .reg = reg, .rm = Use::Read,
            .vvvv = vvvv};
}

Form bmi_form(const Insn& i) {
    constexpr uint8_t kLogic = flag::C | flag::Z | flag::S | flag::O;
    const bool plain = i.mandatory == Mandatory::None;
    if (i.map == Map::Of3A) return i.opcode == 0xf0 && i.mandatory == Mandatory::PF2 ? immediate(bmi(Use::Write, Use::None, 0)) : Form{};
    if (i.map != Map::Of38) return {};
    switch (i.opcode) {
    case 0xf2: return bmi(Use::Write, Use::Read, kLogic);
    case 0xf3: return bmi(Use::None, Use::Write, kLogic);
    case 0xf5: return bmi(Use::Write, Use::Read, plain ? kLogic : 0);
    case 0xf6: return bmi(Use::Write, Use::Write, 0);
    case 0xf7: return bmi(Use::Write, Use::Read, plain ? flag::C | flag::Z | flag::O : 0);
    default: return {};
    }
}

/// Register forms that exist only with memory, or the other way round.
bool has_form(const Insn& i) {
    const unsigned group = i.modrm >> 3 & 7;
    if (i.map == Map::Of38) return i.opcode != 0x2a || i.mem;
    if (i.map != Map::Of) return true;
    switch (i.opcode) {
    case 0x13: case 0x17: case 0x2b: case 0xe7: case 0xf0: return i.mem;
    case 0x12: case 0x16: return i.mem || i.mandatory != Mandatory::P66;
    case 0x50: case 0xc5: case 0xd7: return !i.mem;
    case 0x71: case 0x72: return !i.mem && (group == 2 || group == 4 || group == 6);
    case 0x73: return !i.mem && (group == 2 || group == 3 || group == 6 || group == 7);
    default: return true;
    }
}

constexpr int prefix_of(const Insn& i) {
    switch (i.mandatory) {
    case Mandatory::None: return kNone;
    case Mandatory::P66: return k66;
    case Mandatory::PF3: return kF3;
    case Mandatory::PF2: return kF2;
    }
    return kNone;
}

}  // namespace

Form vex_form(const Insn& i, const cpu::CpuModel& model) {
    static const Table table = make_vex_table();
    if (!model.has(Feature::AVX2) || !model.has(Feature::FMA) || !model.has(Feature::BMI2)) return {};
    if (const Form f = bmi_form(i); f.translate) return f;
    if (i.map == Map::One) return {};
    const int map = i.map == Map::Of ? 0 : i.map == Map::Of38 ? 1 : 2;
    const Row& row = table[map][prefix_of(i)][i.opcode];
    const Feature feature = needed(i, row.feature);
    return feature == Feature::Count || model.has(feature) ? row.form : Form{};
}

Form vector_form(const Insn& i, const cpu::CpuModel& model) {
    static const Table table = make_table();
    if (i.map == Map::One || i.lock || !model.has(Feature::SSE4_2)) return {};
    const int map = i.map == Map::Of ? 0 : i.map == Map::Of38 ? 1 : 2;
    const Row& row = table[map][prefix_of(i)][i.opcode];
    if (!row.form.translate || (row.feature != Feature::Count && !model.has(row.feature))) return {};
    if (!has_form(i)) return {};
    if (row.form.rm_width == Width::Operand && i.opsize == 2) {  // MOVD and CVTSI2SS are of 4 or 8 bytes
        Form f = row.form;
        f.rm_width = Width::Dword;
        return f;
    }
    return row.form;
}

}  // namespace yado::cpu_bt
