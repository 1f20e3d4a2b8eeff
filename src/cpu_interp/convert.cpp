#include "cpu_interp/convert.h"

#include <algorithm>

#include "cpu_interp/chain.h"
#include "cpu_interp/fpu/fpu.h"
#include "cpu_interp/system/system.h"

namespace yado::cpu_interp {

namespace {

namespace cr0 = cpu::cr0;

bool valid_control(const cpu::CpuState& s) {
    const bool pe = s.cr0 & cr0::PE, pg = s.cr0 & cr0::PG;
    const bool lme = s.efer & cpu::efer::LME, lma = s.efer & cpu::efer::LMA;
    if (s.cr0 >> 32 || (pg && !pe) || (s.cr0 & cr0::NW && !(s.cr0 & cr0::CD))) return false;
    return lma == (lme && pg) && (!lma || s.cr4 & cpu::cr4::PAE);
}

bool valid_addresses(const cpu::CpuState& s) {
    const bool long_mode = s.efer & cpu::efer::LMA;
    const bool mode64 = long_mode && s.seg[cpu::CS].attr & 1u << 13;
    if (mode64 ? !is_canonical(s.rip) : s.rip >> 32 != 0) return false;
    const auto good = [&](uint64_t base) { return long_mode ? is_canonical(base) : base >> 32 == 0 || is_canonical(base); };
    return good(s.gdtr.base) && good(s.idtr.base) && good(s.tr.base) && good(s.ldtr.base) &&
           std::ranges::all_of(s.seg, [&](const cpu::Segment& g) { return good(g.base); });
}

Result<> check(const cpu::CpuState& s) {
    if (!valid_control(s))
        return fail(ErrorKind::Corrupt, "CPU state: control registers contradict each other (CR0 {:#x}, CR4 {:#x}, EFER {:#x})",
                    s.cr0, s.cr4, s.efer);
    if (!valid_addresses(s)) return fail(ErrorKind::Corrupt, "CPU state: an address is not canonical (RIP {:#x})", s.rip);
    if (s.dr6 >> 32 || s.dr7 >> 32) return fail(ErrorKind::Corrupt, "CPU state: upper bits of DR6 or DR7 are set");
    if (!(s.xcr0 & cpu::kXcr0X87)) return fail(ErrorKind::Corrupt, "CPU state: XCR0 {:#x} lacks x87", s.xcr0);
    if (s.rflags >> 22 || s.rflags & 0x8028) return fail(ErrorKind::Corrupt, "CPU state: reserved bits of RFLAGS {:#x}", s.rflags);
    return {};
}

}  // namespace

cpu::CpuState export_state(Core& c) {
    fpu_leave(*c.fpu);
    cpu::CpuState s;
    std::copy_n(c.gpr, 16, s.gpr.begin());
    s.rip = c.rip;
    s.rflags = c.rflags();
    std::copy_n(c.seg, 6, s.seg.begin());
    s.ldtr = c.ldtr;
    s.tr = c.tr;
    s.gdtr = c.gdtr;
    s.idtr = c.idtr;
    s.cr0 = c.cr0;
    s.cr2 = c.cr2;
    s.cr3 = c.cr3;
    s.cr4 = c.cr4;
    std::copy_n(c.dr, 4, s.dr.begin());
    s.dr6 = c.dr6;
    s.dr7 = c.dr7;
    s.efer = c.efer;
    s.xcr0 = c.xcr0;
    s.activity = c.activity;
    s.sti_shadow = c.sti_shadow;
    s.mov_ss_shadow = c.mov_ss_shadow;
    s.nmi_blocked = c.nmi_blocked;
    if (c.nmi_waiting) s.pending = {.kind = cpu::PendingEvent::Kind::Nmi, .vector = 2, .error_code = {}};
    fpu_export(*c.fpu, s.xsave);
    system_export(c, s);
    return s;
}

Result<> import_state(Core& c, const cpu::CpuState& s, ParavirtualClock clock) {
    YADO_TRY(check(s));
    fpu_leave(*c.fpu);
    std::ranges::copy(s.gpr, c.gpr);
    c.gpr[kNoReg] = 0;
    c.rip = s.rip;
    std::ranges::copy(s.seg, c.seg);
    c.ldtr = s.ldtr;
    c.tr = s.tr;
    c.gdtr = s.gdtr;
    c.idtr = s.idtr;
    c.cr0 = s.cr0;
    c.cr2 = s.cr2;
    c.cr3 = s.cr3;
    c.cr4 = s.cr4;
    std::ranges::copy(s.dr, c.dr);
    c.dr6 = s.dr6;
    c.dr7 = s.dr7;
    c.efer = s.efer;
    c.xcr0 = s.xcr0;
    c.set_rflags(s.rflags, ~uint64_t{0});
    c.activity = s.activity;
    c.sti_shadow = s.sti_shadow;
    c.mov_ss_shadow = s.mov_ss_shadow;
    c.nmi_blocked = s.nmi_blocked;
    c.nmi_waiting = s.pending.kind == cpu::PendingEvent::Kind::Nmi;
    c.interrupt_waiting = true;  // the APIC knows
    c.debug_hits = 0;
    fpu_import(*c.fpu, s.xsave);
    system_import(c, s, clock);
    return {};
}

}  // namespace yado::cpu_interp
