// Operands: addresses, the TLB lookup, and instructions that are the same with other operands.
#include "base/check.h"
#include "base/failpoint.h"
#include "cpu_bt/block_translator.h"
#include "cpu_bt/store_log.h"

namespace yado::cpu_bt {

using cpu_interp::kNoReg;
using cpu_interp::kRipReg;
using cpu_interp::kTlbSize;
using cpu_interp::Tlb;
using cpu_interp::TlbEntry;

// --- addresses ------------------------------------------------------------------------------------------------------------

bool BlockTranslator::addressable(const Insn& i) const {
    if (i.base != kRipReg) return true;
    return i.disp > INT32_MIN + 8192 && i.disp < INT32_MAX - 8192;
}

Rm BlockTranslator::effective(const Insn& i) {
    Rm m = Rm::at(-1, -1, i.scale, i.disp);
    if (i.base == kRipReg) {
        // flat: the block has made the displacement relative to its start (Insn::flat)
        m.disp += static_cast<int32_t>(page_offset(i.flat ? 0 : i.offset + i.length));
        code_.load(kRax, at::kRipPage);
        m.base = kRax;
    } else if (i.base != kNoReg) {
        m.base = value_of(i.base, kRax);
    }
    if (i.index != kNoReg) m.index = value_of(i.index, kRcx);
    return m;
}

void BlockTranslator::linear_address(const Insn& i, int32_t disp) {
    Rm m = effective(i);
    m.disp += disp;
    const bool plain = m.base >= 0 && m.index < 0 && m.disp == 0 && i.addrsize == 8;
    if (plain && m.base != kRax) code_.move(kRax, m.base);
    if (!plain) code_.encode({.opcode = 0x8d, .w = i.addrsize == 8}, kRax, m);
    if (i.seg >= cpu::FS) code_.add(code_.rax, code_.qword[code_.rbp + at::segment_base(i.seg)]);
}

/// One compare serves the page, the rights, the size and page crossing: after XOR with a page-aligned tag rax is the
/// offset in the page if and only if the page is the entry's. Then rax + rcx is the host address. Destroys EFLAGS.
void BlockTranslator::look_up(const Miss& access, bool write_tag) {
    const unsigned table = Tlb::table_of(static_cast<cpu_interp::Mmu>(mmu_), write_tag ? cpu_interp::Acc::Write : cpu_interp::Acc::Read);
    const int entry = at::kTlb + (static_cast<int>(table * kTlbSize) << kTlbEntryBits);
    const int tag = entry + static_cast<int>(offsetof(TlbEntry, tag));
    const size_t retry = code_.here();
    if (short_rotate_) {
        code_.rorx(code_.ecx, code_.eax, 12 - kTlbEntryBits);
    } else {
        code_.mov(code_.ecx, code_.eax);
        code_.shr(code_.ecx, 12 - kTlbEntryBits);
    }
    code_.and_(code_.ecx, (kTlbSize - 1) << kTlbEntryBits);
    code_.xor_(code_.rax, code_.qword[code_.rbp + code_.rcx + tag]);
    code_.cmp(code_.rax, 4096 - (access.span ? access.span : access.size));
    flags_.destroyed();
    cold(cc::kAbove, Cold::Kind::Miss);
    cold_.back().retry = retry;
    cold_.back().tag = tag;
    cold_.back().table = entry;
    cold_.back().access = access;
    code_.mov(code_.rcx, code_.qword[code_.rbp + code_.rcx + (entry + static_cast<int>(offsetof(TlbEntry, host)))]);
    cold_.back().served = code_.here();
    if (!access.aligned || access.size == 1) return;
    if (access.at != 0) code_.add(code_.eax, access.at);
    code_.test(code_.al, access.size - 1);
    cold(cc::kNotEqual, access.span ? Cold::Kind::Leave : fallback(forms_[n_]));
    if (access.at != 0) code_.sub(code_.eax, access.at);
}

template <typename Linear>
Rm BlockTranslator::checked_access(AccessKind kind, unsigned size, bool write, Aligned aligned, Linear linear) {
    const AccessGroups::Place& place = groups_.place(n_, kind);
    const bool align = aligned == Aligned::Yes;
    const uint32_t insn = (*line_)[n_].n;
    if (place.group >= 0 && !place.first) {
        code_.load(kRcx, at::group(place.group));
        return Rm::at(kRcx, -1, 0, place.at);
    }
    store_pointer();
    before_check();
    if (place.group < 0) {
        linear(0);
        look_up({size, write, align, insn}, write);
        return Rm::at(kRax, kRcx);
    }
    const AccessGroups::Group& group = groups_.group(place);
    linear(-static_cast<int32_t>(place.at));
    look_up({size, write, align, insn, place.at, group.span, group.write}, group.write);
    code_.lea(code_.rcx, code_.ptr[code_.rax + code_.rcx]);
    code_.store(at::group(place.group), kRcx);
    return Rm::at(kRcx, -1, 0, place.at);
}

template <typename Linear>
Rm BlockTranslator::access(AccessKind kind, unsigned size, bool write, Aligned aligned, Linear linear) {
    const Rm rm = checked_access(kind, size, write, aligned, linear);
    if (write && purpose_ == Purpose::Compare) log_store(size, rm);
    return rm;
}

void BlockTranslator::log_store(unsigned size, const Rm& rm) {
    YADO_CHECK(size <= StoreRecord::kMostBytes);
    static_assert(StoreLog::kMostRecords >= 2 * cpu_interp::kMaxBlockInsns);  // a block runs once, from its start
    code_.push(code_.rax);
    code_.encode({.opcode = 0x8d, .w = true}, kRax, rm);
    code_.mov(code_.dword[code_.rbp + at::kStoreSize], size);
    code_.call_to(runtime_.log_store());
    code_.pop(code_.rax);
}

Rm BlockTranslator::memory_operand(const Insn& i, unsigned size, bool write, Aligned aligned) {
    return access(AccessKind::Operand, size, write, aligned, [&](int32_t disp) { linear_address(i, disp); });
}

Rm BlockTranslator::stack_operand(unsigned guest, int32_t disp, bool write) {
    return access(AccessKind::Stack, 8, write, Aligned::No, [&](int32_t more) {
        code_.encode({.opcode = 0x8d, .w = true}, kRax, Rm::at(host(guest), -1, 0, disp + more));
    });
}

Rm BlockTranslator::only_rcx(const Rm& rm) {
    if (rm.base != kRax) return rm;
    code_.lea(code_.rcx, code_.ptr[code_.rax + code_.rcx]);
    return Rm::at(kRcx);
}

/// BT, BTS, BTR, BTC of memory by a register: the operand is that which holds the bit.
void BlockTranslator::bit_string(const Insn& i, const Form& f) {
    const bool wide = i.opsize == 8;
    const unsigned size = i.opsize;
    const Rm rm = only_rcx(access(AccessKind::Operand, size, writes(f.rm), i.lock ? Aligned::Yes : Aligned::No, [&](int32_t) {
        linear_address(i, 0);
        code_.encode({.opcode = static_cast<uint8_t>(wide ? 0x8b : 0x63), .w = true}, kRcx, Rm::of(value_of(i.reg, kRcx)));
        code_.sar(code_.rcx, wide ? 6 : 5);
        code_.encode({.opcode = 0x8d, .w = true}, kRax, Rm::at(kRax, kRcx, wide ? 3 : 2));
    }));
    code_.encode({.opcode = 0x8b}, kRax, Rm::of(value_of(i.reg, kRax)));
    code_.and_(code_.eax, wide ? 63 : 31);  // the flags are in memory since the check
    code_.store(at::kKept, kRax);
    keep_flags_for(f);
    code_.load(kRax, at::kKept);
    emit(i, f, kRax, rm);
    resume_here();
}

// --- registers --------------------------------------------------------------------------------------------------------------

HostReg BlockTranslator::value_of(unsigned guest, HostReg scratch) {
    if (host(guest) != kAtHome) return host(guest);
    code_.load(scratch, at::home(guest));
    return scratch;
}

void BlockTranslator::set_guest(unsigned guest, HostReg from) {
    if (host(guest) == kAtHome) code_.store(at::home(guest), from);
    else if (host(guest) != from) code_.move(host(guest), from);
}

/// A 32-bit result clears the upper half, wherever the register is.
void BlockTranslator::after_home_write(unsigned guest, unsigned size) {
    if (size == 4) code_.mov(code_.dword[code_.rbp + at::home(guest) + 4], 0);
}

bool BlockTranslator::has_high_byte(const Insn& i, const Form& f) const {
    if (i.rex) return false;
    const auto high = [](unsigned r) { return r >= 4 && r < 8; };
    if (f.reg != Use::None && !f.vector_reg && f.reg_width == Width::Byte && high(i.reg)) return true;
    return !i.mem && f.rm != Use::None && !f.vector_rm && f.rm_width == Width::Byte && high(i.rm);
}

// --- re-encoding --------------------------------------------------------------------------------------------------------------

Encoding BlockTranslator::encoding_of(const Insn& i, const Form& f) const {
    Encoding e{.map = i.map, .opcode = i.opcode, .lock = i.lock && i.mem};
    if (f.vector_reg || f.vector_rm || i.vex) {  // the mandatory prefix is part of the opcode
        e.p66 = i.mandatory == Mandatory::P66;
        e.pf3 = i.mandatory == Mandatory::PF3;
        e.pf2 = i.mandatory == Mandatory::PF2;
        e.w = i.rex_w;
        e.vex = i.vex;
        e.l = i.vex_l;
        e.vvvv = i.vvvv;
        return e;
    }
    const bool sized = f.reg_width == Width::Operand || f.rm_width == Width::Operand;
    e.p66 = sized && i.opsize == 2;
    e.w = sized && i.opsize == 8;
    if (f.mandatory) {
        e.p66 |= i.mandatory == Mandatory::P66;
        e.pf3 = i.mandatory == Mandatory::PF3;
        e.pf2 = i.mandatory == Mandatory::PF2;
        e.w = i.rex_w;
    }
    e.byte_operand = f.reg_width == Width::Byte || f.rm_width == Width::Byte;
    return e;
}

void BlockTranslator::emit(const Insn& i, const Form& f, int reg, const Rm& rm) {
    Encoding e = encoding_of(i, f);
    if (YADO_FAILPOINT("cpu_bt.emit")) e.opcode ^= 8;  // of 00 to 3B another operation: ADD for OR, SUB for AND
    code_.encode(e, reg, rm);
    if (f.immediate) code_.immediate(i.imm, f.immediate == 4 && i.opsize == 2 ? 2 : f.immediate);
    if (f.changes_flags) flags_.changed();
}

/// The host register for ModRM.reg: an opcode extension, an XMM register, or a general one with its value.
HostReg BlockTranslator::reg_operand(const Insn& i, const Form& f, HostReg scratch) {
    if (f.reg == Use::None) return static_cast<HostReg>(i.modrm >> 3 & 7);
    if (f.vector_reg) return static_cast<HostReg>(i.reg);
    if (host(i.reg) != kAtHome) return host(i.reg);
    if (reads(f.reg) || size_of(i, f.reg_width) < 4) code_.load(scratch, at::home(i.reg));
    return scratch;
}

void BlockTranslator::reg_written(const Insn& i, const Form& f, HostReg r) {
    if (f.reg != Use::None && !f.vector_reg && writes(f.reg) && host(i.reg) == kAtHome) code_.store(at::home(i.reg), r);
}

void BlockTranslator::registers_form(const Insn& i, const Form& f) {
    keep_flags_for(f);
    const HostReg reg = reg_operand(i, f, kRcx);
    const bool at_home = !f.vector_rm && host(i.rm) == kAtHome;
    // SSE's memory forms move fewer bytes, exchanges would lock the bus
    const bool scratch = at_home && (f.not_at_home || f.vector_reg);
    Rm rm = f.vector_rm ? Rm::of(static_cast<HostReg>(i.rm)) : Rm::of(host(i.rm));
    if (at_home) rm = Rm::home(i.rm);
    if (scratch) {
        code_.load(kRax, at::home(i.rm));
        rm = Rm::of(kRax);
    }
    emit(i, f, reg, rm);
    reg_written(i, f, reg);
    if (!at_home || !writes(f.rm)) return;
    if (scratch) code_.store(at::home(i.rm), kRax);
    else after_home_write(i.rm, size_of(i, f.rm_width));
}

void BlockTranslator::memory_form(const Insn& i, const Form& f) {
    const bool exchange = i.map == Map::One && (i.opcode & 0xfe) == 0x86;
    const Aligned aligned = i.lock || exchange || f.aligned ? Aligned::Yes : Aligned::No;
    Rm rm = memory_operand(i, operand_bytes(i, f), writes(f.rm), aligned);
    const bool load_flags = needs_host_flags(f) && !flags_.in_host();
    const bool reg_at_home = f.reg != Use::None && !f.vector_reg && host(i.reg) == kAtHome;
    if (load_flags || reg_at_home) rm = only_rcx(rm);
    keep_flags_for(f);
    const HostReg reg = reg_operand(i, f, kRax);
    emit(i, f, reg, rm);
    reg_written(i, f, reg);
    resume_here();
}

void BlockTranslator::modrm(const Insn& i, const Form& f) {
    if (has_high_byte(i, f)) return high_byte_form(i, f);
    i.mem ? memory_form(i, f) : registers_form(i, f);
}

/// AH, CH, DH, BH: the byte is worked on in a scratch register's low byte and put back, all without touching flags.
void BlockTranslator::high_byte_form(const Insn& i, const Form& f) {
    const auto is_high = [&](unsigned r) { return r >= 4 && r < 8; };
    const bool high_reg = f.reg != Use::None && f.reg_width == Width::Byte && is_high(i.reg);
    const bool high_rm = !i.mem && f.rm != Use::None && f.rm_width == Width::Byte && is_high(i.rm);
    if (high_reg && high_rm) return two_high_bytes(i, f);
    Rm memory;
    if (i.mem) memory = only_rcx(memory_operand(i, 1, writes(f.rm)));
    keep_flags_for(f);
    const HostReg whole = host((high_reg ? i.reg : i.rm) - 4);
    const HostReg byte = i.mem ? kRax : kRcx;
    code_.move(kRax, whole);
    code_.movzx(Assembler::r32(byte), code_.ah);
    const Rm rm = i.mem ? memory : high_rm ? Rm::of(byte) : host(i.rm) == kAtHome ? Rm::home(i.rm) : Rm::of(host(i.rm));
    const HostReg reg = high_reg ? byte : reg_operand(i, f, kRax);
    emit(i, f, reg, rm);
    if (high_reg ? writes(f.reg) : writes(f.rm)) put_high_byte(whole, byte);
    if (i.mem) resume_here();
}

/// One of them may be written.
void BlockTranslator::two_high_bytes(const Insn& i, const Form& f) {
    keep_flags_for(f);
    const HostReg reg = host(i.reg - 4), rm = host(i.rm - 4);
    code_.move(kRax, rm);
    code_.movzx(code_.ecx, code_.ah);
    code_.move(kRax, reg);
    code_.movzx(code_.eax, code_.ah);
    emit(i, f, kRax, Rm::of(kRcx));
    if (writes(f.reg)) put_high_byte(reg, kRax);
    else if (writes(f.rm)) put_high_byte(rm, kRcx);
}

void BlockTranslator::put_high_byte(HostReg whole, HostReg byte) {
    if (byte == kRax) {
        code_.move(kRcx, whole);
        code_.mov(code_.ch, code_.al);
        return code_.move(whole, kRcx);
    }
    code_.move(kRax, whole);
    code_.mov(code_.ah, code_.cl);
    code_.move(whole, kRax);
}

// --- vectors ----------------------------------------------------------------------------------------------------------------

void BlockTranslator::need(bool& there, int is_loaded, Cold::Kind load) {
    if (there) return;
    before_check();
    code_.cmp(code_.byte[code_.rbp + is_loaded], 0);
    flags_.destroyed();
    cold(cc::kEqual, load);
    cold_.back().resume = code_.here();
    there = true;
}

void BlockTranslator::need_vectors() { need(vectors_, at::kVectors, Cold::Kind::LoadVectors); }

void BlockTranslator::vector(const Insn& i, const Form& f) {
    need_vectors();
    i.mem ? memory_form(i, f) : registers_form(i, f);
}

/// PCMPISTRI and its kind: the lengths may be in RAX and RDX, the index goes to ECX.
void BlockTranslator::compare_strings(const Insn& i, const Form& f) {
    need_vectors();
    const Rm rm = i.mem ? only_rcx(memory_operand(i, 16, false)) : Rm::of(i.rm);
    if (i.opcode < 0x62) code_.move(kRax, kHostOf[cpu::RAX]);
    emit(i, f, i.reg, rm);
    if (i.opcode & 1) code_.mov(Assembler::r32(kHostOf[cpu::RCX]), code_.ecx);
    if (i.mem) resume_here();
}

/// VZEROUPPER, VZEROALL.
void BlockTranslator::vector_zero(const Insn& i, const Form&) {
    need_vectors();
    if (i.vex_l) code_.vzeroall();
    else code_.vzeroupper();
}

}  // namespace yado::cpu_bt
