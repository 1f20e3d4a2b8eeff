// MUL, IMUL, DIV, IDIV. The host's instructions do the work; #DE is found beforehand. SDM vol. 2.
#include "cpu_interp/integer/flags.h"
#include "cpu_interp/integer/operands.h"
#include "cpu_interp/integer/select.h"

namespace yado::cpu_interp {

namespace {

template <typename T>
struct Wide;
template <>
struct Wide<uint8_t> { using type = uint16_t; };
template <>
struct Wide<uint16_t> { using type = uint32_t; };
template <>
struct Wide<uint32_t> { using type = uint64_t; };
template <>
struct Wide<uint64_t> { using type = unsigned __int128; };

/// rDX:rAX, or AX for bytes.
template <typename T>
void read_pair(const Core& c, T& low, T& high) {
    low = read_low<T>(c, cpu::RAX);
    high = sizeof(T) == 1 ? static_cast<T>(c.gpr[cpu::RAX] >> 8) : read_low<T>(c, cpu::RDX);
}
template <typename T>
void write_pair(Core& c, T low, T high) {
    if constexpr (sizeof(T) == 1) {
        write_low<uint16_t>(c, cpu::RAX, static_cast<uint16_t>(low | high << 8));
    } else {
        write_low<T>(c, cpu::RAX, low);
        write_low<T>(c, cpu::RDX, high);
    }
}

template <typename Op, typename T, bool Mem>
void multiply(Core& c, const Insn* i) {
    T low = read_low<T>(c, cpu::RAX), high{};
    Op::run(low, high, read_rm<T, Mem>(c, i), c.aflags);
    write_pair<T>(c, low, high);
    return next(c, i);
}

template <typename T, bool Mem>
void imul_reg_rm(Core& c, const Insn* i) {
    const T b = read_rm<T, Mem>(c, i);
    write_register<T>(c, i, i->reg, op::Imul2::run(b, read_register<T>(c, i, i->reg), c.aflags));
    return next(c, i);
}
template <typename T, bool Mem>
void imul_reg_rm_imm(Core& c, const Insn* i) {
    const T b = static_cast<T>(static_cast<int64_t>(i->imm));
    write_register<T>(c, i, i->reg, op::Imul2::run(b, read_rm<T, Mem>(c, i), c.aflags));
    return next(c, i);
}

/// True if high:low / b has a quotient that fits T.
template <bool Signed, typename T>
bool divisible(T low, T high, T b) {
    using W = typename Wide<T>::type;
    constexpr unsigned bits = 8 * sizeof(T);
    W dividend = static_cast<W>(high) << bits | low;
    if (b == 0) return false;
    if constexpr (!Signed) return high < b;
    const bool negative = high >> (bits - 1), divisor_negative = b >> (bits - 1);
    const T magnitude = divisor_negative ? static_cast<T>(0 - b) : b;
    if (negative) dividend = static_cast<W>(0 - dividend);
    const W quotient = static_cast<W>(dividend / magnitude);
    const W limit = static_cast<W>(1) << (bits - 1);
    return negative != divisor_negative ? quotient <= limit : quotient < limit;
}

/// The host's DIV or IDIV with the guest's flags before and after.
template <bool Signed, typename T>
void host_divide(T& low, T& high, T b, uint16_t& f) {
    uint64_t keep = f;
    if constexpr (sizeof(T) == 1) {
        uint64_t ax = static_cast<uint16_t>(low | high << 8);
        if constexpr (Signed)
            asm("xchg %1, %0\n\t" YADO_SET "xchg %1, %0\n\tidivb %2\n\txchg %1, %0" YADO_GET : "+&a"(ax), "+&r"(keep) : "r"(b) : "cc");
        else
            asm("xchg %1, %0\n\t" YADO_SET "xchg %1, %0\n\tdivb %2\n\txchg %1, %0" YADO_GET : "+&a"(ax), "+&r"(keep) : "r"(b) : "cc");
        f = static_cast<uint16_t>(ax);
        low = static_cast<T>(keep);
        high = static_cast<T>(keep >> 8);
    } else {
        uint64_t rax = low;
        if constexpr (Signed)
            asm("xchg %2, %0\n\t" YADO_SET "xchg %2, %0\n\tidiv %3\n\txchg %2, %0" YADO_GET
                : "+&a"(rax), "+&d"(high), "+&r"(keep) : "r"(b) : "cc");
        else
            asm("xchg %2, %0\n\t" YADO_SET "xchg %2, %0\n\tdiv %3\n\txchg %2, %0" YADO_GET
                : "+&a"(rax), "+&d"(high), "+&r"(keep) : "r"(b) : "cc");
        f = static_cast<uint16_t>(rax);
        low = static_cast<T>(keep);
    }
}

template <bool Signed, typename T, bool Mem>
void divide(Core& c, const Insn* i) {
    const T b = read_rm<T, Mem>(c, i);
    T low{}, high{};
    read_pair<T>(c, low, high);
    if (!divisible<Signed>(low, high, b)) c.raise(i, Vec::DE);
    host_divide<Signed>(low, high, b, c.aflags);
    write_pair<T>(c, low, high);
    return next(c, i);
}

template <typename Op>
Handler pick_multiply(const Insn& i) {
    return with_size_or_byte(i, [&]<typename T>(T) -> Handler { return i.mem ? multiply<Op, T, true> : multiply<Op, T, false>; });
}
template <bool Signed>
Handler pick_divide(const Insn& i) {
    return with_size_or_byte(i, [&]<typename T>(T) -> Handler { return i.mem ? divide<Signed, T, true> : divide<Signed, T, false>; });
}

Handler pick_group3(const Insn& i) {
    switch (group_of(i)) {
    case 4: return pick_multiply<op::Mul>(i);
    case 5: return pick_multiply<op::Imul>(i);
    case 6: return pick_divide<false>(i);
    case 7: return pick_divide<true>(i);
    default: return nullptr;
    }
}

}  // namespace

Selected select_multiply(const Insn& i) {
    if (i.map == Map::One && (i.opcode | 1) == 0xf7) return {pick_group3(i)};
    if (i.map == Map::One && (i.opcode == 0x69 || i.opcode == 0x6b))
        return {with_size(i, [&]<typename T>(T) -> Handler { return i.mem ? imul_reg_rm_imm<T, true> : imul_reg_rm_imm<T, false>; })};
    if (i.map == Map::Of && i.opcode == 0xaf)
        return {with_size(i, [&]<typename T>(T) -> Handler { return i.mem ? imul_reg_rm<T, true> : imul_reg_rm<T, false>; })};
    return {};
}

}  // namespace yado::cpu_interp
