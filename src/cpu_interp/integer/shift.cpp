// Shifts and rotates, SHLD, SHRD. SDM vol. 2.
#include "cpu_interp/host_flags.h"
#include "cpu_interp/integer/flags.h"
#include "cpu_interp/integer/operands.h"
#include "cpu_interp/integer/select.h"

namespace yado::cpu_interp {

namespace {

enum class Count { Imm, One, Cl };

template <Count From>
uint8_t count_of(const Core& c, const Insn* i) {
    if constexpr (From == Count::Imm) return static_cast<uint8_t>(i->imm);
    if constexpr (From == Count::One) return 1;
    return static_cast<uint8_t>(c.gpr[cpu::RCX]);
}

template <typename Op, Count From, typename T, bool Mem>
void shift(Core& c, const Insn* i) {
    const uint8_t count = count_of<From>(c, i);
    {  // the scope ends the locals' lives before the tail call
        uint16_t flags = c.aflags;
        modify_rm<T, Mem>(c, i, [&flags, count](T a) { return Op::run(a, count, flags); });
        c.aflags = flags;
    }
    return next(c, i);
}

/// 16-bit operands and counts above 16: undefined, and processors differ; the host decides.
template <typename Op, Count From, typename T, bool Mem>
void double_shift(Core& c, const Insn* i) {
    const uint8_t count = count_of<From>(c, i);
    const T b = read_register<T>(c, i, i->reg);
    {
        uint16_t flags = c.aflags;
        modify_rm<T, Mem>(c, i, [&flags, b, count](T a) { return Op::run(a, b, count, flags); });
        c.aflags = flags;
    }
    return next(c, i);
}

template <typename Op, Count From>
Handler pick_shift(const Insn& i) {
    return with_size_or_byte(i, [&]<typename T>(T) -> Handler { return i.mem ? shift<Op, From, T, true> : shift<Op, From, T, false>; });
}
template <typename Op, Count From>
Handler pick_double(const Insn& i) {
    return with_size(i, [&]<typename T>(T) -> Handler { return i.mem ? double_shift<Op, From, T, true> : double_shift<Op, From, T, false>; });
}

/// A rotation that leaves OF, the low byte of Core::aflags.
template <typename Op>
struct KeepsOverflow {
    template <typename T>
    static T run(T a, uint8_t count, uint16_t& f) {
        const auto overflow = static_cast<uint8_t>(f);
        a = Op::run(a, count, f);
        f = static_cast<uint16_t>((f & 0xff00) | overflow);
        return a;
    }
};

template <Count From>
Handler pick_group2(const Insn& i) {
    if (From == Count::Imm && !i.mem && masked_count(i) != 1 && host_rotate_keeps_overflow()) {
        if (group_of(i) == 0) return pick_shift<KeepsOverflow<op::Rol>, From>(i);
        if (group_of(i) == 1) return pick_shift<KeepsOverflow<op::Ror>, From>(i);
    }
    switch (group_of(i)) {
    case 0: return pick_shift<op::Rol, From>(i);
    case 1: return pick_shift<op::Ror, From>(i);
    case 2: return pick_shift<op::Rcl, From>(i);
    case 3: return pick_shift<op::Rcr, From>(i);
    case 5: return pick_shift<op::Shr, From>(i);
    case 7: return pick_shift<op::Sar, From>(i);
    default: return pick_shift<op::Shl, From>(i);  // 6 is SAL's undocumented twin
    }
}

/// OF after a rotation by two, of a value and with an OF before it.
bool overflow_after(uint32_t value, uint16_t overflow) {
    asm(YADO_SET "rol $2, %0" YADO_GET : "+r"(value), "+&a"(overflow) : : "cc");
    return overflow & 1;
}

}  // namespace

/// Values whose last bits would make OF the opposite (1-bit rotations: the bit that goes to the top, XOR CF).
bool host_rotate_keeps_overflow() {
    static const bool keeps = overflow_after(1, 1) && !overflow_after(1u << 29, 0);
    return keeps;
}

Selected select_shift(const Insn& i) {
    if (i.map == Map::One) {
        switch (i.opcode) {
        case 0xc0: case 0xc1: return {pick_group2<Count::Imm>(i)};
        case 0xd0: case 0xd1: return {pick_group2<Count::One>(i)};
        case 0xd2: case 0xd3: return {pick_group2<Count::Cl>(i)};
        default: return {};
        }
    }
    if (i.map != Map::Of) return {};
    switch (i.opcode) {
    case 0xa4: return {pick_double<op::Shld, Count::Imm>(i)};
    case 0xa5: return {pick_double<op::Shld, Count::Cl>(i)};
    case 0xac: return {pick_double<op::Shrd, Count::Imm>(i)};
    case 0xad: return {pick_double<op::Shrd, Count::Cl>(i)};
    default: return {};
    }
}

}  // namespace yado::cpu_interp
