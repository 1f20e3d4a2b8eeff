// Two-operand arithmetic and logic in all forms, and the read-modify-write instructions beside it. SDM vol. 2.
#include "cpu_interp/integer/flags.h"
#include "cpu_interp/integer/operands.h"
#include "cpu_interp/integer/select.h"

namespace yado::cpu_interp {

namespace {

template <typename T>
T immediate(const Insn* i) {
    return static_cast<T>(static_cast<int64_t>(i->imm));
}

/// r/m = r/m op b, or only the flags.
template <typename Op, typename T, bool Mem, bool Lock>
[[gnu::always_inline]] inline void apply(Core& c, const Insn* i, T b) {
    uint16_t flags = c.aflags;
    if constexpr (Op::kWrites) {
        const uint16_t before = flags;
        modify<T, Mem, Lock>(c, i, [&flags, before, b](T a) {
            flags = before;
            return Op::run(a, b, flags);
        });
    } else {
        Op::run(read_rm<T, Mem>(c, i), b, flags);
    }
    c.aflags = flags;
}

template <typename Op, typename T, bool Mem, bool Lock>
void rm_reg(Core& c, const Insn* i) {
    apply<Op, T, Mem, Lock>(c, i, read_register<T>(c, i, i->reg));
    return next(c, i);
}
template <typename Op, typename T, bool Mem, bool Lock>
void rm_imm(Core& c, const Insn* i) {
    apply<Op, T, Mem, Lock>(c, i, immediate<T>(i));
    return next(c, i);
}
template <typename Op, typename T, bool Mem>
void reg_rm(Core& c, const Insn* i) {
    const T b = read_rm<T, Mem>(c, i);
    uint16_t flags = c.aflags;
    const T r = Op::run(read_register<T>(c, i, i->reg), b, flags);
    if constexpr (Op::kWrites) write_register<T>(c, i, i->reg, r);
    c.aflags = flags;
    return next(c, i);
}
template <typename Op, typename T>
void acc_imm(Core& c, const Insn* i) {
    uint16_t flags = c.aflags;
    const T r = Op::run(read_low<T>(c, cpu::RAX), immediate<T>(i), flags);
    if constexpr (Op::kWrites) write_low<T>(c, cpu::RAX, r);
    c.aflags = flags;
    return next(c, i);
}
template <typename Op, typename T, bool Mem, bool Lock>
void unary(Core& c, const Insn* i) {
    {  // the scope ends the locals' lives before the tail call
        uint16_t flags = c.aflags;
        const uint16_t before = flags;
        modify<T, Mem, Lock>(c, i, [&flags, before](T a) {
            flags = before;
            return Op::run(a, flags);
        });
        c.aflags = flags;
    }
    return next(c, i);
}

template <typename Op, bool Mem, bool Lock>
Handler pick_rm_reg(const Insn& i) {
    return with_size_or_byte(i, []<typename T>(T) -> Handler { return rm_reg<Op, T, Mem, Lock>; });
}
template <typename Op, bool Mem, bool Lock>
Handler pick_rm_imm(const Insn& i) {
    return with_size_or_byte(i, []<typename T>(T) -> Handler { return rm_imm<Op, T, Mem, Lock>; });
}
template <typename Op>
Handler pick_reg_rm(const Insn& i) {
    return with_size_or_byte(i, [&]<typename T>(T) -> Handler { return i.mem ? reg_rm<Op, T, true> : reg_rm<Op, T, false>; });
}
template <typename Op>
Handler pick_acc_imm(const Insn& i) {
    return with_size_or_byte(i, []<typename T>(T) -> Handler { return acc_imm<Op, T>; });
}
template <typename Op>
Handler pick_unary(const Insn& i) {
    return with_size_or_byte(i, [&]<typename T>(T) -> Handler {
        if (!i.mem) return unary<Op, T, false, false>;
        return i.lock ? unary<Op, T, true, true> : unary<Op, T, true, false>;
    });
}

/// Opcode columns 0 to 5 of an arithmetic row; 6: group 1 (immediate).
enum class Form { RmReg, RegRm, AccImm, RmImm };

template <typename Op>
Handler pick_binary(const Insn& i, Form form) {
    const bool lock = i.lock && Op::kWrites;
    switch (form) {
    case Form::RmReg:
        if (!i.mem) return pick_rm_reg<Op, false, false>(i);
        return lock ? pick_rm_reg<Op, true, true>(i) : pick_rm_reg<Op, true, false>(i);
    case Form::RegRm: return pick_reg_rm<Op>(i);
    case Form::AccImm: return pick_acc_imm<Op>(i);
    case Form::RmImm:
        if (!i.mem) return pick_rm_imm<Op, false, false>(i);
        return lock ? pick_rm_imm<Op, true, true>(i) : pick_rm_imm<Op, true, false>(i);
    }
    return nullptr;
}

Handler pick_row(const Insn& i, unsigned row, Form form) {
    switch (row) {
    case 0: return pick_binary<op::Add>(i, form);
    case 1: return pick_binary<op::Or>(i, form);
    case 2: return pick_binary<op::Adc>(i, form);
    case 3: return pick_binary<op::Sbb>(i, form);
    case 4: return pick_binary<op::And>(i, form);
    case 5: return pick_binary<op::Sub>(i, form);
    case 6: return pick_binary<op::Xor>(i, form);
    default: return pick_binary<op::Cmp>(i, form);
    }
}

template <typename T, bool Mem, bool Lock>
[[gnu::always_inline]] inline void do_xadd(Core& c, const Insn* i) {
    const T b = read_register<T>(c, i, i->reg);
    uint16_t flags = 0;
    T old{};
    modify<T, Mem, Lock>(c, i, [&flags, &old, b](T a) {
        old = a;
        return op::Add::run(a, b, flags);
    });
    c.aflags = flags;
    if constexpr (Mem) {
        write_register<T>(c, i, i->reg, old);
    } else {  // XADD r, r with one register leaves the sum: the destination is written last
        const T sum = read_register<T>(c, i, i->rm);
        write_register<T>(c, i, i->reg, old);
        write_register<T>(c, i, i->rm, sum);
    }
}
template <typename T, bool Mem, bool Lock>
void xadd(Core& c, const Insn* i) {
    do_xadd<T, Mem, Lock>(c, i);
    return next(c, i);
}

/// Memory is always written: with its old value if the comparison fails.
template <typename T, bool Lock>
[[gnu::always_inline]] inline void do_cmpxchg_mem(Core& c, const Insn* i) {
    const T expected = read_low<T>(c, cpu::RAX), desired = read_register<T>(c, i, i->reg);
    T old{};
    modify<T, true, Lock>(c, i, [&old, expected, desired](T a) {
        old = a;
        return a == expected ? desired : a;
    });
    op::Cmp::run(expected, old, c.aflags);
    if (old != expected) write_low<T>(c, cpu::RAX, old);
}
template <typename T, bool Lock>
void cmpxchg_mem(Core& c, const Insn* i) {
    do_cmpxchg_mem<T, Lock>(c, i);
    return next(c, i);
}
template <typename T>
void cmpxchg_reg(Core& c, const Insn* i) {
    const T expected = read_low<T>(c, cpu::RAX), source = read_register<T>(c, i, i->reg), old = read_register<T>(c, i, i->rm);
    op::Cmp::run(expected, old, c.aflags);
    if (old == expected) {
        write_register<T>(c, i, i->rm, source);
    } else {
        write_low<T>(c, cpu::RAX, old);
    }
    return next(c, i);
}

template <typename T>  // T: half of the operand, as wide as EDX:EAX's parts
struct Pair {
    T low, high;
    friend bool operator==(const Pair&, const Pair&) = default;
};

bool compare_exchange(Pair<uint32_t>* p, Pair<uint32_t>& expected, const Pair<uint32_t>& desired) {
    return __atomic_compare_exchange(reinterpret_cast<uint64_t*>(p), reinterpret_cast<uint64_t*>(&expected),
                                     reinterpret_cast<uint64_t*>(const_cast<Pair<uint32_t>*>(&desired)), false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
}
bool compare_exchange(Pair<uint64_t>* p, Pair<uint64_t>& expected, const Pair<uint64_t>& desired) {
    bool equal;
    asm volatile("lock cmpxchg16b %1"
                 : "=@ccz"(equal), "+m"(*p), "+a"(expected.low), "+d"(expected.high)
                 : "b"(desired.low), "c"(desired.high)
                 : "memory");
    return equal;
}

/// CMPXCHG8B, CMPXCHG16B. Done atomically whether LOCKed or not.
template <typename T>
[[gnu::always_inline]] inline void do_cmpxchg_pair(Core& c, const Insn* i) {
    using P = Pair<T>;
    const uint64_t linear = c.address(i, sizeof(P), Acc::Write);
    if (sizeof(P) == 16 && linear % 16) c.raise(i, Vec::GP, 0);
    P expected{read_low<T>(c, cpu::RAX), read_low<T>(c, cpu::RDX)};
    const P desired{read_low<T>(c, cpu::RBX), read_low<T>(c, cpu::RCX)};
    bool equal = false;
    if (P* p = lock_pointer<P>(c, i, linear)) {
        equal = compare_exchange(p, expected, desired);
    } else {
        P old{};
        modify_stopped<P>(c, i, linear, [&](const P& a) {
            old = a;
            return a == expected ? desired : a;
        });
        equal = old == expected;
        expected = old;
    }
    c.aflags = equal ? c.aflags | hflags::ZF : c.aflags & ~hflags::ZF;
    if (!equal) {
        write_low<T>(c, cpu::RAX, expected.low);
        write_low<T>(c, cpu::RDX, expected.high);
    }
}
template <typename T>
void cmpxchg_pair(Core& c, const Insn* i) {
    do_cmpxchg_pair<T>(c, i);
    return next(c, i);
}

Handler pick_group3(const Insn& i) {
    switch (group_of(i)) {
    case 0: case 1: return pick_binary<op::Test>(i, Form::RmImm);
    case 2: return pick_unary<op::Not>(i);
    case 3: return pick_unary<op::Neg>(i);
    default: return nullptr;
    }
}

Handler pick_one_byte(const Insn& i) {
    if (i.opcode < 0x40 && (i.opcode & 7) < 6) {
        const unsigned column = i.opcode & 7;
        return pick_row(i, i.opcode >> 3, column < 2 ? Form::RmReg : column < 4 ? Form::RegRm : Form::AccImm);
    }
    if (i.opcode >= 0x40 && i.opcode <= 0x4f)  // outside 64-bit mode; the decoder puts the register into rm too
        return with_size(i, [&]<typename T>(T) -> Handler {
            return i.opcode < 0x48 ? unary<op::Inc, T, false, false> : unary<op::Dec, T, false, false>;
        });
    switch (i.opcode) {
    case 0x80: case 0x81: case 0x82: return pick_row(i, group_of(i), Form::RmImm);
    case 0x83: return pick_row(i, group_of(i), Form::RmImm);
    case 0x84: case 0x85: return pick_binary<op::Test>(i, Form::RmReg);
    case 0xa8: case 0xa9: return pick_binary<op::Test>(i, Form::AccImm);
    case 0xf6: case 0xf7: return pick_group3(i);
    case 0xfe: case 0xff:
        if (group_of(i) == 0) return pick_unary<op::Inc>(i);
        return group_of(i) == 1 ? pick_unary<op::Dec>(i) : nullptr;
    default: return nullptr;
    }
}

Handler pick_two_byte(const Insn& i) {
    switch (i.opcode) {
    case 0xb0: case 0xb1:
        return with_size_or_byte(i, [&]<typename T>(T) -> Handler {
            if (!i.mem) return cmpxchg_reg<T>;
            return i.lock ? cmpxchg_mem<T, true> : cmpxchg_mem<T, false>;
        });
    case 0xc0: case 0xc1:
        return with_size_or_byte(i, [&]<typename T>(T) -> Handler {
            if (!i.mem) return xadd<T, false, false>;
            return i.lock ? xadd<T, true, true> : xadd<T, true, false>;
        });
    case 0xc7:
        if (group_of(i) != 1 || !i.mem) return nullptr;
        return i.rex_w ? cmpxchg_pair<uint64_t> : cmpxchg_pair<uint32_t>;
    default: return nullptr;
    }
}

}  // namespace

Selected select_alu(const Insn& i) {
    if (i.map == Map::One) return {pick_one_byte(i)};
    return {i.map == Map::Of ? pick_two_byte(i) : nullptr};
}

}  // namespace yado::cpu_interp
