// x87 and MMX instructions: the guest's own on the host's registers, which hold the whole state from a stay's first such
// instruction on. It is brought in only while all exceptions are masked, so none can become pending: the host never raises
// one, and the exception summary is always clear. Whatever could unmask one is the interpreter's, as is every x87
// instruction while one is unmasked.
//
// FIP is the last instruction's, and is stored where somebody could see it: in front of what may leave translated code. FDP and
// FOP change with an unmasked exception only (SDM vol. 1, 8.1.8 and 8.1.9), that is never here.
#include "cpu_bt/block_translator.h"
#include "cpu_interp/fpu/fpu.h"

namespace yado::cpu_bt {

namespace {

constexpr HostReg kGuestRax = kHostOf[cpu::RAX];

}  // namespace

void BlockTranslator::need_x87() { need(x87_, at::kX87, Cold::Kind::LoadX87); }

bool BlockTranslator::stays(const Insn& i, const Form& f) {
    return f.translate == &BlockTranslator::lea || (f.translate == &BlockTranslator::modrm && !i.mem);
}

void BlockTranslator::store_pointer() {
    if (pointer_ < 0) return;
    linear_of(kRax, pointer_);
    code_.load(kRcx, at::kFpu);
    code_.mov(code_.qword[code_.rcx + offsetof(cpu_interp::Fpu, fip)], code_.rax);
    pointer_ = -1;
}

void BlockTranslator::x87(const Insn& i, const Form& f) {
    x87_control(i, f);
    pointer_ = static_cast<int>(page_offset(i.offset));
}

/// WAIT, EMMS, FNCLEX, FNSTCW, FNSTSW, and all that computes.
void BlockTranslator::x87_control(const Insn& i, const Form& f) {
    need_x87();
    if (i.mem) return memory_form(i, f);
    keep_flags_for(f);
    if (i.map == Map::Of) code_.db(0x0f);
    code_.db(i.opcode);
    if (i.map == Map::One && i.opcode != 0x9b) code_.db(i.modrm);
    if (f.changes_flags) flags_.changed();
}

/// FLDCW, of a copy: the guest must not change what was looked at.
void BlockTranslator::x87_load_control(const Insn& i, const Form&) {
    need_x87();
    const Rm rm = only_rcx(memory_operand(i, 2, false));
    before_check();
    code_.encode({.map = Map::Of, .opcode = 0xb7}, kRax, rm);  // MOVZX
    code_.store(at::kKept, kRax);
    code_.not_(code_.eax);
    code_.test(code_.al, cpu_interp::x87::kExceptions);
    flags_.destroyed();
    cold(cc::kNotEqual, Cold::Kind::Interpret);
    code_.encode({.opcode = 0xd9}, 5, Rm::at(kRbp, -1, 0, at::kKept));
    resume_here();
}

void BlockTranslator::x87_status_to_ax(const Insn&, const Form&) {
    need_x87();
    code_.db(0xdf);
    code_.db(0xe0);
    code_.mov(Xbyak::Reg16(kGuestRax), code_.ax);
}

void BlockTranslator::mmx(const Insn& i, const Form& f) {
    need_x87();
    i.mem ? memory_form(i, f) : registers_form(i, f);
}

/// CVTPI2PS and CVTPI2PD of memory leave the MMX registers and x87 alone.
void BlockTranslator::mmx_and_vector(const Insn& i, const Form& f) {
    need_vectors();
    if (!i.mem || i.opcode != 0x2a) need_x87();
    i.mem ? memory_form(i, f) : registers_form(i, f);
}

}  // namespace yado::cpu_bt
