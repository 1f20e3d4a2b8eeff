// PUSH, POP in all forms, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE. SDM vol. 2.
#include "cpu_interp/integer/stack.h"

#include "cpu_interp/integer/operands.h"
#include "cpu_interp/integer/select.h"

namespace yado::cpu_interp {

namespace {

namespace rf = cpu::rflags;

/// Puts RSP back if a later part of the instruction faults.
class StackGuard {
  public:
    explicit StackGuard(Core& c) : core_(c), rsp_(c.gpr[cpu::RSP]) {}
    ~StackGuard() {
        if (armed_) core_.gpr[cpu::RSP] = rsp_;
    }
    void commit() { armed_ = false; }

  private:
    Core& core_;
    uint64_t rsp_;
    bool armed_ = true;
};

uint64_t sized(uint64_t v, unsigned size) {
    if (size == 8) return v;
    return size == 4 ? static_cast<uint32_t>(v) : static_cast<uint16_t>(v);
}
void write_sized(Core& c, unsigned r, unsigned size, uint64_t v) {
    if (size == 2) write_low<uint16_t>(c, r, static_cast<uint16_t>(v));
    else c.gpr[r] = sized(v, size);
}

void push_reg64(Core& c, const Insn* i) {
    push64(c, i, c.gpr[i->reg]);
    return next(c, i);
}
void push_reg(Core& c, const Insn* i) {
    c.push(i, i->opsize, sized(c.gpr[i->reg], i->opsize));
    return next(c, i);
}
void push_imm64(Core& c, const Insn* i) {
    push64(c, i, static_cast<uint64_t>(static_cast<int64_t>(i->imm)));
    return next(c, i);
}
void push_imm(Core& c, const Insn* i) {
    c.push(i, i->opsize, sized(static_cast<uint64_t>(static_cast<int64_t>(i->imm)), i->opsize));
    return next(c, i);
}
template <typename T, bool Mem>
void push_rm(Core& c, const Insn* i) {
    const T v = read_rm<T, Mem>(c, i);
    if constexpr (sizeof(T) == 8) push64(c, i, v);
    else c.push(i, sizeof(T), v);
    return next(c, i);
}
/// Pushes zero-extended; processors may write only the selector's 16 bits, which nothing can tell apart but memory.
void push_segment(Core& c, const Insn* i) {
    const unsigned s = i->map == Map::Of ? (i->opcode == 0xa0 ? cpu::FS : cpu::GS) : i->opcode >> 3 & 3;
    c.push(i, i->opsize, c.seg[s].selector);
    return next(c, i);
}

void pop_reg64(Core& c, const Insn* i) {
    const uint64_t v = top64(c, i);
    c.gpr[cpu::RSP] += 8;
    c.gpr[i->reg] = v;
    return next(c, i);
}
void pop_reg(Core& c, const Insn* i) {
    write_sized(c, i->reg, i->opsize, c.pop(i, i->opsize));
    return next(c, i);
}
/// A memory destination's address uses RSP after the pop.
template <typename T, bool Mem>
void pop_rm(Core& c, const Insn* i) {
    StackGuard guard(c);
    const T v = static_cast<T>(c.pop(i, sizeof(T)));
    write_rm<T, Mem>(c, i, v);
    guard.commit();
}
template <typename T, bool Mem>
void pop_rm_next(Core& c, const Insn* i) {
    pop_rm<T, Mem>(c, i);
    return next(c, i);
}

void do_pusha(Core& c, const Insn* i) {
    StackGuard guard(c);
    const uint64_t rsp = c.gpr[cpu::RSP];
    for (unsigned r = 0; r < 8; ++r) c.push(i, i->opsize, sized(r == cpu::RSP ? rsp : c.gpr[r], i->opsize));
    guard.commit();
}
void pusha(Core& c, const Insn* i) {
    do_pusha(c, i);
    return next(c, i);
}
void do_popa(Core& c, const Insn* i) {
    StackGuard guard(c);
    uint64_t v[8];
    for (unsigned r = 8; r-- > 0;) v[r] = c.pop(i, i->opsize);
    guard.commit();
    for (unsigned r = 0; r < 8; ++r)
        if (r != cpu::RSP) write_sized(c, r, i->opsize, v[r]);
}
void popa(Core& c, const Insn* i) {
    do_popa(c, i);
    return next(c, i);
}

unsigned iopl(const Core& c) { return c.sysflags >> 12 & 3; }
bool virtual8086(const Core& c) { return c.sysflags & rf::VM; }
/// Virtual-8086 mode extensions virtualize a 16-bit PUSHF and POPF (SDM vol. 3, 20.3.3).
bool vme(const Core& c, const Insn* i) { return c.cr4 & cpu::cr4::VME && i->opsize == 2; }

void pushf(Core& c, const Insn* i) {
    uint64_t image = c.rflags() & ~(rf::VM | rf::RF);
    if (virtual8086(c) && iopl(c) < 3) {
        if (!vme(c, i)) c.raise(i, Vec::GP, 0);
        image = (image | rf::IOPL) & ~rf::IF;
        if (c.sysflags & rf::VIF) image |= rf::IF;
    }
    c.push(i, i->opsize, sized(image, i->opsize));
    return next(c, i);
}

void popf_vme(Core& c, const Insn* i) {
    StackGuard guard(c);
    const uint64_t v = c.pop(i, 2);
    if (v & rf::TF || (v & rf::IF && c.sysflags & rf::VIP)) c.raise(i, Vec::GP, 0);
    c.set_rflags(v, rf::ARITH | rf::TF | rf::DF | rf::NT);
    c.sysflags = v & rf::IF ? c.sysflags | rf::VIF : c.sysflags & ~rf::VIF;
    guard.commit();
}
void do_popf(Core& c, const Insn* i) {
    if (virtual8086(c) && iopl(c) < 3) {
        if (!vme(c, i)) c.raise(i, Vec::GP, 0);
        return popf_vme(c, i);
    }
    uint64_t changeable = rf::ARITH | rf::TF | rf::DF | rf::NT | rf::AC | rf::ID;
    if (c.cpl == 0) changeable |= rf::IOPL;
    if (c.cpl <= iopl(c)) changeable |= rf::IF;
    if (i->opsize == 2) changeable &= 0xffff;
    else changeable |= rf::RF;
    c.set_rflags(c.pop(i, i->opsize) & ~rf::RF, changeable);
}
/// Ends the block: IF, TF and AC may have changed.
void popf(Core& c, const Insn* i) {
    do_popf(c, i);
    c.update_mode();
    c.rip = c.next_rip(i);
}

/// ENTER's copies of frame pointers, then its own.
void push_frames(Core& c, const Insn* i, unsigned level, uint64_t frame) {
    const unsigned size = i->opsize;
    uint64_t rbp = c.gpr[cpu::RBP];
    for (unsigned k = 1; k < level; ++k) {
        rbp -= size;
        const uint64_t at = c.stack64 ? rbp : c.stack32 ? static_cast<uint32_t>(rbp) : static_cast<uint16_t>(rbp);
        const uint64_t linear = c.segmented(i, cpu::SS, at, size, Acc::Read);
        uint64_t v = 0;
        c.load_slow(i, linear, &v, size);
        c.push(i, size, v);
    }
    if (level > 0) c.push(i, size, sized(frame, size));
}
void do_enter(Core& c, const Insn* i) {
    StackGuard guard(c);
    c.push(i, i->opsize, sized(c.gpr[cpu::RBP], i->opsize));
    const uint64_t frame = c.gpr[cpu::RSP];  // as wide as the operand, whatever the stack
    push_frames(c, i, static_cast<unsigned>(i->disp) & 31, frame);
    const uint64_t top = stack_pointer(c) - static_cast<uint16_t>(i->imm);
    // SDM: a push at the new top must be possible, or the stack fault comes here.
    const uint64_t probe = c.stack64 ? top : c.stack32 ? static_cast<uint32_t>(top) : static_cast<uint16_t>(top);
    c.probe_write(i, c.segmented(i, cpu::SS, probe, i->opsize, Acc::Write), i->opsize);
    set_stack_pointer(c, top);
    guard.commit();
    write_sized(c, cpu::RBP, i->opsize, frame);
}
void enter_frame(Core& c, const Insn* i) {
    do_enter(c, i);
    return next(c, i);
}

void do_leave(Core& c, const Insn* i) {
    StackGuard guard(c);
    set_stack_pointer(c, c.gpr[cpu::RBP]);
    const uint64_t v = c.pop(i, i->opsize);
    guard.commit();
    write_sized(c, cpu::RBP, i->opsize, v);
}
void leave(Core& c, const Insn* i) {
    do_leave(c, i);
    return next(c, i);
}

void leave64(Core& c, const Insn* i) {
    const uint64_t rbp = c.gpr[cpu::RBP];
    const TlbEntry& e = c.tlb_entry(Acc::Read, rbp);
    if (!e.hit(rbp, 8)) [[unlikely]] return leave(c, i);
    uint64_t v;
    std::memcpy(&v, e.at(rbp), 8);
    c.gpr[cpu::RSP] = rbp + 8;
    c.gpr[cpu::RBP] = v;
    return next(c, i);
}
Handler pick_push_rm(const Insn& i) {
    return with_size(i, [&]<typename T>(T) -> Handler { return i.mem ? push_rm<T, true> : push_rm<T, false>; });
}
Handler pick_pop_rm(const Insn& i) {
    if (group_of(i) != 0) return nullptr;
    return with_size(i, [&]<typename T>(T) -> Handler { return i.mem ? pop_rm_next<T, true> : pop_rm_next<T, false>; });
}

}  // namespace

Selected select_stack(const Insn& i) {
    const bool wide = i.opsize == 8;
    if (i.map == Map::Of) return {i.opcode == 0xa0 || i.opcode == 0xa8 ? push_segment : nullptr};
    if (i.map != Map::One) return {};
    if (i.opcode >= 0x50 && i.opcode <= 0x57) return {wide ? push_reg64 : push_reg};
    if (i.opcode >= 0x58 && i.opcode <= 0x5f) return {wide ? pop_reg64 : pop_reg};
    switch (i.opcode) {
    case 0x06: case 0x0e: case 0x16: case 0x1e: return {push_segment};
    case 0x60: return {pusha};
    case 0x61: return {popa};
    case 0x68: case 0x6a: return {wide ? push_imm64 : push_imm};
    case 0x8f: return {pick_pop_rm(i)};
    case 0x9c: return {pushf};
    case 0x9d: return {popf, true};
    case 0xc8: return {enter_frame};
    case 0xc9: return {wide ? leave64 : leave};
    case 0xff: return {group_of(i) == 6 ? pick_push_rm(i) : nullptr};
    default: return {};
    }
}

}  // namespace yado::cpu_interp
