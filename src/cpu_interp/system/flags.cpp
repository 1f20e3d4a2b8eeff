// Instructions about RFLAGS and halting: HLT, CLI, STI, CLAC, STAC, PUSHF, POPF (SDM vol. 2).
#include "cpu/cpu_model.h"
#include "cpu_interp/system/access.h"
#include "cpu_interp/system/handlers.h"

namespace yado::cpu_interp {

namespace rf = cpu::rflags;

namespace {

/// CLI and STI need IOPL; without VME and PVI there is no virtual interrupt flag.
void need_iopl(Core& c, const Insn* i) {
    if (protected_mode(c) && c.cpl > iopl(c)) c.raise(i, Vec::GP, 0);
}

void set_ac(Core& c, const Insn* i, bool on) {
    if (!c.wiring.model.has(cpu::Feature::SMAP) || c.cpl > 0) c.raise(i, Vec::UD);
    c.sysflags = on ? c.sysflags | rf::AC : c.sysflags & ~rf::AC;
    c.mmu = rights_at(c, c.cpl);
    c.rip = c.next_rip(i);  // blocks are made for one set of rights
}

}  // namespace

namespace op {

void hlt(Core& c, const Insn* i) {
    if (c.cpl > 0) c.raise(i, Vec::GP, 0);
    c.activity = cpu::Activity::Halted;
    c.rip = c.next_rip(i);
}

void cli(Core& c, const Insn* i) {
    need_iopl(c, i);
    c.sysflags &= ~rf::IF;
    return next(c, i);
}

void sti(Core& c, const Insn* i) {
    need_iopl(c, i);
    if (!(c.sysflags & rf::IF)) c.sti_shadow = true;
    c.sysflags |= rf::IF;
    c.rip = c.next_rip(i);
}

void clac(Core& c, const Insn* i) { return set_ac(c, i, false); }
void stac(Core& c, const Insn* i) { return set_ac(c, i, true); }

void pushf(Core& c, const Insn* i) {
    if (vm86(c) && iopl(c) < 3) c.raise(i, Vec::GP, 0);
    c.push(i, i->opsize, c.rflags() & ~(rf::VM | rf::RF));
    return next(c, i);
}

void popf(Core& c, const Insn* i) {
    if (vm86(c) && iopl(c) < 3) c.raise(i, Vec::GP, 0);
    uint64_t mask = rf::ARITH | rf::TF | rf::DF | rf::NT;
    if (i->opsize >= 4) mask |= rf::AC | rf::ID;
    if (!protected_mode(c) || c.cpl <= iopl(c)) mask |= rf::IF;
    if (!protected_mode(c) || c.cpl == 0) mask |= rf::IOPL;
    if (vm86(c)) mask &= ~rf::IOPL;
    const uint64_t value = c.pop(i, i->opsize);
    c.set_rflags(value, mask);
    c.sysflags &= ~rf::RF;
    c.rip = c.next_rip(i);
}

}  // namespace op

}  // namespace yado::cpu_interp
