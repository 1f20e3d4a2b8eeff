// Bit tests and scans, TZCNT, LZCNT, POPCNT, CRC32, BSWAP, MOVBE. SDM vol. 2.
#include <bit>

#include "cpu_interp/integer/flags.h"
#include "cpu_interp/integer/operands.h"
#include "cpu_interp/integer/select.h"

namespace yado::cpu_interp {

namespace {

template <typename Op, typename T>
T test_bit(T a, T bit, uint16_t& flags) {
    const T r = Op::run(a, bit, flags);
    return Op::kWrites ? r : a;
}

/// Linear address of the operand that holds bit `offset` (signed, unlimited) of a bit string in memory.
template <typename T>
uint64_t bit_string_address(Core& c, const Insn* i, T offset, Acc acc) {
    const int64_t words = static_cast<std::make_signed_t<T>>(offset) >> std::countr_zero(8 * sizeof(T));
    const uint64_t step = static_cast<uint64_t>(words) * sizeof(T);
    if (i->flat) return c.address(i, sizeof(T), acc) + step;
    uint64_t ea = c.effective(i) + step;
    if (i->addrsize != 8) ea = i->addrsize == 4 ? static_cast<uint32_t>(ea) : static_cast<uint16_t>(ea);
    return c.segmented(i, i->seg, ea, sizeof(T), acc);
}

template <typename Op, typename T, bool Lock>
void bit_at(Core& c, const Insn* i, uint64_t linear, T bit) {
    uint16_t flags = c.aflags;
    const uint16_t before = flags;
    const auto f = [&flags, before, bit](T a) {
        flags = before;
        return test_bit<Op>(a, bit, flags);
    };
    if constexpr (!Op::kWrites) {
        f(c.load<T>(i, linear));
    } else if constexpr (Lock) {
        modify_atomic<T>(c, i, linear, f);
    } else if (T* p = c.rmw_pointer<T>(i, linear)) {
        poke<T>(p, f(peek<T>(p)));
    } else {
        modify_slow<T>(c, i, linear, f);
    }
    c.aflags = flags;
}

template <typename Op, typename T, bool Lock>
void bit_mem_reg(Core& c, const Insn* i) {
    const T offset = read_register<T>(c, i, i->reg);
    const uint64_t linear = bit_string_address<T>(c, i, offset, Op::kWrites ? Acc::Write : Acc::Read);
    bit_at<Op, T, Lock>(c, i, linear, static_cast<T>(offset & (8 * sizeof(T) - 1)));
    return next(c, i);
}
template <typename Op, typename T, bool Lock>
void bit_mem_imm(Core& c, const Insn* i) {
    const uint64_t linear = c.address(i, sizeof(T), Op::kWrites ? Acc::Write : Acc::Read);
    bit_at<Op, T, Lock>(c, i, linear, static_cast<T>(i->imm & (8 * sizeof(T) - 1)));
    return next(c, i);
}
template <typename Op, typename T, bool Imm>
void bit_register(Core& c, const Insn* i) {
    const T bit = static_cast<T>((Imm ? static_cast<T>(i->imm) : read_register<T>(c, i, i->reg)) & (8 * sizeof(T) - 1));
    const T r = Op::run(read_register<T>(c, i, i->rm), bit, c.aflags);
    if constexpr (Op::kWrites) write_register<T>(c, i, i->rm, r);
    return next(c, i);
}

template <typename Op, bool Imm>
Handler pick_bit(const Insn& i) {
    return with_size(i, [&]<typename T>(T) -> Handler {
        if (!i.mem) return bit_register<Op, T, Imm>;
        if constexpr (Imm) return i.lock ? bit_mem_imm<Op, T, true> : bit_mem_imm<Op, T, false>;
        return i.lock ? bit_mem_reg<Op, T, true> : bit_mem_reg<Op, T, false>;
    });
}

Handler pick_bit_group(const Insn& i) {
    switch (group_of(i)) {
    case 4: return pick_bit<op::Bt, true>(i);
    case 5: return pick_bit<op::Bts, true>(i);
    case 6: return pick_bit<op::Btr, true>(i);
    case 7: return pick_bit<op::Btc, true>(i);
    default: return nullptr;
    }
}

/// A zero source leaves even the upper half of a 32-bit destination.
template <typename Op, typename T, bool Mem>
void scan(Core& c, const Insn* i) {
    const T source = read_rm<T, Mem>(c, i);
    const T r = Op::run(source, read_register<T>(c, i, i->reg), c.aflags);
    if (source != 0) write_register<T>(c, i, i->reg, r);
    return next(c, i);
}
template <typename T, bool Mem>
void popcnt(Core& c, const Insn* i) {
    const T source = read_rm<T, Mem>(c, i);
    write_register<T>(c, i, i->reg, op::Popcnt::run(source, source, c.aflags));
    return next(c, i);
}

/// TZCNT, LZCNT: a scan with a prefix that means nothing where the model lacks them.
template <typename Op, typename Scan, cpu::Feature F, typename T, bool Mem>
void count(Core& c, const Insn* i) {
    if (!c.wiring.model.has(F)) return scan<Scan, T, Mem>(c, i);
    const T source = read_rm<T, Mem>(c, i);
    write_register<T>(c, i, i->reg, Op::run(source, source, c.aflags));
    return next(c, i);
}

template <typename Scan, typename Count, cpu::Feature F>
Handler pick_scan(const Insn& i) {
    return with_size(i, [&]<typename T>(T) -> Handler {
        if (i.mandatory == Mandatory::PF3) return i.mem ? count<Count, Scan, F, T, true> : count<Count, Scan, F, T, false>;
        return i.mem ? scan<Scan, T, true> : scan<Scan, T, false>;
    });
}

template <typename T, bool Mem>
void crc32(Core& c, const Insn* i) {
    const T source = read_rm<T, Mem>(c, i);
    uint64_t crc = static_cast<uint32_t>(c.gpr[i->reg]);
    if constexpr (sizeof(T) == 8)
        asm("crc32q %1, %0" : "+r"(crc) : "r"(source));
    else
        asm("crc32 %1, %k0" : "+r"(crc) : "r"(source));
    c.gpr[i->reg] = static_cast<uint32_t>(crc);
    return next(c, i);
}

template <typename T>
T reversed(T v) {
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(v);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(v);
    return static_cast<T>(__builtin_bswap64(v));
}
template <typename T>
void movbe_load(Core& c, const Insn* i) {
    write_register<T>(c, i, i->reg, reversed(read_rm<T, true>(c, i)));
    return next(c, i);
}
template <typename T>
void movbe_store(Core& c, const Insn* i) {
    write_rm<T, true>(c, i, reversed(read_register<T>(c, i, i->reg)));
    return next(c, i);
}
/// 16 bits: undefined; processors give 0.
template <typename T>
void bswap(Core& c, const Insn* i) {
    write_register<T>(c, i, i->rm, sizeof(T) == 2 ? T{0} : reversed(read_register<T>(c, i, i->rm)));
    return next(c, i);
}

Handler pick_0f38(const Insn& i) {
    if ((i.opcode | 1) != 0xf1) return nullptr;
    if (i.mandatory == Mandatory::PF2)
        return with_size_or_byte(i, [&]<typename T>(T) -> Handler { return i.mem ? crc32<T, true> : crc32<T, false>; });
    if (!i.mem || i.mandatory == Mandatory::PF3) return nullptr;
    return with_size(i, [&]<typename T>(T) -> Handler { return i.opcode == 0xf0 ? movbe_load<T> : movbe_store<T>; });
}

Handler pick_0f(const Insn& i) {
    switch (i.opcode) {
    case 0xa3: return pick_bit<op::Bt, false>(i);
    case 0xab: return pick_bit<op::Bts, false>(i);
    case 0xb3: return pick_bit<op::Btr, false>(i);
    case 0xbb: return pick_bit<op::Btc, false>(i);
    case 0xba: return pick_bit_group(i);
    case 0xbc: return pick_scan<op::Bsf, op::Tzcnt, cpu::Feature::BMI1>(i);
    case 0xbd: return pick_scan<op::Bsr, op::Lzcnt, cpu::Feature::LZCNT>(i);
    case 0xb8:
        if (i.mandatory != Mandatory::PF3) return nullptr;
        return with_size(i, [&]<typename T>(T) -> Handler { return i.mem ? popcnt<T, true> : popcnt<T, false>; });
    default: break;
    }
    if (i.opcode >= 0xc8 && i.opcode <= 0xcf) return with_size(i, []<typename T>(T) -> Handler { return bswap<T>; });
    return nullptr;
}

}  // namespace

Selected select_bits(const Insn& i) {
    if (i.map == Map::Of38) return {pick_0f38(i)};
    return {i.map == Map::Of ? pick_0f(i) : nullptr};
}

}  // namespace yado::cpu_interp
