// Instructions about segment registers and descriptor tables (SDM vol. 2).
#include "cpu_interp/system/descriptor.h"
#include "cpu_interp/system/handlers.h"

namespace yado::cpu_interp {

namespace {

/// Writes a 16-bit result: to memory 16 bits, to a register by operand size (SLDT, STR, SMSW, MOV r, Sreg).
void store_word(Core& c, const Insn* i, uint64_t value) {
    if (i->mem) return c.store<uint16_t>(i, c.address(i, 2, Acc::Write), static_cast<uint16_t>(value));
    uint64_t& r = c.gpr[i->rm];
    r = i->opsize == 2 ? (r & ~0xffffull) | (value & 0xffff) : value;
}

uint16_t load_word(Core& c, const Insn* i) {
    if (!i->mem) return static_cast<uint16_t>(c.gpr[i->rm]);
    return c.load<uint16_t>(i, c.address(i, 2, Acc::Read));
}

void write_gpr(Core& c, unsigned r, unsigned size, uint64_t value) {
    if (size == 2)
        c.gpr[r] = (c.gpr[r] & ~0xffffull) | (value & 0xffff);
    else
        c.gpr[r] = size == 4 ? static_cast<uint32_t>(value) : value;
}

void set_zf(Core& c, bool zero) { c.aflags = zero ? c.aflags | hflags::ZF : c.aflags & ~hflags::ZF; }

/// SLDT, STR, SGDT, SIDT, SMSW under UMIP (SDM vol. 3, 2.5).
void check_umip(Core& c, const Insn* i) {
    if (c.cr4 & cpu::cr4::UMIP && c.cpl > 0) c.raise(i, Vec::GP, 0);
}
void need_protected(Core& c, const Insn* i) {
    if (paragraphs(c)) c.raise(i, Vec::UD);
}
void need_cpl0(Core& c, const Insn* i) {
    if (c.cpl > 0) c.raise(i, Vec::GP, 0);
}

/// The segment register that a one-byte or 0F opcode names in bits 5:3.
unsigned opcode_seg(const Insn* i) { return i->opcode >> 3 & 7; }

/// After loading a segment the decoded block may no longer fit (flat, stack size): back to the run loop.
void done(Core& c, const Insn* i, unsigned seg) {
    c.rip = c.next_rip(i);
    if (seg != cpu::SS) return;
    c.update_mode();
    c.mov_ss_shadow = true;
}

void store_table(Core& c, const Insn* i, const cpu::TableRegister& t) {
    check_umip(c, i);
    const unsigned size = c.code_mode == CodeMode::Bits64 ? 8 : 4;
    uint8_t bytes[10];
    std::memcpy(bytes, &t.limit, 2);
    std::memcpy(bytes + 2, &t.base, size);
    c.store_slow(i, c.address(i, 2 + size, Acc::Write), bytes, 2 + size);
}

cpu::TableRegister load_table(Core& c, const Insn* i) {
    need_cpl0(c, i);
    const unsigned size = c.code_mode == CodeMode::Bits64 ? 8 : 4;
    uint8_t bytes[10];
    c.load_slow(i, c.address(i, 2 + size, Acc::Read), bytes, 2 + size);
    cpu::TableRegister t{0, 0};
    std::memcpy(&t.limit, bytes, 2);
    std::memcpy(&t.base, bytes + 2, size);
    if (size == 4 && i->opsize == 2) t.base &= 0xff'ffff;
    if (!canonical(t.base)) c.raise(i, Vec::GP, 0);
    return t;
}

/// Conforming code is seen from everywhere; the rest from no less privilege than DPL.
bool visible(const Core& c, const Descriptor& d, uint16_t selector) {
    if (d.is_code() && d.conforming()) return true;
    return d.dpl() >= c.cpl && d.dpl() >= (selector & 3u);
}

/// System types that LAR and LSL accept (SDM vol. 2, LAR and LSL), as bit masks by type.
constexpr uint32_t kLarLegacy = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 9 | 1 << 11 | 1 << 12;
constexpr uint32_t kLarLong = 1 << 2 | 1 << 9 | 1 << 11 | 1 << 12;
constexpr uint32_t kLslLegacy = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 9 | 1 << 11;
constexpr uint32_t kLslLong = 1 << 2 | 1 << 9 | 1 << 11;

std::optional<Descriptor> inspect(Core& c, const Insn* i, uint16_t selector, uint32_t legacy, uint32_t in_long) {
    const auto d = try_descriptor(c, i, selector);
    if (!d || !visible(c, *d, selector)) return std::nullopt;
    if (!d->s() && !((long_mode(c) ? in_long : legacy) >> d->type() & 1)) return std::nullopt;
    return d;
}

void verify(Core& c, const Insn* i, bool write) {
    need_protected(c, i);
    const uint16_t selector = load_word(c, i);
    const auto d = try_descriptor(c, i, selector);
    const bool ok = d && d->s() && visible(c, *d, selector) && (write ? d->writable_data() : d->readable());
    set_zf(c, ok);
    return next(c, i);
}

}  // namespace

namespace op {

void mov_from_seg(Core& c, const Insn* i) {
    const unsigned seg = i->modrm >> 3 & 7;
    if (seg > cpu::GS) c.raise(i, Vec::UD);
    store_word(c, i, c.seg[seg].selector);
    return next(c, i);
}

void mov_to_seg(Core& c, const Insn* i) {
    const unsigned seg = i->modrm >> 3 & 7;
    if (seg > cpu::GS || seg == cpu::CS) c.raise(i, Vec::UD);
    load_segment(c, i, seg, load_word(c, i));
    done(c, i, seg);
}

static void do_push_seg(Core& c, const Insn* i) {
    const unsigned seg = opcode_seg(i);
    if (i->opsize != 4 || c.code_mode == CodeMode::Bits64) {
        c.push(i, i->opsize, c.seg[seg].selector);
        return;
    }
    // A 32-bit push of a selector writes 16 bits only (SDM vol. 2, PUSH).
    StackFrame frame(c, i);
    frame.release(static_cast<uint64_t>(-4));
    StackFrame word(c, i, c.seg[cpu::SS], frame.merged(c.gpr[cpu::RSP]) + 2, c.cpl, c.stack64);
    word.push(2, c.seg[seg].selector);
    c.gpr[cpu::RSP] = frame.merged(c.gpr[cpu::RSP]);
}
void push_seg(Core& c, const Insn* i) {
    do_push_seg(c, i);  // its locals have addresses: next() must be a tail call
    return next(c, i);
}

void pop_seg(Core& c, const Insn* i) {
    const unsigned seg = opcode_seg(i);
    StackFrame frame(c, i);
    const auto selector = static_cast<uint16_t>(frame.pop(2));
    frame.release(i->opsize - 2);
    const uint64_t sp = frame.merged(c.gpr[cpu::RSP]);
    load_segment(c, i, seg, selector);
    c.gpr[cpu::RSP] = sp;
    done(c, i, seg);
}

void load_far_pointer(Core& c, const Insn* i) {
    unsigned seg = cpu::DS;
    if (i->map == Map::One)
        seg = i->opcode == 0xc4 ? cpu::ES : cpu::DS;
    else
        seg = i->opcode == 0xb2 ? cpu::SS : i->opcode == 0xb4 ? cpu::FS : cpu::GS;
    if (!i->mem) c.raise(i, Vec::UD);
    uint8_t bytes[10];
    c.load_slow(i, c.address(i, i->opsize + 2, Acc::Read), bytes, i->opsize + 2);
    uint64_t offset = 0;
    uint16_t selector;
    std::memcpy(&offset, bytes, i->opsize);
    std::memcpy(&selector, bytes + i->opsize, 2);
    load_segment(c, i, seg, selector);
    write_gpr(c, i->reg, i->opsize, offset);
    done(c, i, seg);
    c.mov_ss_shadow = false;  // LSS casts none
}

void sldt(Core& c, const Insn* i) {
    need_protected(c, i);
    check_umip(c, i);
    store_word(c, i, c.ldtr.selector);
    return next(c, i);
}

void str(Core& c, const Insn* i) {
    need_protected(c, i);
    check_umip(c, i);
    store_word(c, i, c.tr.selector);
    return next(c, i);
}

static void do_lldt(Core& c, const Insn* i) {
    need_protected(c, i);
    need_cpl0(c, i);
    const uint16_t selector = load_word(c, i);
    if (null_selector(selector)) {
        c.ldtr = {selector, attr::Unusable, 0, 0};
        return;
    }
    if (selector & 4) c.raise(i, Vec::GP, selector & 0xfffc);
    Descriptor d = need_descriptor(c, i, selector, Vec::GP);
    if (d.s() || d.type() != systype::Ldt) c.raise(i, Vec::GP, selector & 0xfffc);
    if (!d.present()) c.raise(i, Vec::NP, selector & 0xfffc);
    if (long_mode(c)) read_upper(c, i, selector, d, Vec::GP);
    if (!canonical(d.base())) c.raise(i, Vec::GP, selector & 0xfffc);
    c.ldtr = d.segment(selector);
}
void lldt(Core& c, const Insn* i) {
    do_lldt(c, i);  // its locals have addresses: next() must be a tail call
    return next(c, i);
}

static void do_ltr(Core& c, const Insn* i) {
    need_protected(c, i);
    need_cpl0(c, i);
    const uint16_t selector = load_word(c, i);
    if (null_selector(selector)) c.raise(i, Vec::GP, 0);
    if (selector & 4) c.raise(i, Vec::GP, selector & 0xfffc);
    Descriptor d = need_descriptor(c, i, selector, Vec::GP);
    const bool available = d.type() == systype::Tss32 || (d.type() == systype::Tss16 && !long_mode(c));
    if (d.s() || !available) c.raise(i, Vec::GP, selector & 0xfffc);
    if (!d.present()) c.raise(i, Vec::NP, selector & 0xfffc);
    if (long_mode(c)) read_upper(c, i, selector, d, Vec::GP);
    if (!canonical(d.base())) c.raise(i, Vec::GP, selector & 0xfffc);
    set_busy(c, i, d.address, true);
    c.tr = d.segment(selector);
    c.tr.attr |= 2;
}
void ltr(Core& c, const Insn* i) {
    do_ltr(c, i);  // its locals have addresses: next() must be a tail call
    return next(c, i);
}

void verr(Core& c, const Insn* i) { return verify(c, i, false); }
void verw(Core& c, const Insn* i) { return verify(c, i, true); }

void sgdt(Core& c, const Insn* i) {
    store_table(c, i, c.gdtr);
    return next(c, i);
}
void sidt(Core& c, const Insn* i) {
    store_table(c, i, c.idtr);
    return next(c, i);
}
void lgdt(Core& c, const Insn* i) {
    c.gdtr = load_table(c, i);
    return next(c, i);
}
void lidt(Core& c, const Insn* i) {
    c.idtr = load_table(c, i);
    return next(c, i);
}

void lar(Core& c, const Insn* i) {
    need_protected(c, i);
    const auto d = inspect(c, i, load_word(c, i), kLarLegacy, kLarLong);
    if (d) write_gpr(c, i->reg, i->opsize, d->raw >> 32 & 0x00ff'ff00);  // 19:16 are undefined; processors show the limit
    set_zf(c, d.has_value());
    return next(c, i);
}

void lsl(Core& c, const Insn* i) {
    need_protected(c, i);
    const auto d = inspect(c, i, load_word(c, i), kLslLegacy, kLslLong);
    if (d) write_gpr(c, i->reg, i->opsize, d->limit());
    set_zf(c, d.has_value());
    return next(c, i);
}

void arpl(Core& c, const Insn* i) {
    need_protected(c, i);
    const unsigned source = c.gpr[i->reg] & 3;
    const uint64_t at = i->mem ? c.address(i, 2, Acc::Write) : 0;
    uint16_t value = i->mem ? c.load<uint16_t>(i, at) : static_cast<uint16_t>(c.gpr[i->rm]);
    const bool raised = (value & 3u) < source;
    if (raised) {
        value = static_cast<uint16_t>((value & 0xfffc) | source);
        if (i->mem)
            c.store<uint16_t>(i, at, value);
        else
            write_gpr(c, i->rm, 2, value);
    }
    set_zf(c, raised);
    return next(c, i);
}

/// SMSW is here for its operand; CR0's low word.
void smsw(Core& c, const Insn* i) {
    check_umip(c, i);
    const uint64_t value = i->opsize == 8 ? c.cr0 : static_cast<uint32_t>(c.cr0);
    store_word(c, i, value);
    return next(c, i);
}


}  // namespace op

}  // namespace yado::cpu_interp
