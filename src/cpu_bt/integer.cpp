// Integer instructions that need more than other operands: implicit registers, CL counts, the stack.
#include "cpu_bt/block_translator.h"

namespace yado::cpu_bt {

namespace {

constexpr HostReg kGuestRax = kHostOf[cpu::RAX], kGuestRcx = kHostOf[cpu::RCX], kGuestRsp = kHostOf[cpu::RSP], kGuestRbp = kHostOf[cpu::RBP];
static_assert(kHostOf[cpu::RDX] == kRdx && kHostOf[cpu::RBX] == kRbx);
constexpr HostReg kLent = kGuestRbp;

const Xbyak::Reg64 kStack = Assembler::r64(kGuestRsp);

}  // namespace

void BlockTranslator::accumulator_immediate(const Insn& i, const Form& f) {
    keep_flags_for(f);
    Insn as_group = i;
    const bool test = i.opcode >= 0xa8;
    as_group.opcode = static_cast<uint8_t>((test ? 0xf6 : 0x80) | (i.opcode & 1));
    as_group.modrm = test ? 0 : i.opcode & 0x38;
    Form with = f;
    with.immediate = i.opcode & 1 ? 4 : 1;
    emit(as_group, with, as_group.modrm >> 3, Rm::of(kGuestRax));
}

void BlockTranslator::shift_by_cl(const Insn& i, const Form& f) {
    Rm rm = Rm::of(host(i.rm));
    if (i.mem) {
        const Rm at = only_rcx(memory_operand(i, size_of(i, f.rm_width), true));
        keep_flags_for(f);
        code_.move(kRax, kRcx);
        rm = Rm::at(kRax, -1, 0, at.disp);
    } else {
        keep_flags_for(f);
        if (host(i.rm) == kAtHome) rm = Rm::home(i.rm);
    }
    const HostReg reg = reg_operand(i, f, kRax);
    code_.mov(code_.ecx, Assembler::r32(kGuestRcx));
    emit(i, f, reg, rm);
    if (!i.mem && host(i.rm) == kAtHome) after_home_write(i.rm, size_of(i, f.rm_width));
    if (i.mem) resume_here();
}

Rm BlockTranslator::source(const Insn& i, const Form& f) {
    if (i.mem) return only_rcx(memory_operand(i, size_of(i, f.rm_width), false));
    return host(i.rm) == kAtHome ? Rm::home(i.rm) : Rm::of(host(i.rm));
}

void BlockTranslator::multiply(const Insn& i, const Form& f) {
    const Rm rm = source(i, f);
    keep_flags_for(f);
    code_.move(kRax, kGuestRax);
    emit(i, f, i.modrm >> 3 & 7, rm);
    code_.move(kGuestRax, kRax);
    resume_here();
}

/// The fast path takes what cannot raise #DE: unsigned with a high half below the divisor; signed with a dividend that
/// fits the operand size, and a divisor other than 0 and -1.
void BlockTranslator::divide(const Insn& i, const Form& f) {
    const bool wide = i.opsize == 8;
    const Rm rm = source(i, f);
    code_.encode({.opcode = 0x8b, .w = wide}, kRcx, rm);
    before_check();
    if ((i.modrm >> 3 & 7) == 6) {
        code_.encode({.opcode = 0x3b, .w = wide}, kRdx, Rm::of(kRcx));
        flags_.destroyed();
        cold(cc::kAboveOrEqual, Cold::Kind::Interpret);
    } else {
        check_signed_division(wide);
    }
    keep_flags_for(f);
    code_.move(kRax, kGuestRax);
    emit(i, f, i.modrm >> 3 & 7, Rm::of(kRcx));
    code_.move(kGuestRax, kRax);
    resume_here();
}

void BlockTranslator::check_signed_division(bool wide) {
    code_.encode({.opcode = 0x8b, .w = wide}, kRax, Rm::of(kGuestRax));
    code_.encode({.opcode = 0xc1, .w = wide}, 7, Rm::of(kRax));  // SAR
    code_.db(wide ? 63 : 31);
    code_.encode({.opcode = 0x3b, .w = wide}, kRax, Rm::of(kRdx));
    flags_.destroyed();
    cold(cc::kNotEqual, Cold::Kind::Interpret);
    code_.encode({.opcode = 0x8d, .w = wide}, kRax, Rm::at(kRcx, -1, 0, 1));
    code_.encode({.opcode = 0x83, .w = wide}, 7, Rm::of(kRax));  // CMP
    code_.db(1);
    cold(cc::kBelowOrEqual, Cold::Kind::Interpret);
}

void BlockTranslator::compare_exchange(const Insn& i, const Form& f) {
    const unsigned size = size_of(i, f.rm_width);
    const Rm rm = only_rcx(memory_operand(i, size, true, i.lock ? Aligned::Yes : Aligned::No));
    code_.move(kRax, kGuestRax);
    emit(i, f, host(i.reg), rm);
    code_.move(kGuestRax, kRax);
    resume_here();
}

/// CMPXCHG8B, CMPXCHG16B. RAX and RCX hold the guest's, so another register is lent for the address.
void BlockTranslator::compare_exchange_pair(const Insn& i, const Form& f) {
    const bool wide = i.opsize == 8;
    const Rm rm = only_rcx(memory_operand(i, wide ? 16 : 8, true, wide || i.lock ? Aligned::Yes : Aligned::No));
    keep_flags_for(f);
    code_.store(at::kKept, kLent);
    code_.encode({.opcode = 0x8d, .w = true}, kLent, rm);
    code_.move(kRcx, kGuestRcx);
    code_.move(kRax, kGuestRax);
    code_.encode({.map = Map::Of, .opcode = 0xc7, .lock = i.lock, .w = wide}, 1, Rm::at(kLent));
    flags_.changed();
    code_.move(kGuestRax, kRax);
    code_.load(kLent, at::kKept);
    resume_here();
}

void BlockTranslator::lea(const Insn& i, const Form&) {
    const HostReg to = host(i.reg) == kAtHome ? kRax : host(i.reg);
    code_.encode({.opcode = 0x8d, .w = i.opsize == 8}, to, effective(i));
    set_guest(i.reg, to);
}

void BlockTranslator::move_immediate(const Insn& i, const Form&) {
    const HostReg to = host(i.reg) == kAtHome ? kRax : host(i.reg);
    if (i.opsize == 8) code_.mov(Assembler::r64(to), i.imm64);
    else code_.mov(Assembler::r32(to), static_cast<uint32_t>(i.imm));
    set_guest(i.reg, to);
}

void BlockTranslator::move_immediate_byte(const Insn& i, const Form&) {
    const Rm to = host(i.reg) == kAtHome ? Rm::home(i.reg) : Rm::of(host(i.reg));
    code_.encode({.opcode = 0xc6, .byte_operand = true}, 0, to);
    code_.immediate(i.imm, 1);
}

void BlockTranslator::exchange_accumulator(const Insn& i, const Form&) {
    const HostReg other = value_of(i.reg, kRcx);
    code_.encode({.opcode = 0x8b, .w = i.opsize == 8}, kRax, Rm::of(kGuestRax));
    code_.encode({.opcode = 0x8b, .w = i.opsize == 8}, kGuestRax, Rm::of(other));
    set_guest(i.reg, kRax);
}

void BlockTranslator::sign_extend_accumulator(const Insn& i, const Form&) {
    switch (i.opsize) {
    case 2: return code_.encode({.map = Map::Of, .opcode = 0xbe, .p66 = true, .byte_operand = true}, kGuestRax, Rm::of(kGuestRax));
    case 4: return code_.encode({.map = Map::Of, .opcode = 0xbf}, kGuestRax, Rm::of(kGuestRax));
    default: return code_.encode({.opcode = 0x63, .w = true}, kGuestRax, Rm::of(kGuestRax));
    }
}

void BlockTranslator::sign_extend_into_rdx(const Insn& i, const Form&) {
    code_.move(kRax, kGuestRax);
    if (i.opsize == 2) code_.db(0x66);
    if (i.opsize == 8) code_.db(0x48);
    code_.db(0x99);
}

void BlockTranslator::byte_swap(const Insn& i, const Form&) {
    const HostReg r = value_of(i.reg, kRax);
    if (i.opsize == 8) code_.bswap(Assembler::r64(r));
    else code_.bswap(Assembler::r32(r));
    set_guest(i.reg, r);
}

void BlockTranslator::carry_flag(const Insn& i, const Form& f) {
    keep_flags_for(f);
    code_.db(i.opcode);
    flags_.changed();
}

/// LAHF and SAHF; AH is in bits 15:8 of RAX's host register.
void BlockTranslator::flags_to_ah(const Insn&, const Form& f) {
    keep_flags_for(f);
    code_.move(kRcx, kGuestRax);
    code_.lahf();
    code_.mov(code_.ch, code_.ah);
    code_.move(kGuestRax, kRcx);
}

void BlockTranslator::ah_to_flags(const Insn&, const Form& f) {
    keep_flags_for(f);
    code_.move(kRax, kGuestRax);
    code_.sahf();
    flags_.changed();
}

/// CLD, STD: the host's own stays clear.
void BlockTranslator::direction_flag(const Insn& i, const Form&) {
    before_check();
    if (i.opcode & 1) code_.or_(code_.dword[code_.rbp + at::kSysflags], static_cast<uint32_t>(cpu::rflags::DF));
    else code_.and_(code_.dword[code_.rbp + at::kSysflags], ~static_cast<uint32_t>(cpu::rflags::DF));
    flags_.destroyed();
}

/// BMI1 and BMI2: three operands in general registers. MULX reads RDX, which is where the guest's is.
void BlockTranslator::bit_manipulation(const Insn& i, const Form& f) {
    const bool vvvv_at_home = f.vvvv != Use::None && host(i.vvvv) == kAtHome;
    const bool reg_at_home = f.reg != Use::None && host(i.reg) == kAtHome;
    Rm rm = host(i.rm) == kAtHome ? Rm::home(i.rm) : Rm::of(host(i.rm));
    if (i.mem) rm = only_rcx(memory_operand(i, operand_bytes(i, f), false));
    keep_flags_for(f);
    Encoding e = encoding_of(i, f);
    // A result at home may share rax with a source there: it is written last.
    if (f.vvvv != Use::None) e.vvvv = static_cast<uint8_t>(reads(f.vvvv) ? value_of(i.vvvv, kRax) : vvvv_at_home ? kRax : host(i.vvvv));
    const int reg = f.reg == Use::None ? i.modrm >> 3 & 7 : reg_at_home ? kRax : host(i.reg);
    code_.encode(e, reg, rm);
    if (f.immediate) code_.immediate(i.imm, f.immediate);
    if (f.changes_flags) flags_.changed();
    if (reg_at_home) code_.store(at::home(i.reg), kRax);
    if (vvvv_at_home && writes(f.vvvv)) code_.store(at::home(i.vvvv), kRax);
    if (i.mem) resume_here();
}

// --- the stack: 64-bit pushes and pops ------------------------------------------------------------------------------------------

void BlockTranslator::adjust_stack(int32_t by) { code_.lea(kStack, code_.ptr[kStack + by]); }

void BlockTranslator::push_register(const Insn& i, const Form&) {
    Rm rm = stack_operand(cpu::RSP, -8, true);
    if (host(i.reg) == kAtHome) rm = only_rcx(rm);
    code_.encode({.opcode = 0x89, .w = true}, value_of(i.reg, kRax), rm);
    adjust_stack(-8);
    resume_here();
}

void BlockTranslator::push_immediate(const Insn& i, const Form&) {
    code_.encode({.opcode = 0xc7, .w = true}, 0, stack_operand(cpu::RSP, -8, true));
    code_.immediate(i.imm, 4);
    adjust_stack(-8);
    resume_here();
}

/// Pushes NativeState::kept.
void BlockTranslator::push_kept() {
    const Rm rm = only_rcx(stack_operand(cpu::RSP, -8, true));
    code_.load(kRax, at::kKept);
    code_.encode({.opcode = 0x89, .w = true}, kRax, rm);
    adjust_stack(-8);
    resume_here();
}

void BlockTranslator::push_memory(const Insn& i, const Form&) {
    code_.encode({.opcode = 0x8b, .w = true}, kRax, memory_operand(i, 8, false));
    code_.store(at::kKept, kRax);
    push_kept();
}

/// RFLAGS from Core::aflags (LAHF's layout, OF in bit 0) and sysflags; RF and VM are never set here.
void BlockTranslator::push_flags(const Insn&, const Form&) {
    flags_.save();
    code_.movzx(code_.eax, code_.word[code_.rbp + at::kFlags]);
    code_.mov(code_.ecx, code_.eax);
    code_.and_(code_.eax, 1);
    code_.shl(code_.eax, 11);
    code_.shr(code_.ecx, 8);
    code_.or_(code_.eax, code_.ecx);
    code_.or_(code_.rax, code_.qword[code_.rbp + at::kSysflags]);
    flags_.destroyed();
    code_.store(at::kKept, kRax);
    push_kept();
}

void BlockTranslator::clear_interrupt_flag(const Insn&, const Form&) {
    before_check();
    code_.cmp(code_.byte[code_.rbp + at::kCpl], 0);
    flags_.destroyed();
    cold(cc::kNotEqual, Cold::Kind::Interpret);
    code_.and_(code_.dword[code_.rbp + at::kSysflags], ~static_cast<uint32_t>(cpu::rflags::IF));
    resume_here();
}

void BlockTranslator::pop_register(const Insn& i, const Form&) {
    const Rm rm = stack_operand(cpu::RSP, 0, false);
    adjust_stack(8);
    const HostReg to = host(i.reg) == kAtHome ? kRax : host(i.reg);
    code_.encode({.opcode = 0x8b, .w = true}, to, rm);
    set_guest(i.reg, to);
    resume_here();
}

void BlockTranslator::leave(const Insn&, const Form&) {
    const Rm rm = stack_operand(cpu::RBP, 0, false);
    code_.lea(kStack, code_.ptr[Assembler::r64(kGuestRbp) + 8]);
    code_.encode({.opcode = 0x8b, .w = true}, kGuestRbp, rm);
    resume_here();
}

}  // namespace yado::cpu_bt
