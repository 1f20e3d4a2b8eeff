// Descriptor tables, segment register loads and stacks.
#include "cpu_interp/system/descriptor.h"

namespace yado::cpu_interp {

namespace {

/// The table that a selector points into; nullopt if the entry [index, index + size) lies outside.
std::optional<uint64_t> entry_address(const Core& c, uint16_t selector, unsigned size) {
    const uint32_t offset = selector & 0xfff8;
    if (!(selector & 4)) {
        if (offset + size - 1 > c.gdtr.limit) return std::nullopt;
        return c.gdtr.base + offset;
    }
    if (c.ldtr.attr & attr::Unusable || null_selector(c.ldtr.selector)) return std::nullopt;
    if (offset + size - 1 > c.ldtr.limit) return std::nullopt;
    return c.ldtr.base + offset;
}

uint64_t in_mode(const Core& c, uint64_t linear) { return long_mode(c) ? linear : static_cast<uint32_t>(linear); }

}  // namespace

std::optional<Descriptor> try_descriptor(Core& c, const Insn* i, uint16_t selector) {
    if (null_selector(selector)) return std::nullopt;
    const auto address = entry_address(c, selector, 8);
    if (!address) return std::nullopt;
    Descriptor d;
    d.address = in_mode(c, *address);
    d.raw = c.load_system<uint64_t>(i, d.address);
    return d;
}

Descriptor need_descriptor(Core& c, const Insn* i, uint16_t selector, Vec vector, uint32_t ext) {
    const auto d = try_descriptor(c, i, selector);
    if (!d) c.raise(i, vector, (selector & 0xfffc) | ext);
    return *d;
}

void read_upper(Core& c, const Insn* i, uint16_t selector, Descriptor& d, Vec vector, uint32_t ext) {
    if (!entry_address(c, selector, 16)) c.raise(i, vector, (selector & 0xfffc) | ext);
    d.upper = c.load_system<uint64_t>(i, d.address + 8);
    if (d.upper >> 40 & 0x1f) c.raise(i, vector, (selector & 0xfffc) | ext);  // the upper type field must be 0
    d.upper &= 0xffff'ffff;
}

void set_accessed(Core& c, const Insn* i, Descriptor& d) {
    if (d.raw >> 40 & 1) return;
    d.raw |= 1ull << 40;
    c.store_system<uint8_t>(i, d.address + 5, static_cast<uint8_t>(d.raw >> 40));
}

void set_busy(Core& c, const Insn* i, uint64_t address, bool busy) {
    const uint8_t old = c.load_system<uint8_t>(i, address + 5);
    c.store_system<uint8_t>(i, address + 5, busy ? old | 2 : old & ~2);
}

void load_paragraph(Core& c, unsigned seg, uint16_t selector) {
    cpu::Segment& s = c.seg[seg];
    s.selector = selector;
    s.base = static_cast<uint64_t>(selector) << 4;
    if (vm86(c)) {
        s.limit = 0xffff;
        s.attr = 0xf3;  // SDM vol. 3, 20.2: present, DPL 3, writable data
    }
    // Real-address mode keeps limit and attributes; an unusable segment becomes usable again.
    if (s.attr & attr::Unusable) s.attr = 0x93;
}

cpu::Segment null_stack_segment(uint16_t selector, unsigned cpl) {
    return {selector, attr::Unusable | attr::dpl(cpl) | attr::DB, 0xffff'ffff, 0};
}

cpu::Segment check_stack_segment(Core& c, const Insn* i, uint16_t selector, unsigned cpl, Vec vector, uint32_t ext) {
    const uint32_t error = (selector & 0xfffc) | ext;
    if (null_selector(selector)) c.raise(i, vector, ext);
    Descriptor d = need_descriptor(c, i, selector, vector, ext);
    if ((selector & 3u) != cpl || d.dpl() != cpl || !d.writable_data()) c.raise(i, vector, error);
    if (!d.present()) c.raise(i, Vec::SS, error);
    set_accessed(c, i, d);
    return d.segment(selector);
}

static void load_stack_segment(Core& c, const Insn* i, uint16_t selector) {
    if (null_selector(selector) && c.code_mode == CodeMode::Bits64 && c.cpl != 3 && (selector & 3u) == c.cpl) {
        c.seg[cpu::SS] = null_stack_segment(selector, c.cpl);
        return;
    }
    c.seg[cpu::SS] = check_stack_segment(c, i, selector, c.cpl, Vec::GP);
}

void load_segment(Core& c, const Insn* i, unsigned seg, uint16_t selector) {
    if (paragraphs(c)) return load_paragraph(c, seg, selector);
    if (seg == cpu::SS) return load_stack_segment(c, i, selector);
    if (null_selector(selector)) {
        // Base and attributes of a null selector: cleared, as Intel processors do.
        c.seg[seg] = {selector, attr::Unusable, 0, 0};
        return;
    }
    Descriptor d = need_descriptor(c, i, selector, Vec::GP);
    const bool conforming = d.is_code() && d.conforming();
    if (!d.s() || !d.readable()) c.raise(i, Vec::GP, selector & 0xfffc);
    if (!conforming && (d.dpl() < (selector & 3u) || d.dpl() < c.cpl)) c.raise(i, Vec::GP, selector & 0xfffc);
    if (!d.present()) c.raise(i, Vec::NP, selector & 0xfffc);
    set_accessed(c, i, d);
    c.seg[seg] = d.segment(selector);
}

void drop_inner_segments(Core& c, unsigned cpl) {
    for (const unsigned seg : {cpu::ES, cpu::DS, cpu::FS, cpu::GS}) {
        cpu::Segment& s = c.seg[seg];
        const bool conforming_code = (s.attr & (attr::Code | attr::Expand)) == (attr::Code | attr::Expand);
        if (s.attr & attr::Unusable || conforming_code || dpl_of(s) >= cpl) continue;
        s = {0, attr::Unusable, 0, 0};
    }
}

cpu::Segment code_segment(const Descriptor& d, uint16_t selector, unsigned cpl) {
    cpu::Segment s = d.segment(static_cast<uint16_t>((selector & 0xfffc) | cpl));
    s.attr |= attr::Accessed;
    return s;
}

bool within_limit(const cpu::Segment& s, uint64_t offset, unsigned size) {
    const uint64_t last = offset + size - 1;
    const bool expand_down = (s.attr & (attr::Code | attr::Expand)) == attr::Expand;
    if (!expand_down) return last <= s.limit;
    return offset > s.limit && last <= (s.attr & attr::DB ? 0xffff'ffffu : 0xffffu);
}

// --- StackFrame -------------------------------------------------------------------------------------------------------

uint64_t StackFrame::wrapped(uint64_t sp) const { return (sp_ & ~mask()) | (sp & mask()); }

uint64_t StackFrame::merged(uint64_t rsp) const {
    if (stack64_) return sp_;
    return ss_.attr & attr::DB ? static_cast<uint32_t>(sp_) : (rsp & ~0xffffull) | (sp_ & 0xffff);
}

uint64_t StackFrame::linear(uint64_t sp, unsigned size) {
    const uint64_t offset = sp & mask();
    if (stack64_) {
        if (!canonical(offset) || !canonical(offset + size - 1)) c_.raise(i_, Vec::SS, error_);
        return offset;
    }
    if (!within_limit(ss_, offset, size)) c_.raise(i_, Vec::SS, error_);
    return static_cast<uint32_t>(ss_.base + offset);
}

void StackFrame::push(unsigned size, uint64_t value) {
    const uint64_t sp = wrapped(sp_ - size);
    access(c_, i_, linear(sp, size), &value, size, Acc::Write, rights_);
    sp_ = sp;
}

uint64_t StackFrame::pop(unsigned size) {
    uint64_t value = 0;
    access(c_, i_, linear(sp_, size), &value, size, Acc::Read, rights_);
    sp_ = wrapped(sp_ + size);
    return value;
}

}  // namespace yado::cpu_interp
