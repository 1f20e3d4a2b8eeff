// Delivery of exceptions and interrupts (SDM vol. 3, chapter 6; 20.1.4 and 20.3 for real and virtual-8086 mode).
//
//   deliver() -> enter_event(): IVT, or gate -> code segment -> stack -> frame -> commit. A fault on the way is classified
//   (table 6-5): delivered instead, or as a double fault, or the end (triple fault).
#include "cpu_interp/system/transfer.h"

namespace yado::cpu_interp {

namespace {

using Kind = Core::EventKind;
namespace rf = cpu::rflags;

bool software(Kind k) { return k == Kind::SoftwareInt || k == Kind::Int3 || k == Kind::Into; }

/// What one delivery works on.
struct Event {
    Core& c;
    const Insn* i;
    Kind kind;
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint64_t return_rip;
    uint32_t ext() const { return software(kind) ? 0 : 1; }
    /// Error code that names the IDT entry (SDM vol. 3, 6.13).
    uint32_t idt_error() const { return vector * 8u + 2 + ext(); }
};

/// RFLAGS as pushed: RF is set for faults other than #DB (SDM vol. 3, 17.3.1.1).
uint64_t saved_flags(const Event& e) {
    const uint64_t flags = e.c.rflags();
    if (e.kind == Kind::Fault && e.vector != static_cast<uint8_t>(Vec::DB)) return flags | rf::RF;
    return flags;
}

/// DR7.GD is cleared on entry to the #DB handler; NMIs block further ones until IRET.
void note_entry(const Event& e) {
    e.c.sti_shadow = e.c.mov_ss_shadow = false;
    if (e.vector == static_cast<uint8_t>(Vec::DB) && !software(e.kind)) e.c.dr7 &= ~(1ull << 13);
    if (e.kind == Kind::Nmi) e.c.nmi_blocked = true;
}

void real_mode(const Event& e) {
    Core& c = e.c;
    if (e.vector * 4u + 3 > c.idtr.limit) c.raise(e.i, Vec::GP, e.idt_error());
    const auto entry = c.load_system<uint32_t>(e.i, static_cast<uint32_t>(c.idtr.base + e.vector * 4u));
    StackFrame frame(c, e.i);
    frame.push(2, saved_flags(e));
    frame.push(2, c.seg[cpu::CS].selector);
    frame.push(2, e.return_rip);
    c.gpr[cpu::RSP] = frame.merged(c.gpr[cpu::RSP]);
    load_paragraph(c, cpu::CS, static_cast<uint16_t>(entry >> 16));
    c.rip = entry & 0xffff;
    c.set_rflags(0, rf::IF | rf::TF | rf::AC | rf::RF);
    note_entry(e);
    c.update_mode();
}

Descriptor read_gate(const Event& e) {
    Core& c = e.c;
    const unsigned size = long_mode(c) ? 16 : 8;
    const uint32_t offset = e.vector * size;
    if (offset + size - 1 > c.idtr.limit) c.raise(e.i, Vec::GP, e.idt_error());
    Descriptor d;
    d.address = long_mode(c) ? c.idtr.base + offset : static_cast<uint32_t>(c.idtr.base + offset);
    d.raw = c.load_system<uint64_t>(e.i, d.address);
    if (long_mode(c)) d.upper = c.load_system<uint32_t>(e.i, d.address + 8);
    const unsigned type = d.type();
    const bool wide = type == systype::IntGate32 || type == systype::TrapGate32;
    const bool narrow = type == systype::IntGate16 || type == systype::TrapGate16 || type == systype::TaskGate;
    if (d.s() || !(wide || (narrow && !long_mode(c)))) c.raise(e.i, Vec::GP, e.idt_error());
    if (software(e.kind) && d.dpl() < c.cpl) c.raise(e.i, Vec::GP, e.idt_error());
    if (!d.present()) c.raise(e.i, Vec::NP, e.idt_error());
    return d;
}

/// The handler's code segment; it may not be less privileged than what it interrupts.
Descriptor handler_code(const Event& e, uint16_t selector) {
    Core& c = e.c;
    if (null_selector(selector)) c.raise(e.i, Vec::GP, e.ext());
    const Descriptor d = need_descriptor(c, e.i, selector, Vec::GP, e.ext());
    const uint32_t error = (selector & 0xfffc) | e.ext();
    if (!d.is_code() || d.dpl() > c.cpl) c.raise(e.i, Vec::GP, error);
    if (!d.present()) c.raise(e.i, Vec::NP, error);
    if (long_mode(c) && (!d.long_code() || d.big())) c.raise(e.i, Vec::GP, error);
    if (vm86(c) && (d.conforming() || d.dpl() != 0)) c.raise(e.i, Vec::GP, error);
    return d;
}

void commit(const Event& e, const Descriptor& gate, Descriptor& code, uint64_t offset, unsigned cpl) {
    Core& c = e.c;
    set_accessed(c, e.i, code);
    c.seg[cpu::CS] = code_segment(code, gate.gate_selector(), cpl);
    c.rip = offset;
    const bool interrupt_gate = !(gate.type() & 1);
    c.sysflags &= ~(rf::TF | rf::NT | rf::RF | rf::VM | (interrupt_gate ? rf::IF : 0));
    note_entry(e);
    c.update_mode();
}

/// SDM vol. 3, 6.14: always five items, the stack aligned to 16 bytes, IST.
void long_delivery(const Event& e, const Descriptor& gate) {
    Core& c = e.c;
    Descriptor code = handler_code(e, gate.gate_selector());
    const unsigned cpl = code.conforming() ? c.cpl : code.dpl();
    const uint64_t offset = gate.gate_offset();
    uint64_t sp = c.gpr[cpu::RSP];
    if (gate.gate_ist()) sp = tss64_stack(c, e.i, 0x24 + 8 * (gate.gate_ist() - 1), e.ext());
    else if (cpl != c.cpl) sp = tss64_stack(c, e.i, 4 + 8 * cpl, e.ext());
    if (!canonical(offset)) c.raise(e.i, Vec::GP, e.ext());

    const cpu::Segment ss = cpl == c.cpl ? c.seg[cpu::SS] : null_stack_segment(static_cast<uint16_t>(cpl), cpl);
    StackFrame frame(c, e.i, ss, sp & ~15ull, cpl, true, e.ext());
    frame.push(8, c.seg[cpu::SS].selector);
    frame.push(8, c.gpr[cpu::RSP]);
    frame.push(8, saved_flags(e));
    frame.push(8, c.seg[cpu::CS].selector);
    frame.push(8, e.return_rip);
    if (e.has_error) frame.push(8, e.error);
    c.seg[cpu::SS] = ss;
    c.gpr[cpu::RSP] = frame.sp();
    commit(e, gate, code, offset, cpl);
}

void push_frame(const Event& e, StackFrame& frame, unsigned size) {
    frame.push(size, saved_flags(e));
    frame.push(size, e.c.seg[cpu::CS].selector);
    frame.push(size, e.return_rip);
    if (e.has_error) frame.push(size, e.error);
}

void legacy_inner(const Event& e, const Descriptor& gate, Descriptor& code, uint64_t offset, unsigned size) {
    Core& c = e.c;
    const unsigned cpl = code.dpl();
    const InnerStack inner = inner_stack(c, e.i, cpl, e.ext());
    const cpu::Segment ss = check_stack_segment(c, e.i, inner.ss, cpl, Vec::TS, e.ext());
    StackFrame frame(c, e.i, ss, inner.sp, cpl, false, (inner.ss & 0xfffc) | e.ext());
    const bool from_vm86 = vm86(c);
    if (from_vm86)
        for (const unsigned seg : {cpu::GS, cpu::FS, cpu::DS, cpu::ES}) frame.push(size, c.seg[seg].selector);
    frame.push(size, c.seg[cpu::SS].selector);
    frame.push(size, c.gpr[cpu::RSP]);
    push_frame(e, frame, size);
    if (from_vm86)
        for (const unsigned seg : {cpu::GS, cpu::FS, cpu::DS, cpu::ES}) c.seg[seg] = {0, attr::Unusable, 0, 0};
    c.seg[cpu::SS] = ss;
    c.gpr[cpu::RSP] = frame.merged(c.gpr[cpu::RSP]);
    commit(e, gate, code, offset, cpl);
}

void legacy_delivery(const Event& e, const Descriptor& gate) {
    Core& c = e.c;
    if (gate.type() == systype::TaskGate) {
        const uint16_t target = task_gate_target(c, e.i, gate, gate.gate_selector(), e.ext());
        const uint32_t error = e.error;
        note_entry(e);
        return task_switch(c, software(e.kind) ? e.i : nullptr, target, TaskCause::Interrupt, e.return_rip,
                           e.has_error ? &error : nullptr);
    }
    const bool wide = gate.type() & 8;
    const unsigned size = wide ? 4 : 2;
    const uint64_t offset = wide ? static_cast<uint32_t>(gate.gate_offset()) : gate.gate_offset16();
    Descriptor code = handler_code(e, gate.gate_selector());
    if (offset > code.limit()) c.raise(e.i, Vec::GP, e.ext());
    if (!code.conforming() && code.dpl() < c.cpl) return legacy_inner(e, gate, code, offset, size);
    StackFrame frame(c, e.i);
    push_frame(e, frame, size);
    c.gpr[cpu::RSP] = frame.merged(c.gpr[cpu::RSP]);
    commit(e, gate, code, offset, c.cpl);
}

// --- double faults (SDM vol. 3, table 6-4 and 6-5) -----------------------------------------------------------------------

enum class Class : uint8_t { Benign, Contributory, PageFault, DoubleFault };

Class classify(Kind kind, uint8_t vector) {
    if (kind != Kind::Fault) return Class::Benign;  // interrupts, traps, INT n
    switch (static_cast<Vec>(vector)) {
    case Vec::DE: case Vec::TS: case Vec::NP: case Vec::SS: case Vec::GP: return Class::Contributory;
    case Vec::PF: return Class::PageFault;
    case Vec::DF: return Class::DoubleFault;
    default: return Class::Benign;
    }
}

bool makes_double_fault(Class first, Class second) {
    if (first == Class::Contributory) return second == Class::Contributory;
    return first == Class::PageFault && second != Class::Benign;
}

}  // namespace

void enter_event(Core& c, const Insn* i, Kind kind, uint8_t vector, bool has_error, uint32_t error, uint64_t return_rip) {
    const Event e{c, i, kind, vector, has_error, error, return_rip};
    if (!protected_mode(c)) return real_mode(e);
    if (kind == Kind::SoftwareInt && vm86(c) && iopl(c) < 3) c.raise(i, Vec::GP, 0);  // SDM vol. 3, 20.3.3
    const Descriptor gate = read_gate(e);
    if (long_mode(c)) return long_delivery(e, gate);
    legacy_delivery(e, gate);
}

bool Core::deliver(EventKind kind, uint8_t vector, bool has_error, uint32_t error) {
    if (kind == EventKind::External || kind == EventKind::Nmi) ++counters.interrupts;
    else ++counters.exceptions;
    // Benign faults while delivering benign faults (#AC on pushing #AC's frame) have no end on a processor, which then only
    // INIT gets out: such a guest is shut down (CVE-2015-5307 is a host that waited).
    constexpr int kMostNested = 16;
    for (int nested = 0; nested < kMostNested; ++nested) {
        try {
            enter_event(*this, nullptr, kind, vector, has_error, error, rip);
            return true;
        } catch (const GuestFault& f) {
            const Class first = classify(kind, vector);
            if (first == Class::DoubleFault) return false;
            const bool twice = makes_double_fault(first, classify(EventKind::Fault, static_cast<uint8_t>(f.vector)));
            kind = EventKind::Fault;
            vector = static_cast<uint8_t>(twice ? Vec::DF : f.vector);
            has_error = twice || f.has_error;
            error = twice ? 0 : f.error;
        }
    }
    return false;
}

}  // namespace yado::cpu_interp
