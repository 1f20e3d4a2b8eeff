// Far JMP, CALL and RET (SDM vol. 2, CALL, JMP, RET; vol. 3, 5.8).
#include "cpu_interp/system/transfer.h"

#include "cpu_interp/system/handlers.h"

namespace yado::cpu_interp {

namespace {

struct FarPointer {
    uint16_t selector;
    uint64_t offset;
};

/// The operand of FF /3 and /5: 16:16, 16:32 or 16:64 in memory.
FarPointer memory_pointer(Core& c, const Insn* i) {
    const unsigned size = i->opsize;
    const uint64_t at = c.address(i, size + 2, Acc::Read);
    uint8_t bytes[10];
    c.load_slow(i, at, bytes, size + 2);
    FarPointer p{0, 0};
    std::memcpy(&p.offset, bytes, size);
    std::memcpy(&p.selector, bytes + size, 2);
    return p;
}

/// The operand of 9A and EA.
FarPointer immediate_pointer(const Insn* i) {
    const auto offset = static_cast<uint32_t>(i->imm);
    return {static_cast<uint16_t>(i->disp), i->opsize == 2 ? offset & 0xffff : offset};
}

/// Target checks that do not depend on where we come from; the offset is checked against the new segment.
void check_target(Core& c, const Insn* i, const Descriptor& d, uint16_t selector, uint64_t offset) {
    if (!d.present()) c.raise(i, Vec::NP, selector & 0xfffc);
    const bool to64 = long_mode(c) && d.long_code();
    if (to64 && d.big()) c.raise(i, Vec::GP, selector & 0xfffc);
    if (to64 ? !canonical(offset) : static_cast<uint32_t>(offset) > d.limit()) c.raise(i, Vec::GP, 0);
}

void commit_code(Core& c, const Insn* i, Descriptor& d, uint16_t selector, uint64_t offset, unsigned cpl) {
    set_accessed(c, i, d);
    c.seg[cpu::CS] = code_segment(d, selector, cpl);
    c.rip = long_mode(c) && d.long_code() ? offset : static_cast<uint32_t>(offset);
}

/// JMP and CALL straight to a code segment keep the CPL (SDM vol. 3, 5.8.1).
void check_direct(Core& c, const Insn* i, const Descriptor& d, uint16_t selector) {
    const unsigned rpl = selector & 3;
    const bool ok = d.conforming() ? d.dpl() <= c.cpl : rpl <= c.cpl && d.dpl() == c.cpl;
    if (!ok) c.raise(i, Vec::GP, selector & 0xfffc);
}

void paragraph_jump(Core& c, const Insn* i, FarPointer p) {
    if (static_cast<uint32_t>(p.offset) > c.seg[cpu::CS].limit) c.raise(i, Vec::GP, 0);
    load_paragraph(c, cpu::CS, p.selector);
    c.rip = static_cast<uint32_t>(p.offset);
    c.update_mode();
}

// --- gates ------------------------------------------------------------------------------------------------------------

struct Gate {
    uint16_t selector;
    uint64_t offset;
    unsigned size;  ///< of the items pushed: 2, 4, 8
    unsigned parameters;
    Descriptor code;
};

/// Checks a call gate and the code segment it names (SDM vol. 3, 5.8.4).
Gate open_gate(Core& c, const Insn* i, Descriptor& d, uint16_t selector) {
    const unsigned type = d.type();
    const bool long_gate = long_mode(c);
    if (long_gate && type != systype::CallGate32) c.raise(i, Vec::GP, selector & 0xfffc);
    if (d.dpl() < c.cpl || d.dpl() < (selector & 3u)) c.raise(i, Vec::GP, selector & 0xfffc);
    if (!d.present()) c.raise(i, Vec::NP, selector & 0xfffc);
    if (long_gate) read_upper(c, i, selector, d, Vec::GP);
    Gate g{d.gate_selector(), d.gate_offset(), 4, d.gate_parameters(), {}};
    if (long_gate) g.size = 8;
    if (type == systype::CallGate16) g.size = 2, g.offset = d.gate_offset16();
    if (null_selector(g.selector)) c.raise(i, Vec::GP, 0);
    g.code = need_descriptor(c, i, g.selector, Vec::GP);
    const bool must_be_64 = long_gate && (!g.code.long_code() || g.code.big());
    if (!g.code.is_code() || g.code.dpl() > c.cpl || must_be_64) c.raise(i, Vec::GP, g.selector & 0xfffc);
    if (!g.code.present()) c.raise(i, Vec::NP, g.selector & 0xfffc);
    return g;
}

void jump_gate(Core& c, const Insn* i, Descriptor& d, uint16_t selector) {
    Gate g = open_gate(c, i, d, selector);
    if (!g.code.conforming() && g.code.dpl() != c.cpl) c.raise(i, Vec::GP, g.selector & 0xfffc);
    check_target(c, i, g.code, g.selector, g.offset);
    commit_code(c, i, g.code, g.selector, g.offset, c.cpl);
    c.update_mode();
}

/// CALL through a gate to an inner privilege: a new stack from the TSS, parameters copied.
void call_inner(Core& c, const Insn* i, Gate& g) {
    const unsigned cpl = g.code.dpl();
    const bool to64 = g.size == 8;
    InnerStack inner = to64 ? InnerStack{0, tss64_stack(c, i, 4 + 8 * cpl)} : inner_stack(c, i, cpl);
    const cpu::Segment ss = to64 ? null_stack_segment(static_cast<uint16_t>(cpl), cpl)
                                 : check_stack_segment(c, i, inner.ss, cpl, Vec::TS);
    uint64_t parameters[32];
    StackFrame old(c, i);
    const unsigned count = to64 ? 0 : g.parameters;
    for (unsigned n = 0; n < count; ++n) parameters[n] = old.pop(g.size);

    check_target(c, i, g.code, g.selector, g.offset);
    StackFrame frame(c, i, ss, inner.sp, cpl, to64, to64 ? 0 : inner.ss & 0xfffc);
    frame.push(g.size, c.seg[cpu::SS].selector);
    frame.push(g.size, c.gpr[cpu::RSP]);
    for (unsigned n = count; n-- > 0;) frame.push(g.size, parameters[n]);
    frame.push(g.size, c.seg[cpu::CS].selector);
    frame.push(g.size, c.next_rip(i));
    commit_code(c, i, g.code, g.selector, g.offset, cpl);
    c.seg[cpu::SS] = ss;
    c.gpr[cpu::RSP] = frame.merged(c.gpr[cpu::RSP]);
    c.update_mode();
}

void call_gate(Core& c, const Insn* i, Descriptor& d, uint16_t selector) {
    Gate g = open_gate(c, i, d, selector);
    if (!g.code.conforming() && g.code.dpl() < c.cpl) return call_inner(c, i, g);
    check_target(c, i, g.code, g.selector, g.offset);
    StackFrame frame(c, i, c.seg[cpu::SS], c.gpr[cpu::RSP], c.cpl, c.stack64 || g.size == 8);
    frame.push(g.size, c.seg[cpu::CS].selector);
    frame.push(g.size, c.next_rip(i));
    commit_code(c, i, g.code, g.selector, g.offset, c.cpl);
    c.gpr[cpu::RSP] = frame.merged(c.gpr[cpu::RSP]);
    c.update_mode();
}

/// System descriptors as targets: call gates, task gates, TSSs.
void far_system(Core& c, const Insn* i, Descriptor& d, uint16_t selector, TaskCause cause) {
    const unsigned type = d.type();
    if (type == systype::CallGate32 || type == systype::CallGate16)
        return cause == TaskCause::Jump ? jump_gate(c, i, d, selector) : call_gate(c, i, d, selector);
    const bool tss = type == systype::Tss16 || type == systype::Tss32;
    if (long_mode(c) || (!tss && type != systype::TaskGate)) c.raise(i, Vec::GP, selector & 0xfffc);
    if (d.dpl() < c.cpl || d.dpl() < (selector & 3u)) c.raise(i, Vec::GP, selector & 0xfffc);
    const uint16_t target = tss ? selector : task_gate_target(c, i, d, selector, 0);
    task_switch(c, i, target, cause, c.next_rip(i));
}

void far_jump(Core& c, const Insn* i, FarPointer p) {
    if (paragraphs(c)) return paragraph_jump(c, i, p);
    if (null_selector(p.selector)) c.raise(i, Vec::GP, 0);
    Descriptor d = need_descriptor(c, i, p.selector, Vec::GP);
    if (!d.s()) return far_system(c, i, d, p.selector, TaskCause::Jump);
    if (!d.is_code()) c.raise(i, Vec::GP, p.selector & 0xfffc);
    check_direct(c, i, d, p.selector);
    check_target(c, i, d, p.selector, p.offset);
    commit_code(c, i, d, p.selector, p.offset, c.cpl);
    c.update_mode();
}

void far_call(Core& c, const Insn* i, FarPointer p) {
    const unsigned size = i->opsize;
    if (paragraphs(c)) {
        if (static_cast<uint32_t>(p.offset) > c.seg[cpu::CS].limit) c.raise(i, Vec::GP, 0);
        StackFrame frame(c, i);
        frame.push(size, c.seg[cpu::CS].selector);
        frame.push(size, c.next_rip(i));
        c.gpr[cpu::RSP] = frame.merged(c.gpr[cpu::RSP]);
        return paragraph_jump(c, i, p);
    }
    if (null_selector(p.selector)) c.raise(i, Vec::GP, 0);
    Descriptor d = need_descriptor(c, i, p.selector, Vec::GP);
    if (!d.s()) return far_system(c, i, d, p.selector, TaskCause::Call);
    if (!d.is_code()) c.raise(i, Vec::GP, p.selector & 0xfffc);
    check_direct(c, i, d, p.selector);
    check_target(c, i, d, p.selector, p.offset);
    StackFrame frame(c, i);
    frame.push(size, c.seg[cpu::CS].selector);
    frame.push(size, c.next_rip(i));
    commit_code(c, i, d, p.selector, p.offset, c.cpl);
    c.gpr[cpu::RSP] = frame.merged(c.gpr[cpu::RSP]);
    c.update_mode();
}

/// Pops SS and SP of the outer level and drops segments it may not use; shared form of RET and IRET is in iret.cpp.
void return_outer(Core& c, const Insn* i, Descriptor& d, FarPointer p, StackFrame& frame, uint64_t release) {
    const unsigned rpl = p.selector & 3;
    frame.release(release);
    const uint64_t sp = frame.pop(i->opsize);
    const auto selector = static_cast<uint16_t>(frame.pop(i->opsize));
    cpu::Segment ss;
    const bool to64 = long_mode(c) && d.long_code();
    if (null_selector(selector) && to64 && rpl != 3)
        ss = null_stack_segment(selector, rpl);
    else
        ss = check_stack_segment(c, i, selector, rpl, Vec::GP);
    check_target(c, i, d, p.selector, p.offset);
    commit_code(c, i, d, p.selector, p.offset, rpl);
    c.seg[cpu::SS] = ss;
    StackFrame outer(c, i, ss, sp, rpl, to64);
    outer.release(release);
    c.gpr[cpu::RSP] = outer.merged(c.gpr[cpu::RSP]);
    drop_inner_segments(c, rpl);
    c.update_mode();
}

void far_return(Core& c, const Insn* i, uint64_t release) {
    StackFrame frame(c, i);
    const uint64_t offset = frame.pop(i->opsize);
    const FarPointer p{static_cast<uint16_t>(frame.pop(i->opsize)), offset};
    if (paragraphs(c)) {
        frame.release(release);
        const uint64_t sp = frame.merged(c.gpr[cpu::RSP]);
        paragraph_jump(c, i, p);
        c.gpr[cpu::RSP] = sp;
        return;
    }
    if (null_selector(p.selector)) c.raise(i, Vec::GP, 0);
    Descriptor d = need_descriptor(c, i, p.selector, Vec::GP);
    const unsigned rpl = p.selector & 3;
    const bool level_ok = d.conforming() ? d.dpl() <= rpl : d.dpl() == rpl;
    if (!d.is_code() || rpl < c.cpl || !level_ok) c.raise(i, Vec::GP, p.selector & 0xfffc);
    if (!d.present()) c.raise(i, Vec::NP, p.selector & 0xfffc);
    if (rpl > c.cpl) return return_outer(c, i, d, p, frame, release);
    check_target(c, i, d, p.selector, p.offset);
    frame.release(release);
    commit_code(c, i, d, p.selector, p.offset, c.cpl);
    c.gpr[cpu::RSP] = frame.merged(c.gpr[cpu::RSP]);
    c.update_mode();
}

}  // namespace

uint16_t task_gate_target(Core& c, const Insn* i, const Descriptor& gate, uint16_t selector, uint32_t ext) {
    if (!gate.present()) c.raise(i, Vec::NP, (selector & 0xfffc) | ext);
    return gate.gate_selector();
}

uint64_t tss64_stack(Core& c, const Insn* i, unsigned offset, uint32_t ext) {
    if (offset + 7 > c.tr.limit) c.raise(i, Vec::TS, (c.tr.selector & 0xfffc) | ext);
    const uint64_t sp = c.load_system<uint64_t>(i, c.tr.base + offset);
    if (!canonical(sp)) c.raise(i, Vec::SS, ext);
    return sp;
}

InnerStack inner_stack(Core& c, const Insn* i, unsigned cpl, uint32_t ext) {
    const bool wide = c.tr.attr & 8;  // types 9 and 11
    const unsigned offset = wide ? 4 + 8 * cpl : 2 + 4 * cpl;
    if (offset + (wide ? 5 : 3) > c.tr.limit) c.raise(i, Vec::TS, (c.tr.selector & 0xfffc) | ext);
    const uint64_t at = c.tr.base + offset;
    if (wide) return {c.load_system<uint16_t>(i, at + 4), c.load_system<uint32_t>(i, at)};
    return {c.load_system<uint16_t>(i, at + 2), c.load_system<uint16_t>(i, at)};
}

namespace op {
void jmp_far_immediate(Core& c, const Insn* i) { far_jump(c, i, immediate_pointer(i)); }
void jmp_far_memory(Core& c, const Insn* i) { far_jump(c, i, memory_pointer(c, i)); }
void call_far_immediate(Core& c, const Insn* i) { far_call(c, i, immediate_pointer(i)); }
void call_far_memory(Core& c, const Insn* i) { far_call(c, i, memory_pointer(c, i)); }
void ret_far(Core& c, const Insn* i) { far_return(c, i, 0); }
void ret_far_release(Core& c, const Insn* i) { far_return(c, i, static_cast<uint16_t>(i->imm)); }
}  // namespace op

}  // namespace yado::cpu_interp
