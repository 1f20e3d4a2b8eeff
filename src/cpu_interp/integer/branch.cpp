// Near control transfers. Every handler ends its block. SDM vol. 2; in 64-bit mode near branches are 64 bits wide
// whatever the prefixes (Intel's rule). A direct branch's slots: i + 1 falls through, i + 2 is taken (block.h).
#include "cpu_interp/chain.h"
#include "cpu_interp/integer/condition.h"
#include "cpu_interp/integer/operands.h"
#include "cpu_interp/integer/select.h"
#include "cpu_interp/integer/stack.h"

namespace yado::cpu_interp {

namespace {

template <bool Mode64>
uint64_t after(const Core& c, const Insn* i) {
    if constexpr (Mode64) return c.block_rip + i->offset + i->length;
    else return c.next_rip(i);
}
template <bool Mode64>
uint64_t target_of(const Core& c, const Insn* i) {
    const uint64_t t = after<Mode64>(c, i) + static_cast<int64_t>(i->imm);
    if constexpr (Mode64) return t;
    else return i->opsize == 2 ? static_cast<uint16_t>(t) : static_cast<uint32_t>(t);
}
/// What jump_to would raise, before anything else is done.
template <bool Mode64>
void check_target(Core& c, const Insn* i, uint64_t target) {
    if (Mode64 ? !is_canonical(target) : target > c.seg[cpu::CS].limit) [[unlikely]] c.raise(i, Vec::GP, 0);
}

template <bool Mode64>
[[gnu::always_inline]] inline void branch_if(Core& c, const Insn* i, bool taken) {
    if (taken) return go_direct(c, i, i + 2, target_of<Mode64>(c, i));
    return go_direct(c, i, i + 1, after<Mode64>(c, i));
}

template <unsigned Condition, bool Mode64>
void jcc(Core& c, const Insn* i) {
    return branch_if<Mode64>(c, i, holds<Condition>(c.aflags));
}
template <bool Mode64>
Handler jcc_of(unsigned condition) {
    static constexpr auto table = for_each_condition([]<unsigned N>() -> Handler { return jcc<N, Mode64>; });
    return table[condition];
}

template <bool Mode64>
void jmp(Core& c, const Insn* i) {
    return go_direct(c, i, i + 2, target_of<Mode64>(c, i));
}

uint64_t counter(const Core& c, const Insn* i) {
    const uint64_t rcx = c.gpr[cpu::RCX];
    if (i->addrsize == 8) return rcx;
    return i->addrsize == 4 ? static_cast<uint32_t>(rcx) : static_cast<uint16_t>(rcx);
}
void set_counter(Core& c, const Insn* i, uint64_t v) {
    if (i->addrsize == 2) write_low<uint16_t>(c, cpu::RCX, static_cast<uint16_t>(v));
    else c.gpr[cpu::RCX] = i->addrsize == 4 ? static_cast<uint32_t>(v) : v;
}
template <bool Mode64>
void jcxz(Core& c, const Insn* i) {
    return branch_if<Mode64>(c, i, counter(c, i) == 0);
}
/// LOOPNE, LOOPE, LOOP: E0, E1, E2. The counter keeps its value if the branch faults.
template <bool Mode64>
void loop(Core& c, const Insn* i) {
    const uint64_t left = counter(c, i) - 1;
    const bool zf = c.aflags & hflags::ZF;
    const uint64_t mask = i->addrsize == 8 ? ~uint64_t{0} : i->addrsize == 4 ? 0xffffffff : 0xffff;
    const bool taken = (left & mask) != 0 && (i->opcode == 0xe2 || zf == (i->opcode == 0xe1));
    if (taken) check_target<Mode64>(c, i, target_of<Mode64>(c, i));
    set_counter(c, i, left);
    return branch_if<Mode64>(c, i, taken);
}

template <bool Mode64>
void push_return(Core& c, const Insn* i) {
    if constexpr (Mode64) push64(c, i, after<true>(c, i));
    else c.push(i, i->opsize, after<false>(c, i));
}

template <bool Mode64>
void call(Core& c, const Insn* i) {
    const uint64_t target = target_of<Mode64>(c, i);
    check_target<Mode64>(c, i, target);
    push_return<Mode64>(c, i);
    return go_direct(c, i, i + 2, target);
}

template <typename T, bool Mem, bool Mode64>
void call_indirect(Core& c, const Insn* i) {
    const uint64_t target = read_rm<T, Mem>(c, i);
    check_target<Mode64>(c, i, target);
    push_return<Mode64>(c, i);
    return go_checked(c, i, target);
}
template <typename T, bool Mem>
void jmp_indirect(Core& c, const Insn* i) {
    const uint64_t target = read_rm<T, Mem>(c, i);
    return go_checked(c, i, target);
}

void ret64(Core& c, const Insn* i) {
    const uint64_t target = top64(c, i);
    Block* b = chained(c, target);
    if (!b) [[unlikely]] check_target<true>(c, i, target);
    c.gpr[cpu::RSP] += 8 + static_cast<uint16_t>(i->imm);
    if (b) [[likely]] return enter(c, b, target);
    c.rip = target;
}
uint64_t pop_return(Core& c, const Insn* i) {
    const uint64_t rsp = c.gpr[cpu::RSP];
    const uint64_t target = c.pop(i, i->opsize);
    if (target > c.seg[cpu::CS].limit) {
        c.gpr[cpu::RSP] = rsp;
        c.raise(i, Vec::GP, 0);
    }
    set_stack_pointer(c, stack_pointer(c) + static_cast<uint16_t>(i->imm));
    return target;
}
void ret(Core& c, const Insn* i) {
    const uint64_t target = pop_return(c, i);
    return go_checked(c, i, target);
}

template <bool Mode64>
Handler pick_direct(const Insn& i) {
    if (i.map == Map::Of) return i.opcode >= 0x80 && i.opcode <= 0x8f ? jcc_of<Mode64>(i.opcode & 15) : nullptr;
    if (i.opcode >= 0x70 && i.opcode <= 0x7f) return jcc_of<Mode64>(i.opcode & 15);
    switch (i.opcode) {
    case 0xe0: case 0xe1: case 0xe2: return loop<Mode64>;
    case 0xe3: return jcxz<Mode64>;
    case 0xe8: return call<Mode64>;
    case 0xe9: case 0xeb: return jmp<Mode64>;
    default: return nullptr;
    }
}
template <bool Mode64>
Handler pick_indirect(const Insn& i) {
    const bool is_call = group_of(i) == 2;
    return with_size(i, [&]<typename T>(T) -> Handler {
        if (is_call) return i.mem ? call_indirect<T, true, Mode64> : call_indirect<T, false, Mode64>;
        return i.mem ? jmp_indirect<T, true> : jmp_indirect<T, false>;
    });
}

}  // namespace

void go_direct_slow(Core& c, const Insn* i, const Insn* slot, uint64_t rip) {
    if (Block* b = chained(c, rip)) {
        if (slot->flat) set_link(slot, b);
        return enter(c, b, rip);
    }
    c.jump_to(i, rip);
}

/// The handler of a block's first slot: control runs on behind the last instruction.
void fall_through(Core& c, const Insn* slot) {
    const uint64_t rip = c.next_rip(slot);
    Block* b = link_of(slot);
    if (kChain && b && !c.requests.load(std::memory_order_relaxed)) [[likely]] return enter(c, b, rip);
    b = chained(c, rip);
    if (!b) {
        c.rip = rip;
        return;
    }
    if (slot->flat) set_link(slot, b);
    return enter(c, b, rip);
}

Selected select_branch(const Insn& i) {
    const bool mode64 = in_mode64(i);
    if (i.map != Map::One && i.map != Map::Of) return {};
    Handler h = mode64 ? pick_direct<true>(i) : pick_direct<false>(i);
    if (!h && i.map == Map::One) {
        if (i.opcode == 0xc2 || i.opcode == 0xc3) h = mode64 ? ret64 : ret;
        if (i.opcode == 0xff && (group_of(i) == 2 || group_of(i) == 4)) h = mode64 ? pick_indirect<true>(i) : pick_indirect<false>(i);
    }
    return {h, h != nullptr};
}

}  // namespace yado::cpu_interp
