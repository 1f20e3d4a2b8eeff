// Hardware task switches (SDM vol. 3, chapter 7). Not in IA-32e mode.
//
//   check the new TSS -> read all of it -> save the old task -> busy bits, back link, NT -> commit registers
//   -> load segments; faults from there on belong to the new task (7.3, table 7-1).
#include "cpu_interp/system/transfer.h"

namespace yado::cpu_interp {

namespace {

/// Offsets of a TSS: 32-bit (figure 7-2) and 16-bit (figure 7-10).
struct Layout {
    unsigned item;       ///< size of a register
    unsigned ip;         ///< then FLAGS, then the eight GPRs
    unsigned segments;   ///< ES, CS, SS, DS (FS, GS)
    unsigned segment_count;
    unsigned segment_step;
    unsigned ldt;
    unsigned least_limit;
};
constexpr Layout k32{4, 0x20, 0x48, 6, 4, 0x60, 0x67}, k16{2, 0x0e, 0x22, 4, 2, 0x2a, 0x2b};

struct Image {
    uint64_t cr3 = 0, ip = 0, flags = 0;
    uint64_t gpr[8] = {};
    uint16_t segments[6] = {};
    uint16_t ldt = 0;
    bool debug_trap = false;
};

uint64_t read_item(Core& c, const Insn* i, uint64_t at, unsigned size) {
    uint64_t value = 0;
    c.access_system(i, static_cast<uint32_t>(at), &value, size, Acc::Read);
    return value;
}
void write_item(Core& c, const Insn* i, uint64_t at, unsigned size, uint64_t value) {
    c.access_system(i, static_cast<uint32_t>(at), &value, size, Acc::Write);
}

Image read_image(Core& c, const Insn* i, uint64_t base, const Layout& l) {
    Image m;
    if (l.item == 4) m.cr3 = read_item(c, i, base + 0x1c, 4);
    m.ip = read_item(c, i, base + l.ip, l.item);
    m.flags = read_item(c, i, base + l.ip + l.item, l.item);
    for (unsigned n = 0; n < 8; ++n) m.gpr[n] = read_item(c, i, base + l.ip + (2 + n) * l.item, l.item);
    for (unsigned n = 0; n < l.segment_count; ++n)
        m.segments[n] = static_cast<uint16_t>(read_item(c, i, base + l.segments + n * l.segment_step, 2));
    m.ldt = static_cast<uint16_t>(read_item(c, i, base + l.ldt, 2));
    if (l.item == 4) m.debug_trap = read_item(c, i, base + 0x64, 1) & 1;
    return m;
}

void save_current(Core& c, const Insn* i, const Layout& l, uint64_t return_rip, uint64_t flags) {
    const uint64_t base = c.tr.base;
    write_item(c, i, base + l.ip, l.item, return_rip);
    write_item(c, i, base + l.ip + l.item, l.item, flags);
    for (unsigned n = 0; n < 8; ++n) write_item(c, i, base + l.ip + (2 + n) * l.item, l.item, c.gpr[n]);
    for (unsigned n = 0; n < l.segment_count; ++n)
        write_item(c, i, base + l.segments + n * l.segment_step, 2, c.seg[n].selector);
}

uint64_t descriptor_address(const Core& c, uint16_t selector) {
    return static_cast<uint32_t>(c.gdtr.base + (selector & 0xfff8));
}

/// The new task's TSS descriptor; the kind of busy bit it must have depends on the cause.
Descriptor checked_tss(Core& c, const Insn* i, uint16_t selector, TaskCause cause) {
    const bool back = cause == TaskCause::Iret;
    const Vec bad = back ? Vec::TS : Vec::GP;
    const uint32_t ext = cause == TaskCause::Interrupt && !i ? 1 : 0;
    const uint32_t error = (selector & 0xfffc) | ext;
    if (selector & 4) c.raise(i, bad, error);
    const Descriptor d = need_descriptor(c, i, selector, bad, ext);
    const bool tss = !d.s() && (d.type() & 5) == 1;
    if (!tss || static_cast<bool>(d.type() & 2) != back) c.raise(i, bad, error);
    if (!d.present()) c.raise(i, Vec::NP, error);
    if (d.limit() < (d.type() & 8 ? k32 : k16).least_limit) c.raise(i, Vec::TS, error);
    return d;
}

void load_task_ldt(Core& c, uint16_t selector) {
    c.ldtr = {selector, attr::Unusable, 0, 0};
    if (null_selector(selector)) return;
    if (selector & 4) c.raise(nullptr, Vec::TS, selector & 0xfffc);
    const Descriptor d = need_descriptor(c, nullptr, selector, Vec::TS);
    if (d.s() || d.type() != systype::Ldt || !d.present()) c.raise(nullptr, Vec::TS, selector & 0xfffc);
    c.ldtr = d.segment(selector);
}

void load_task_code(Core& c, uint16_t selector) {
    if (null_selector(selector)) c.raise(nullptr, Vec::TS, 0);
    Descriptor d = need_descriptor(c, nullptr, selector, Vec::TS);
    const unsigned rpl = selector & 3;
    const bool ok = d.is_code() && (d.conforming() ? d.dpl() <= rpl : d.dpl() == rpl);
    if (!ok) c.raise(nullptr, Vec::TS, selector & 0xfffc);
    if (!d.present()) c.raise(nullptr, Vec::NP, selector & 0xfffc);
    set_accessed(c, nullptr, d);
    c.seg[cpu::CS] = code_segment(d, selector, rpl);
}

void load_task_data(Core& c, unsigned seg, uint16_t selector, unsigned cpl) {
    if (null_selector(selector)) return;
    Descriptor d = need_descriptor(c, nullptr, selector, Vec::TS);
    const bool conforming = d.is_code() && d.conforming();
    const bool level_ok = conforming || (d.dpl() >= (selector & 3u) && d.dpl() >= cpl);
    if (!d.s() || !d.readable() || !level_ok) c.raise(nullptr, Vec::TS, selector & 0xfffc);
    if (!d.present()) c.raise(nullptr, Vec::NP, selector & 0xfffc);
    set_accessed(c, nullptr, d);
    c.seg[seg] = d.segment(selector);
}

void load_segments(Core& c, const Image& m) {
    const unsigned cpl = m.segments[cpu::CS] & 3;
    for (unsigned n = 0; n < 6; ++n) c.seg[n] = {m.segments[n], attr::Unusable | attr::dpl(cpl), 0, 0};
    load_task_ldt(c, m.ldt);
    if (vm86(c)) {
        for (unsigned n = 0; n < 6; ++n) load_paragraph(c, n, m.segments[n]);
        return c.update_mode();
    }
    load_task_code(c, m.segments[cpu::CS]);
    c.seg[cpu::SS] = check_stack_segment(c, nullptr, m.segments[cpu::SS], cpl, Vec::TS);
    c.update_mode();
    for (const unsigned n : {cpu::ES, cpu::DS, cpu::FS, cpu::GS}) load_task_data(c, n, m.segments[n], cpl);
    if (c.rip > c.seg[cpu::CS].limit) c.raise(nullptr, Vec::GP, 0);
}

void switch_address_space(Core& c, uint64_t cr3) {
    if (!(c.cr0 & cpu::cr0::PG) || cr3 == c.cr3) return;
    c.cr3 = cr3;
    if (c.cr4 & cpu::cr4::PAE && !load_pdptes(c, cr3, c.system->pdpte.data())) c.raise(nullptr, Vec::TS, 0);
    c.tlb_flush_nonglobal();
}

}  // namespace

void task_switch(Core& c, const Insn* i, uint16_t selector, TaskCause cause, uint64_t return_rip, const uint32_t* error) {
    const Descriptor d = checked_tss(c, i, selector, cause);
    const Layout& now = d.type() & 8 ? k32 : k16;
    const Layout& old = c.tr.attr & 8 ? k32 : k16;
    if (c.tr.limit < old.least_limit) c.raise(i, Vec::TS, c.tr.selector & 0xfffc);
    const Image m = read_image(c, i, d.base(), now);
    const uint16_t old_selector = c.tr.selector;
    const bool nested = cause == TaskCause::Call || cause == TaskCause::Interrupt;

    if (i) c.rip = c.rip_of(i);
    i = nullptr;  // what is written from here on is not written twice: no retry of the instruction
    uint64_t flags = c.rflags();
    if (cause == TaskCause::Iret) flags &= ~cpu::rflags::NT;
    save_current(c, i, old, return_rip, flags);
    if (nested) write_item(c, i, d.base(), 2, old_selector);
    if (!nested) set_busy(c, i, descriptor_address(c, old_selector), false);
    if (cause != TaskCause::Iret) set_busy(c, i, d.address, true);

    // The new task's state from here on: its faults are reported in its own context.
    c.tr = d.segment(selector);
    c.tr.attr |= 2;
    c.cr0 |= cpu::cr0::TS;
    c.dr7 &= ~0x155ull;  // local breakpoint enables (SDM vol. 3, 17.2.4)
    for (unsigned n = 0; n < 8; ++n) c.gpr[n] = now.item == 2 ? c.gpr[n] >> 16 << 16 | m.gpr[n] : m.gpr[n];
    c.rip = m.ip;
    c.set_rflags(m.flags | (nested ? cpu::rflags::NT : 0), now.item == 4 ? 0x3f'7fd5 : 0x7fd5);
    if (now.item == 4) switch_address_space(c, m.cr3);
    load_segments(c, m);
    if (error) {
        StackFrame frame(c, nullptr);
        frame.push(now.item, *error);
        c.gpr[cpu::RSP] = frame.merged(c.gpr[cpu::RSP]);
    }
    if (m.debug_trap) c.debug_hits |= 1u << 15;  // DR6.BT
}

}  // namespace yado::cpu_interp
