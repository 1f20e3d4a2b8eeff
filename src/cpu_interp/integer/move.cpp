// Data movement: MOV, MOVZX, MOVSX, LEA, XCHG, CMOVcc, SETcc, XLAT, sign conversions, flag bits. SDM vol. 2.
#include "cpu_interp/integer/condition.h"
#include "cpu_interp/integer/operands.h"
#include "cpu_interp/integer/select.h"

namespace yado::cpu_interp {

namespace {

template <typename T, bool Mem>
void mov_rm_reg(Core& c, const Insn* i) {
    write_rm<T, Mem>(c, i, read_register<T>(c, i, i->reg));
    return next(c, i);
}
template <typename T, bool Mem>
void mov_reg_rm(Core& c, const Insn* i) {
    write_register<T>(c, i, i->reg, read_rm<T, Mem>(c, i));
    return next(c, i);
}
template <typename T, bool Mem>
void mov_rm_imm(Core& c, const Insn* i) {
    write_rm<T, Mem>(c, i, static_cast<T>(static_cast<int64_t>(i->imm)));
    return next(c, i);
}
void mov_reg_imm64(Core& c, const Insn* i) {
    c.gpr[i->reg] = i->imm64;
    return next(c, i);
}

uint64_t moffs(Core& c, const Insn* i, unsigned size, Acc acc) {
    return i->flat ? i->imm64 : c.segmented(i, i->seg, i->imm64, size, acc);
}
template <typename T>
void mov_acc_moffs(Core& c, const Insn* i) {
    write_low<T>(c, cpu::RAX, c.load<T>(i, moffs(c, i, sizeof(T), Acc::Read)));
    return next(c, i);
}
template <typename T>
void mov_moffs_acc(Core& c, const Insn* i) {
    c.store<T>(i, moffs(c, i, sizeof(T), Acc::Write), read_low<T>(c, cpu::RAX));
    return next(c, i);
}

/// MOV r, sreg takes the operand size, zero-extended; MOV m, sreg is 16 bits.
template <typename T, bool Mem>
void mov_rm_sreg(Core& c, const Insn* i) {
    const uint16_t selector = c.seg[i->reg & 7].selector;
    if constexpr (Mem) write_rm<uint16_t, true>(c, i, selector);
    else write_register<T>(c, i, i->rm, selector);
    return next(c, i);
}

/// To: unsigned for MOVZX; From signed for MOVSX.
template <typename To, typename From, bool Mem>
void extend(Core& c, const Insn* i) {
    using Raw = std::make_unsigned_t<From>;
    const From v = static_cast<From>(read_rm<Raw, Mem>(c, i));
    write_register<To>(c, i, i->reg, static_cast<To>(v));
    return next(c, i);
}
template <typename From>
Handler pick_extend(const Insn& i) {
    return with_size(i, [&]<typename T>(T) -> Handler { return i.mem ? extend<T, From, true> : extend<T, From, false>; });
}

template <typename T>
void lea(Core& c, const Insn* i) {
    write_register<T>(c, i, i->reg, static_cast<T>(c.effective(i)));
    return next(c, i);
}
/// Flat addressing: no truncation to an address size.
template <typename T>
void lea_flat(Core& c, const Insn* i) {
    write_register<T>(c, i, i->reg, static_cast<T>(c.gpr[i->base] + (c.gpr[i->index] << i->scale) + static_cast<int64_t>(i->disp)));
    return next(c, i);
}

template <typename T>
void xchg_reg(Core& c, const Insn* i) {
    const T a = read_register<T>(c, i, i->rm), b = read_register<T>(c, i, i->reg);
    write_register<T>(c, i, i->rm, b);
    write_register<T>(c, i, i->reg, a);
    return next(c, i);
}
/// Locked whether it says so or not.
template <typename T>
[[gnu::always_inline]] inline void do_xchg_mem(Core& c, const Insn* i) {
    const T b = read_register<T>(c, i, i->reg);
    const uint64_t linear = c.address(i, sizeof(T), Acc::Write);
    T old{};
    if (T* p = lock_pointer<T>(c, i, linear)) [[likely]] {
        old = __atomic_exchange_n(p, b, __ATOMIC_SEQ_CST);
    } else {
        modify_stopped<T>(c, i, linear, [&old, b](T a) {
            old = a;
            return b;
        });
    }
    write_register<T>(c, i, i->reg, old);
}
template <typename T>
void xchg_mem(Core& c, const Insn* i) {
    do_xchg_mem<T>(c, i);
    return next(c, i);
}
/// 90+r: with the accumulator.
template <typename T>
void xchg_acc(Core& c, const Insn* i) {
    const T a = read_low<T>(c, cpu::RAX), b = read_low<T>(c, i->reg);
    write_low<T>(c, cpu::RAX, b);
    write_low<T>(c, i->reg, a);
    return next(c, i);
}

/// The source is read, and a 32-bit destination's upper half cleared, even if the condition fails.
template <unsigned Condition, typename T, bool Mem>
void cmov(Core& c, const Insn* i) {
    const T v = read_rm<T, Mem>(c, i);
    const T old = read_register<T>(c, i, i->reg);
    write_register<T>(c, i, i->reg, holds<Condition>(c.aflags) ? v : old);
    return next(c, i);
}
template <typename T, bool Mem>
Handler cmov_of(unsigned condition) {
    static constexpr auto table = for_each_condition([]<unsigned N>() -> Handler { return cmov<N, T, Mem>; });
    return table[condition];
}
template <unsigned Condition, bool Mem>
void setcc(Core& c, const Insn* i) {
    write_rm<uint8_t, Mem>(c, i, holds<Condition>(c.aflags));
    return next(c, i);
}
template <bool Mem>
Handler setcc_of(unsigned condition) {
    static constexpr auto table = for_each_condition([]<unsigned N>() -> Handler { return setcc<N, Mem>; });
    return table[condition];
}

/// CBW, CWDE, CDQE.
template <typename T>
void extend_acc(Core& c, const Insn* i) {
    using Half = std::conditional_t<sizeof(T) == 2, int8_t, std::conditional_t<sizeof(T) == 4, int16_t, int32_t>>;
    write_low<T>(c, cpu::RAX, static_cast<T>(static_cast<Half>(c.gpr[cpu::RAX])));
    return next(c, i);
}
/// CWD, CDQ, CQO.
template <typename T>
void extend_to_dx(Core& c, const Insn* i) {
    const auto v = static_cast<std::make_signed_t<T>>(read_low<T>(c, cpu::RAX));
    write_low<T>(c, cpu::RDX, static_cast<T>(v < 0 ? -1 : 0));
    return next(c, i);
}

void lahf(Core& c, const Insn* i) {
    byte_register(c, i, cpu::RAX)[1] = static_cast<uint8_t>(c.aflags >> 8);
    return next(c, i);
}
void sahf(Core& c, const Insn* i) {
    constexpr uint16_t mask = hflags::SF | hflags::ZF | hflags::AF | hflags::PF | hflags::CF;
    const uint16_t ah = static_cast<uint16_t>(c.gpr[cpu::RAX]) & 0xff00;
    c.aflags = static_cast<uint16_t>((ah & mask) | 0x0200 | (c.aflags & hflags::OF));
    return next(c, i);
}
void clc(Core& c, const Insn* i) {
    c.aflags &= ~hflags::CF;
    return next(c, i);
}
void stc(Core& c, const Insn* i) {
    c.aflags |= hflags::CF;
    return next(c, i);
}
void cmc(Core& c, const Insn* i) {
    c.aflags ^= hflags::CF;
    return next(c, i);
}
void cld(Core& c, const Insn* i) {
    c.sysflags &= ~cpu::rflags::DF;
    return next(c, i);
}
void std_(Core& c, const Insn* i) {
    c.sysflags |= cpu::rflags::DF;
    return next(c, i);
}
void xlat(Core& c, const Insn* i) {
    uint64_t ea = c.gpr[cpu::RBX] + static_cast<uint8_t>(c.gpr[cpu::RAX]);
    if (i->addrsize != 8) ea = i->addrsize == 4 ? static_cast<uint32_t>(ea) : static_cast<uint16_t>(ea);
    const uint64_t linear = i->flat ? ea : c.segmented(i, i->seg, ea, 1, Acc::Read);
    write_low<uint8_t>(c, cpu::RAX, c.load<uint8_t>(i, linear));
    return next(c, i);
}

Handler pick_mov(const Insn& i) {
    switch (i.opcode) {
    case 0x88: case 0x89: case 0x8a: case 0x8b:
        return with_size_or_byte(i, [&]<typename T>(T) -> Handler {
            if (i.opcode < 0x8a) return i.mem ? mov_rm_reg<T, true> : mov_rm_reg<T, false>;
            return i.mem ? mov_reg_rm<T, true> : mov_reg_rm<T, false>;
        });
    case 0x8c:
        if (group_of(i) > 5) return nullptr;
        return with_size(i, [&]<typename T>(T) -> Handler { return i.mem ? mov_rm_sreg<T, true> : mov_rm_sreg<T, false>; });
    case 0xa0: case 0xa1: return with_size_or_byte(i, []<typename T>(T) -> Handler { return mov_acc_moffs<T>; });
    case 0xa2: case 0xa3: return with_size_or_byte(i, []<typename T>(T) -> Handler { return mov_moffs_acc<T>; });
    case 0xc6: case 0xc7:
        if (group_of(i) != 0) return nullptr;
        return with_size_or_byte(i, [&]<typename T>(T) -> Handler { return i.mem ? mov_rm_imm<T, true> : mov_rm_imm<T, false>; });
    default: break;
    }
    if (i.opcode >= 0xb0 && i.opcode <= 0xb7) return mov_rm_imm<uint8_t, false>;  // the decoder puts the register into rm too
    if (i.opcode >= 0xb8 && i.opcode <= 0xbf)
        return i.opsize == 8 ? mov_reg_imm64 : i.opsize == 4 ? mov_rm_imm<uint32_t, false> : mov_rm_imm<uint16_t, false>;
    return nullptr;
}

Handler pick_exchange(const Insn& i) {
    if (i.opcode == 0x86 || i.opcode == 0x87)
        return with_size_or_byte(i, [&]<typename T>(T) -> Handler { return i.mem ? xchg_mem<T> : xchg_reg<T>; });
    if (i.opcode >= 0x90 && i.opcode <= 0x97 && i.reg != 0)  // 0: NOP, PAUSE
        return with_size(i, []<typename T>(T) -> Handler { return xchg_acc<T>; });
    return nullptr;
}

Handler pick_lea(const Insn& i) {
    if (!i.mem) return nullptr;
    const bool flat = i.flat;
    return with_size(i, [&]<typename T>(T) -> Handler { return flat ? lea_flat<T> : lea<T>; });
}

Handler pick_single(const Insn& i) {
    switch (i.opcode) {
    case 0x63:  // MOVSXD; in legacy modes ARPL, a system instruction
        return in_mode64(i) ? i.opsize == 2 ? (i.mem ? mov_reg_rm<uint16_t, true> : mov_reg_rm<uint16_t, false>)
                                            : pick_extend<int32_t>(i)
                            : nullptr;
    case 0x8d: return pick_lea(i);
    case 0x98: return with_size(i, []<typename T>(T) -> Handler { return extend_acc<T>; });
    case 0x99: return with_size(i, []<typename T>(T) -> Handler { return extend_to_dx<T>; });
    case 0x9e: return sahf;
    case 0x9f: return lahf;
    case 0xd7: return xlat;
    case 0xf5: return cmc;
    case 0xf8: return clc;
    case 0xf9: return stc;
    case 0xfc: return cld;
    case 0xfd: return std_;
    default: return nullptr;
    }
}

Handler pick_two_byte(const Insn& i) {
    const unsigned condition = i.opcode & 15;
    if (i.opcode >= 0x40 && i.opcode <= 0x4f)
        return with_size(i, [&]<typename T>(T) -> Handler { return i.mem ? cmov_of<T, true>(condition) : cmov_of<T, false>(condition); });
    if (i.opcode >= 0x90 && i.opcode <= 0x9f) return i.mem ? setcc_of<true>(condition) : setcc_of<false>(condition);
    switch (i.opcode) {
    case 0xb6: return pick_extend<uint8_t>(i);
    case 0xb7: return pick_extend<uint16_t>(i);
    case 0xbe: return pick_extend<int8_t>(i);
    case 0xbf: return pick_extend<int16_t>(i);
    default: return nullptr;
    }
}

}  // namespace

Selected select_move(const Insn& i) {
    if (i.map == Map::Of) return {pick_two_byte(i)};
    if (i.map != Map::One) return {};
    Handler h = pick_mov(i);
    if (!h) h = pick_exchange(i);
    if (!h) h = pick_single(i);
    return {h};
}

}  // namespace yado::cpu_interp
