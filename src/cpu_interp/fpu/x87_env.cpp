// x87 control: the control and status words, the environment, FSAVE and FRSTOR in their four layouts (SDM vol. 1, 8.1.10).
#include "cpu_interp/fpu/ops.h"

namespace yado::cpu_interp {

namespace {

// --- tags (SDM vol. 1, 8.1.7) --------------------------------------------------------------------------------------------

enum Tag : uint16_t { kValid = 0, kZero = 1, kSpecial = 2, kEmpty = 3 };

Tag tag_of(const St& st) {
    const unsigned exponent = st.exponent & 0x7fff;
    if (exponent == 0) return st.mantissa ? kSpecial : kZero;
    if (exponent == 0x7fff || !(st.mantissa >> 63)) return kSpecial;
    return kValid;
}
uint16_t full_tags(const Fpu& f) {
    uint16_t tags = 0;
    for (unsigned n = 0; n < 8; ++n) {
        const Tag tag = f.ftw >> n & 1 ? tag_of(f.st[(n - f.top()) & 7]) : kEmpty;
        tags |= tag << 2 * n;
    }
    return tags;
}
uint8_t abridged_tags(uint16_t tags) {
    uint8_t valid = 0;
    for (unsigned n = 0; n < 8; ++n) valid |= ((tags >> 2 * n & 3) != kEmpty) << n;
    return valid;
}

// --- the environment's layouts ---------------------------------------------------------------------------------------------

struct Layout {
    bool wide;   ///< 32-bit
    bool real;   ///< real-address or virtual-8086 mode
    unsigned size() const { return wide ? 28 : 14; }
};
Layout layout_of(const Core& c, const Insn* i) {
    return {i->opsize != 2, !(c.cr0 & cpu::cr0::PE) || (c.sysflags & cpu::rflags::VM)};
}

/// The seven fields, each in a 16- or 32-bit slot. Selectors are 0 (ZERO_FCS_FDS).
struct Slots {
    uint32_t at[7];
};

Slots make_slots(const Fpu& f, Layout l) {
    const uint32_t ones = l.wide ? 0xffff'0000 : 0;
    Slots s{{f.fcw | ones, f.fsw | ones, full_tags(f) | ones}};
    if (!l.real) {
        s.at[3] = static_cast<uint32_t>(f.fip);
        s.at[4] = static_cast<uint32_t>(f.fop) << 16;
        s.at[5] = static_cast<uint32_t>(f.fdp);
        s.at[6] = ones;
        return s;
    }
    const auto ip = static_cast<uint32_t>(f.fip), dp = static_cast<uint32_t>(f.fdp);
    s.at[3] = (ip & 0xffff) | ones;
    s.at[4] = (ip >> 16 << 12 & 0x0fff'f000) | f.fop;
    s.at[5] = (dp & 0xffff) | ones;
    s.at[6] = dp >> 16 << 12 & 0x0fff'f000;
    return s;
}

void put_environment(const Fpu& f, Layout l, uint8_t* out) {
    const Slots s = make_slots(f, l);
    const unsigned step = l.wide ? 4 : 2;
    for (unsigned n = 0; n < 7; ++n) std::memcpy(out + n * step, &s.at[n], step);
}

void take_environment(Fpu& f, Layout l, const uint8_t* in) {
    Slots s{};
    const unsigned step = l.wide ? 4 : 2;
    for (unsigned n = 0; n < 7; ++n) std::memcpy(&s.at[n], in + n * step, step);
    set_top(f, s.at[1] >> 11 & 7);
    f.fsw = static_cast<uint16_t>(s.at[1]);
    f.ftw = abridged_tags(static_cast<uint16_t>(s.at[2]));
    set_control_word(f, static_cast<uint16_t>(s.at[0]));
    if (l.real) {
        f.fip = (s.at[3] & 0xffff) | (s.at[4] >> 12 & 0xffff) << 16;
        f.fdp = (s.at[5] & 0xffff) | (s.at[6] >> 12 & 0xffff) << 16;
        f.fop = s.at[4] & 0x7ff;
        return;
    }
    f.fip = s.at[3];
    f.fdp = s.at[5];
    if (l.wide) f.fop = s.at[4] >> 16 & 0x7ff;
}

/// FNINIT (SDM vol. 1, 8.1.3): the registers' contents stay, tagged empty.
void initialize(Fpu& f) {
    set_top(f, 0);
    f.fcw = x87::kControlInit;
    f.fsw = 0;
    f.ftw = 0;
    f.fop = 0;
    f.fip = f.fdp = 0;
}

constexpr unsigned kRegisters = 80;

void fnstenv(Core& c, const Insn* i) {
    x87_check(c, i, Waits::No);
    Fpu& f = *c.fpu;
    const Layout l = layout_of(c, i);
    uint8_t out[28];
    put_environment(f, l, out);
    c.store_slow(i, c.address(i, l.size(), Acc::Write), out, l.size());
    set_control_word(f, f.fcw | x87::kExceptions);
}
void fldenv(Core& c, const Insn* i) {
    x87_check(c, i, Waits::Yes);
    const Layout l = layout_of(c, i);
    uint8_t in[28];
    c.load_slow(i, c.address(i, l.size(), Acc::Read), in, l.size());
    take_environment(*c.fpu, l, in);
}
void fnsave(Core& c, const Insn* i) {
    x87_check(c, i, Waits::No);
    Fpu& f = *c.fpu;
    const Layout l = layout_of(c, i);
    const unsigned size = l.size() + kRegisters;
    uint8_t out[28 + kRegisters];
    put_environment(f, l, out);
    for (unsigned n = 0; n < 8; ++n) std::memcpy(out + l.size() + 10 * n, &f.st[n], 10);
    c.store_slow(i, c.address(i, size, Acc::Write), out, size);
    initialize(f);
}
void frstor(Core& c, const Insn* i) {
    x87_check(c, i, Waits::Yes);
    Fpu& f = *c.fpu;
    const Layout l = layout_of(c, i);
    const unsigned size = l.size() + kRegisters;
    uint8_t in[28 + kRegisters];
    c.load_slow(i, c.address(i, size, Acc::Read), in, size);
    take_environment(f, l, in);
    for (unsigned n = 0; n < 8; ++n) std::memcpy(static_cast<void*>(&f.st[n]), in + l.size() + 10 * n, 10);
}

void fldcw(Core& c, const Insn* i) {
    x87_check(c, i, Waits::Yes);
    set_control_word(*c.fpu, static_cast<uint16_t>(low(memory_operand<2, Align::None>(c, i))));
    return next(c, i);
}
void fnstcw(Core& c, const Insn* i) {
    x87_check(c, i, Waits::No);
    store_operand<uint16_t>(c, i, c.fpu->fcw);
    return next(c, i);
}
void fnstsw(Core& c, const Insn* i) {
    x87_check(c, i, Waits::No);
    store_operand<uint16_t>(c, i, c.fpu->fsw);
    return next(c, i);
}
void fnstsw_ax(Core& c, const Insn* i) {
    x87_check(c, i, Waits::No);
    c.gpr[cpu::RAX] = (c.gpr[cpu::RAX] & ~uint64_t{0xffff}) | c.fpu->fsw;
    return next(c, i);
}
void fnclex(Core& c, const Insn* i) {
    x87_check(c, i, Waits::No);
    c.fpu->fsw &= 0x7f00;
    return next(c, i);
}
void fninit(Core& c, const Insn* i) {
    x87_check(c, i, Waits::No);
    initialize(*c.fpu);
    return next(c, i);
}

}  // namespace

Handler select_x87_environment(const Insn& i) {
    const unsigned form = i.opcode << 8 | i.modrm;
    if (!i.mem) {
        switch (form) {
        case 0xdbe2: return fnclex;
        case 0xdbe3: return fninit;
        case 0xdfe0: return fnstsw_ax;
        default: return nullptr;
        }
    }
    switch (i.opcode << 4 | (i.modrm >> 3 & 7)) {
    case 0xd94: return then_next<fldenv>;
    case 0xd95: return fldcw;
    case 0xd96: return then_next<fnstenv>;
    case 0xd97: return fnstcw;
    case 0xdd4: return then_next<frstor>;
    case 0xdd6: return then_next<fnsave>;
    case 0xdd7: return fnstsw;
    default: return nullptr;
    }
}

}  // namespace yado::cpu_interp
