// IRET in all modes, INT n, INT3, INTO, INT1 (SDM vol. 2, IRET, INT).
#include "cpu_interp/system/handlers.h"
#include "cpu_interp/system/transfer.h"

namespace yado::cpu_interp {

namespace {

namespace rf = cpu::rflags;

struct Frame {
    uint64_t ip, flags;
    uint16_t cs;
};

/// Flags that IRET at `cpl` may change (SDM vol. 2, IRET).
uint64_t changeable(const Core& c, unsigned cpl, unsigned size) {
    uint64_t mask = rf::ARITH | rf::TF | rf::DF | rf::NT;
    if (size >= 4) mask |= rf::RF | rf::AC | rf::ID;
    if (cpl <= iopl(c)) mask |= rf::IF;
    if (cpl == 0) mask |= rf::IOPL | (size >= 4 ? rf::VIF | rf::VIP : 0);
    return mask;
}

/// RF only matters to instruction breakpoints; without one it is dropped here, so that nobody has to clear it later.
uint64_t keep_rf(const Core& c, uint64_t flags) { return c.dr7 & 0xff ? flags : flags & ~rf::RF; }

void finish(Core& c) {
    c.nmi_blocked = false;
    c.update_mode();
}

Frame pop_frame(StackFrame& stack, unsigned size) {
    Frame f{};
    f.ip = stack.pop(size);
    f.cs = static_cast<uint16_t>(stack.pop(size));
    f.flags = stack.pop(size);
    return f;
}

void iret_paragraph(Core& c, const Insn* i) {
    if (vm86(c) && iopl(c) < 3) c.raise(i, Vec::GP, 0);
    StackFrame stack(c, i);
    const Frame f = pop_frame(stack, i->opsize);
    if (f.ip > c.seg[cpu::CS].limit) c.raise(i, Vec::GP, 0);
    uint64_t mask = rf::ARITH | rf::TF | rf::IF | rf::DF | rf::NT;
    if (!vm86(c)) mask |= rf::IOPL;
    if (i->opsize == 4) mask |= rf::RF | rf::AC | rf::ID;
    c.gpr[cpu::RSP] = stack.merged(c.gpr[cpu::RSP]);
    load_paragraph(c, cpu::CS, f.cs);
    c.rip = f.ip;
    c.set_rflags(keep_rf(c, f.flags), mask);
    finish(c);
}

/// From CPL 0 with VM in the popped flags (SDM vol. 3, 20.2.1).
void iret_to_vm86(Core& c, const Insn* i, const Frame& f, StackFrame& stack) {
    const uint64_t sp = stack.pop(4);
    uint16_t selectors[6];
    for (const unsigned seg : {cpu::SS, cpu::ES, cpu::DS, cpu::FS, cpu::GS})
        selectors[seg] = static_cast<uint16_t>(stack.pop(4));
    selectors[cpu::CS] = f.cs;
    if (f.ip > 0xffff) c.raise(i, Vec::GP, 0);
    c.set_rflags(keep_rf(c, f.flags), 0x3f'7fd5);
    for (unsigned seg = 0; seg < 6; ++seg) load_paragraph(c, seg, selectors[seg]);
    c.gpr[cpu::RSP] = static_cast<uint32_t>(sp);
    c.rip = f.ip;
    finish(c);
}

void check_code(Core& c, const Insn* i, const Descriptor& d, uint16_t selector) {
    const unsigned rpl = selector & 3;
    const bool level_ok = d.conforming() ? d.dpl() <= rpl : d.dpl() == rpl;
    const bool bad_size = long_mode(c) && d.long_code() && d.big();
    if (!d.is_code() || rpl < c.cpl || !level_ok || bad_size) c.raise(i, Vec::GP, selector & 0xfffc);
    if (!d.present()) c.raise(i, Vec::NP, selector & 0xfffc);
}

void check_ip(Core& c, const Insn* i, const Descriptor& d, uint64_t ip) {
    const bool to64 = long_mode(c) && d.long_code();
    if (to64 ? !canonical(ip) : static_cast<uint32_t>(ip) > d.limit()) c.raise(i, Vec::GP, 0);
}

void iret_protected(Core& c, const Insn* i) {
    const unsigned size = i->opsize;
    StackFrame stack(c, i);
    const Frame f = pop_frame(stack, size);
    if (size == 4 && f.flags & rf::VM && c.cpl == 0 && !long_mode(c)) return iret_to_vm86(c, i, f, stack);
    if (null_selector(f.cs)) c.raise(i, Vec::GP, 0);
    Descriptor d = need_descriptor(c, i, f.cs, Vec::GP);
    check_code(c, i, d, f.cs);
    check_ip(c, i, d, f.ip);
    const unsigned rpl = f.cs & 3, old_cpl = c.cpl;
    const bool to64 = long_mode(c) && d.long_code();
    cpu::Segment ss = c.seg[cpu::SS];
    uint64_t rsp = 0;
    if (rpl > c.cpl || c.code_mode == CodeMode::Bits64) {
        const uint64_t sp = stack.pop(size);
        const auto selector = static_cast<uint16_t>(stack.pop(size));
        if (null_selector(selector) && to64 && rpl != 3) {
            if ((selector & 3u) != rpl) c.raise(i, Vec::GP, 0);
            ss = null_stack_segment(selector, rpl);
        } else {
            ss = check_stack_segment(c, i, selector, rpl, Vec::GP);
        }
        rsp = StackFrame(c, i, ss, sp, rpl, to64).merged(c.gpr[cpu::RSP]);
    } else {
        rsp = stack.merged(c.gpr[cpu::RSP]);
    }
    const uint64_t mask = changeable(c, old_cpl, size);
    set_accessed(c, i, d);
    c.seg[cpu::CS] = code_segment(d, f.cs, rpl);
    c.seg[cpu::SS] = ss;
    c.gpr[cpu::RSP] = rsp;
    c.rip = to64 ? f.ip : static_cast<uint32_t>(f.ip);
    if (rpl > old_cpl) drop_inner_segments(c, rpl);
    c.set_rflags(keep_rf(c, f.flags), mask);
    finish(c);
}

void iret_task(Core& c, const Insn* i) {
    const auto back = c.load_system<uint16_t>(i, c.tr.base);
    task_switch(c, i, back, TaskCause::Iret, c.next_rip(i));
    c.nmi_blocked = false;
}

/// INT n and its kin: a fault on the way is the instruction's own fault.
void software_interrupt(Core& c, const Insn* i, Core::EventKind kind, uint8_t vector) {
    enter_event(c, i, kind, vector, false, 0, c.next_rip(i));
}

}  // namespace

namespace op {

void iret(Core& c, const Insn* i) {
    if (paragraphs(c)) return iret_paragraph(c, i);
    if (c.sysflags & rf::NT) {
        if (long_mode(c)) c.raise(i, Vec::GP, 0);
        return iret_task(c, i);
    }
    iret_protected(c, i);
}

void int_n(Core& c, const Insn* i) {
    software_interrupt(c, i, Core::EventKind::SoftwareInt, static_cast<uint8_t>(i->imm));
}
void int3(Core& c, const Insn* i) { software_interrupt(c, i, Core::EventKind::Int3, 3); }
void into(Core& c, const Insn* i) {
    if (c.aflags & hflags::OF) return software_interrupt(c, i, Core::EventKind::Into, 4);
    c.rip = c.next_rip(i);
}
/// INT1: as #DB raised by hardware, a trap; no DPL check.
void icebp(Core& c, const Insn* i) { enter_event(c, i, Core::EventKind::Icebp, 1, false, 0, c.next_rip(i)); }

}  // namespace op

}  // namespace yado::cpu_interp
