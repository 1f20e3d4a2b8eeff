// Fast system calls and the FS/GS bases (SDM vol. 2; AMD APM vol. 3 for SYSCALL outside 64-bit mode).
#include "cpu/cpu_model.h"
#include "cpu_interp/system/descriptor.h"
#include "cpu_interp/system/handlers.h"
#include "cpu_interp/system/system.h"

namespace yado::cpu_interp {

namespace rf = cpu::rflags;

namespace {

constexpr uint32_t kCode64 = 0xa09b, kCode32 = 0xc09b, kData32 = 0xc093;  // flat, present, DPL 0, accessed

void set_flat(Core& c, uint16_t cs, uint16_t ss, uint32_t code, unsigned cpl) {
    cs = static_cast<uint16_t>((cs & 0xfffc) | cpl);
    ss = static_cast<uint16_t>((ss & 0xfffc) | cpl);
    c.seg[cpu::CS] = {cs, code | attr::dpl(cpl), 0xffff'ffff, 0};
    c.seg[cpu::SS] = {ss, kData32 | attr::dpl(cpl), 0xffff'ffff, 0};
}

/// SYSCALL and SYSRET exist in 64-bit mode; AMD's in legacy and compatibility mode too.
void need_syscall(Core& c, const Insn* i) {
    const bool here = c.code_mode == CodeMode::Bits64 || (c.system->amd && !paragraphs(c));
    if (!(c.efer & cpu::efer::SCE) || !here) c.raise(i, Vec::UD);
}

/// AMD's SYSENTER and SYSEXIT do not exist in IA-32e mode.
void need_sysenter(Core& c, const Insn* i) {
    if (c.system->amd && long_mode(c)) c.raise(i, Vec::UD);
}

/// SYSCALL and SYSRET trap if TF is set behind them, whatever it was in front: the trap belongs to the program that made the
/// call. (Linux, which masks TF, would warn of a trap in its entry code.)
void single_step_by_new_flags(Core& c, uint64_t old_flags) {
    if (old_flags & rf::TF) c.system->new_tf_counts = true;
    else if (c.sysflags & rf::TF) c.debug_hits |= kDr6SingleStep;
}

}  // namespace

namespace op {

void syscall(Core& c, const Insn* i) {
    need_syscall(c, i);
    const SystemState& s = *c.system;
    const auto cs = static_cast<uint16_t>(s.star >> 32);
    const uint64_t return_rip = c.next_rip(i);
    c.gpr[cpu::RCX] = return_rip;
    if (!long_mode(c)) {  // legacy: EIP from STAR, only VM, IF and RF are cleared
        c.rip = static_cast<uint32_t>(s.star);
        set_flat(c, cs, static_cast<uint16_t>((cs & 0xfffc) + 8), kCode32, 0);
        c.sysflags &= ~(rf::IF | rf::RF | rf::VM);
        return c.update_mode();
    }
    c.gpr[cpu::R11] = c.rflags() & ~rf::RF;
    c.rip = c.code_mode == CodeMode::Bits64 ? s.lstar : s.cstar;
    set_flat(c, cs, static_cast<uint16_t>((cs & 0xfffc) + 8), kCode64, 0);
    const uint64_t old_flags = c.sysflags;
    c.set_rflags(0, s.fmask | rf::RF);
    single_step_by_new_flags(c, old_flags);
    c.update_mode();
}

void sysret(Core& c, const Insn* i) {
    need_syscall(c, i);
    if (c.cpl > 0) c.raise(i, Vec::GP, 0);
    const SystemState& s = *c.system;
    const auto base = static_cast<uint16_t>(s.star >> 48);
    const bool to64 = i->opsize == 8;
    const uint64_t target = to64 ? c.gpr[cpu::RCX] : static_cast<uint32_t>(c.gpr[cpu::RCX]);
    if (to64 && !canonical(target)) c.raise(i, Vec::GP, 0);
    c.rip = target;
    const uint64_t old_flags = c.sysflags;
    if (long_mode(c))
        c.set_rflags(c.gpr[cpu::R11] & ~(rf::RF | rf::VM), 0x3f'7fd5);
    else
        c.sysflags |= rf::IF;
    single_step_by_new_flags(c, old_flags);
    const auto cs = static_cast<uint16_t>(base + (to64 ? 16 : 0));
    set_flat(c, cs, static_cast<uint16_t>(base + 8), to64 ? kCode64 : kCode32, 3);
    c.update_mode();
}

void sysenter(Core& c, const Insn* i) {
    need_sysenter(c, i);
    const SystemState& s = *c.system;
    const auto cs = static_cast<uint16_t>(s.sysenter_cs);
    if (!protected_mode(c) || null_selector(cs)) c.raise(i, Vec::GP, 0);
    const bool to64 = long_mode(c);
    c.sysflags &= ~(rf::VM | rf::IF | rf::RF);
    c.gpr[cpu::RSP] = to64 ? s.sysenter_esp : static_cast<uint32_t>(s.sysenter_esp);
    c.rip = to64 ? s.sysenter_eip : static_cast<uint32_t>(s.sysenter_eip);
    set_flat(c, cs, static_cast<uint16_t>((cs & 0xfffc) + 8), to64 ? kCode64 : kCode32, 0);
    c.update_mode();
}

void sysexit(Core& c, const Insn* i) {
    need_sysenter(c, i);
    const auto cs = static_cast<uint16_t>(c.system->sysenter_cs & 0xfffc);
    if (!protected_mode(c) || null_selector(cs) || c.cpl > 0) c.raise(i, Vec::GP, 0);
    const bool to64 = i->opsize == 8;
    const uint64_t ip = c.gpr[cpu::RDX], sp = c.gpr[cpu::RCX];
    if (to64 && (!canonical(ip) || !canonical(sp))) c.raise(i, Vec::GP, 0);
    c.rip = to64 ? ip : static_cast<uint32_t>(ip);
    c.gpr[cpu::RSP] = to64 ? sp : static_cast<uint32_t>(sp);
    const auto code = static_cast<uint16_t>(cs + (to64 ? 32 : 16));
    set_flat(c, code, static_cast<uint16_t>(code + 8), to64 ? kCode64 : kCode32, 3);
    c.update_mode();
}

void swapgs(Core& c, const Insn* i) {
    if (c.code_mode != CodeMode::Bits64) c.raise(i, Vec::UD);
    if (c.cpl > 0) c.raise(i, Vec::GP, 0);
    std::swap(c.seg[cpu::GS].base, c.system->kernel_gs_base);
    return next(c, i);
}

/// RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE by ModRM.reg 0 to 3.
void fsgsbase(Core& c, const Insn* i) {
    if (c.code_mode != CodeMode::Bits64 || !(c.cr4 & cpu::cr4::FSGSBASE)) c.raise(i, Vec::UD);
    const unsigned which = i->modrm >> 3 & 3;
    uint64_t& base = c.seg[which & 1 ? cpu::GS : cpu::FS].base;
    const bool wide = i->opsize == 8;
    if (which < 2) {
        c.gpr[i->rm] = wide ? base : static_cast<uint32_t>(base);
    } else {
        const uint64_t value = wide ? c.gpr[i->rm] : static_cast<uint32_t>(c.gpr[i->rm]);
        if (!canonical(value)) c.raise(i, Vec::GP, 0);
        base = value;
    }
    return next(c, i);
}

}  // namespace op

}  // namespace yado::cpu_interp
