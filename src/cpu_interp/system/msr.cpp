// Model-specific registers: one row a range, with how it is read and written (SDM vol. 4; AMD APM vol. 2 appendix A).
//
//   RDMSR/WRMSR -> LocalApic's own numbers first -> kRows by binary search -> #GP.
#include <algorithm>
#include <iterator>

#include "base/log.h"
#include "cpu/local_apic.h"
#include "cpu_interp/fpu/fpu.h"
#include "cpu_interp/system/access.h"
#include "cpu_interp/system/control.h"
#include "cpu_interp/system/handlers.h"
#include "cpu_interp/system/kvmclock.h"
#include "cpu_interp/system/system.h"

namespace yado::cpu_interp {

namespace {

namespace msr = cpu::msr;

struct Row {
    uint32_t first, last;
    uint64_t (*read)(const Core&, uint32_t);
    bool (*write)(Core&, uint32_t, uint64_t);           ///< nullptr: read-only
    bool (*shown)(const Core&) = nullptr;               ///< nullptr: always there
    bool saved = false;                                 ///< part of CpuState::msrs
};

uint64_t zero(const Core&, uint32_t) { return 0; }
bool ignore(Core&, uint32_t, uint64_t) { return true; }

template <auto Field>
uint64_t get(const Core& c, uint32_t) {
    return (*c.system).*Field;
}
template <auto Field>
bool set(Core& c, uint32_t, uint64_t value) {
    (*c.system).*Field = value;
    return true;
}
template <auto Field>
bool set_canonical(Core& c, uint32_t, uint64_t value) {
    if (!canonical(value)) return false;
    (*c.system).*Field = value;
    return true;
}
template <auto Field, uint64_t Mask>
bool set_masked(Core& c, uint32_t, uint64_t value) {
    if (value & ~Mask) return false;
    (*c.system).*Field = value;
    return true;
}

template <unsigned Seg>
uint64_t get_base(const Core& c, uint32_t) {
    return c.seg[Seg].base;
}
template <unsigned Seg>
bool set_base(Core& c, uint32_t, uint64_t value) {
    if (!canonical(value)) return false;
    c.seg[Seg].base = value;
    return true;
}

// --- time stamp counter (SDM vol. 3, 17.17) -------------------------------------------------------------------------------

void set_offset(Core& c, uint64_t offset) {
    c.system->tsc_offset = offset;
    if (c.wiring.apic) c.wiring.apic->set_tsc_offset(offset);
    kvmclock_publish(c);
}
uint64_t get_tsc(const Core& c, uint32_t) { return guest_tsc(c); }
bool set_tsc(Core& c, uint32_t, uint64_t value) {
    const uint64_t offset = c.system->tsc_sync->offset_for(value, c.wiring.guest_tsc_hz);
    c.system->tsc_adjust += offset - c.system->tsc_offset;
    set_offset(c, offset);
    return true;
}
bool set_tsc_adjust(Core& c, uint32_t, uint64_t value) {
    const uint64_t delta = value - c.system->tsc_adjust;
    c.system->tsc_adjust = value;
    set_offset(c, c.system->tsc_offset + delta);
    return true;
}

// --- memory types (SDM vol. 3, 11.11, 11.12): kept, without effect ------------------------------------------------------------

bool memory_type(uint64_t t) { return t <= 7 && t != 2 && t != 3; }

bool set_pat(Core& c, uint32_t, uint64_t value) {
    for (unsigned n = 0; n < 8; ++n)
        if (!memory_type(value >> (8 * n) & 0xff)) return false;
    c.system->pat = value;
    return true;
}

constexpr unsigned kVariableMtrrs = 8;
uint64_t mtrr_cap(const Core&, uint32_t) { return kVariableMtrrs | 1u << 8 | 1u << 10; }
bool mtrr_type(uint64_t t) { return memory_type(t) && t != 7; }

uint64_t get_variable_mtrr(const Core& c, uint32_t n) { return c.system->mtrr_variable[n - msr::IA32_MTRR_PHYSBASE0]; }
bool set_variable_mtrr(Core& c, uint32_t n, uint64_t value) {
    const bool mask = n & 1;
    const uint64_t reserved = c.system->physical_reserved | 0xfff0'0000'0000'0000;
    if (value & (reserved | (mask ? 0x7ff : 0xf00))) return false;
    if (!mask && !mtrr_type(value & 0xff)) return false;
    c.system->mtrr_variable[n - msr::IA32_MTRR_PHYSBASE0] = value;
    return true;
}

/// 250H, 258H, 259H, 268H to 26FH as 0 to 10.
unsigned fixed_index(uint32_t n) { return n == 0x250 ? 0 : n <= 0x259 ? n - 0x257 : n - 0x265; }
uint64_t get_fixed_mtrr(const Core& c, uint32_t n) { return c.system->mtrr_fixed[fixed_index(n)]; }
bool set_fixed_mtrr(Core& c, uint32_t n, uint64_t value) {
    for (unsigned k = 0; k < 8; ++k)
        if (!mtrr_type(value >> (8 * k) & 0xff)) return false;
    c.system->mtrr_fixed[fixed_index(n)] = value;
    return true;
}
bool set_mtrr_def_type(Core& c, uint32_t, uint64_t value) {
    if (value & ~0xcffull || !mtrr_type(value & 0xff)) return false;
    c.system->mtrr_def_type = value;
    return true;
}

// --- the rest -------------------------------------------------------------------------------------------------------------------

uint64_t get_efer(const Core& c, uint32_t) { return c.efer; }
bool set_efer(Core& c, uint32_t, uint64_t value) { return write_efer(c, value); }

uint64_t platform_info(const Core& c, uint32_t) { return (c.wiring.guest_tsc_hz / 100'000'000 & 0xff) << 8; }
uint64_t arch_capabilities(const Core& c, uint32_t) { return c.wiring.model.arch_capabilities(); }
uint64_t locked(const Core&, uint32_t) { return 1; }

/// A microcode update's revision shows after CPUID (SDM vol. 3, 9.11.7); software writes 0 first. There is no update.
uint64_t microcode(const Core& c, uint32_t) { return c.system->amd ? 0 : 0xffff'ffffull << 32; }
bool predict(Core&, uint32_t, uint64_t value) { return !(value & ~1ull); }

bool set_wall_clock(Core& c, uint32_t, uint64_t value) {
    c.system->kvm_wall_clock = value;
    kvmclock_write_wall_clock(c, value);
    return true;
}
bool set_system_time(Core& c, uint32_t, uint64_t value) {
    c.system->kvm_system_time = value;
    kvmclock_publish(c);
    return true;
}

bool intel(const Core& c) { return !c.system->amd; }
bool amd(const Core& c) { return c.system->amd; }
bool has_tsc_aux(const Core& c) {
    return c.wiring.model.has(cpu::Feature::RDTSCP) || c.wiring.model.has(cpu::Feature::RDPID);
}
bool spec_ctrl(const Core& c) { return c.system->spec_ctrl_shown; }
bool old_clock(const Core& c) { return c.system->kvm_features & 1; }
bool new_clock(const Core& c) { return c.system->kvm_features & 8; }

using S = SystemState;
constexpr Row kRows[] = {
    {0x10, 0x10, get_tsc, set_tsc, nullptr, true},
    {0x11, 0x11, get<&S::kvm_wall_clock>, set_wall_clock, old_clock},
    {0x12, 0x12, get<&S::kvm_system_time>, set_system_time, old_clock},
    {0x17, 0x17, zero, nullptr, intel},                                     // IA32_PLATFORM_ID
    {0x3a, 0x3a, locked, nullptr, intel},                                   // IA32_FEATURE_CONTROL: locked, no VMX
    {0x3b, 0x3b, get<&S::tsc_adjust>, set_tsc_adjust, nullptr, false},      // saved by hand: writing it moves the TSC
    {0x48, 0x48, get<&S::spec_ctrl>, set_masked<&S::spec_ctrl, 0x407>, spec_ctrl, true},  // IBRS, STIBP, SSBD, BHI_DIS_S
    {0x49, 0x49, zero, predict, spec_ctrl},                                 // IA32_PRED_CMD
    {0x79, 0x79, zero, ignore},                                             // IA32_BIOS_UPDT_TRIG
    {0x8b, 0x8b, microcode, ignore},                                        // IA32_BIOS_SIGN_ID
    {0xce, 0xce, platform_info, nullptr, intel},
    {0xfe, 0xfe, mtrr_cap, nullptr},
    {0x10a, 0x10a, arch_capabilities, nullptr, intel},
    {0x140, 0x140, zero, ignore, intel},                                    // MISC_FEATURES_ENABLES: Linux writes back 0
    {0x174, 0x174, get<&S::sysenter_cs>, set<&S::sysenter_cs>, nullptr, true},
    {0x175, 0x175, get<&S::sysenter_esp>, set_canonical<&S::sysenter_esp>, nullptr, true},
    {0x176, 0x176, get<&S::sysenter_eip>, set_canonical<&S::sysenter_eip>, nullptr, true},
    {0x179, 0x179, zero, nullptr},                                          // IA32_MCG_CAP: no banks
    {0x17a, 0x17a, get<&S::mcg_status>, set_masked<&S::mcg_status, 7>, nullptr, true},
    {0x1a0, 0x1a0, get<&S::misc_enable>, set<&S::misc_enable>, intel, true},
    {0x1d9, 0x1d9, get<&S::debugctl>, set_masked<&S::debugctl, 3>, nullptr, true},
    {0x200, 0x20f, get_variable_mtrr, set_variable_mtrr, nullptr, true},
    {0x250, 0x250, get_fixed_mtrr, set_fixed_mtrr, nullptr, true},
    {0x258, 0x259, get_fixed_mtrr, set_fixed_mtrr, nullptr, true},
    {0x268, 0x26f, get_fixed_mtrr, set_fixed_mtrr, nullptr, true},
    {0x277, 0x277, get<&S::pat>, set_pat, nullptr, true},
    {0x2ff, 0x2ff, get<&S::mtrr_def_type>, set_mtrr_def_type, nullptr, true},
    {0x4b564d00, 0x4b564d00, get<&S::kvm_wall_clock>, set_wall_clock, new_clock},
    {0x4b564d01, 0x4b564d01, get<&S::kvm_system_time>, set_system_time, new_clock, true},
    {0xc0000080, 0xc0000080, get_efer, set_efer},
    {0xc0000081, 0xc0000081, get<&S::star>, set<&S::star>, nullptr, true},
    {0xc0000082, 0xc0000082, get<&S::lstar>, set_canonical<&S::lstar>, nullptr, true},
    {0xc0000083, 0xc0000083, get<&S::cstar>, set_canonical<&S::cstar>, nullptr, true},
    {0xc0000084, 0xc0000084, get<&S::fmask>, set_masked<&S::fmask, 0xffff'ffff>, nullptr, true},
    {0xc0000100, 0xc0000100, get_base<cpu::FS>, set_base<cpu::FS>},
    {0xc0000101, 0xc0000101, get_base<cpu::GS>, set_base<cpu::GS>},
    {0xc0000102, 0xc0000102, get<&S::kernel_gs_base>, set_canonical<&S::kernel_gs_base>, nullptr, true},
    {0xc0000103, 0xc0000103, get<&S::tsc_aux>, set_masked<&S::tsc_aux, 0xffff'ffff>, has_tsc_aux, true},
    {0xc0010010, 0xc0010010, get<&S::syscfg>, set<&S::syscfg>, amd, true},  // SYSCFG
    {0xc0010015, 0xc0010015, get<&S::hwcr>, set<&S::hwcr>, amd, true},      // HWCR
    {0xc001001f, 0xc001001f, zero, ignore, amd},                            // NB_CFG
    {0xc0011020, 0xc0011022, zero, ignore, amd},                            // LS_CFG, IC_CFG, DC_CFG
    {0xc0011029, 0xc0011029, get<&S::de_cfg>, set<&S::de_cfg>, amd, true},  // DE_CFG: LFENCE serializes
};
static_assert(std::ranges::is_sorted(kRows, {}, &Row::first));

const Row* find_row(const Core& c, uint32_t number) {
    const auto* at = std::ranges::upper_bound(kRows, number, {}, &Row::first);
    if (at == std::begin(kRows)) return nullptr;
    const Row* r = at - 1;
    return number <= r->last && (!r->shown || r->shown(c)) ? r : nullptr;
}

}  // namespace

uint64_t guest_tsc(const Core& c) { return __rdtsc() + c.system->tsc_offset; }

bool read_msr(Core& c, uint32_t number, uint64_t* value) {
    fpu_leave(*c.fpu);  // the APIC's timer computes with the host's own MXCSR
    if (cpu::LocalApic::owns_msr(number)) return c.wiring.apic && c.wiring.apic->msr_read(number, value);
    const Row* r = find_row(c, number);
    if (r) *value = r->read(c, number);
    return r;
}

bool write_msr(Core& c, uint32_t number, uint64_t value) {
    fpu_leave(*c.fpu);
    if (cpu::LocalApic::owns_msr(number)) {
        if (!c.wiring.apic || !c.wiring.apic->msr_write(number, value)) return false;
        if (number == msr::IA32_APIC_BASE) c.tlb_flush_all();  // its page moved
        return true;
    }
    const Row* r = find_row(c, number);
    return r && r->write && r->write(c, number, value);
}

void system_export(const Core& c, cpu::CpuState& state) {
    for (const Row& r : kRows)
        if (r.saved && (!r.shown || r.shown(c)))
            for (uint32_t n = r.first; n <= r.last; ++n) state.msrs[n] = r.read(c, n);
    state.msrs[msr::IA32_TSC_ADJUST] = c.system->tsc_adjust;
}

void system_import(Core& c, const cpu::CpuState& state, ParavirtualClock clock) {
    const auto saved = [&](uint32_t n, uint64_t absent) {
        const auto at = state.msrs.find(n);
        return at == state.msrs.end() ? absent : at->second;
    };
    c.system->kvm_system_time = 0;  // nothing is published before the TSC is right
    // What this model lacks, or may not hold, is left out.
    for (const Row& r : kRows)
        if (r.saved && r.write && r.first != msr::MSR_KVM_SYSTEM_TIME_NEW && (!r.shown || r.shown(c)))
            for (uint32_t n = r.first; n <= r.last; ++n)
                if (const auto at = state.msrs.find(n); at != state.msrs.end()) r.write(c, n, at->second);
    c.system->tsc_adjust = saved(msr::IA32_TSC_ADJUST, 0);
    if (new_clock(c)) c.system->kvm_system_time = saved(msr::MSR_KVM_SYSTEM_TIME_NEW, 0);
    if (clock == ParavirtualClock::Publish) kvmclock_publish(c);
    if (c.cr0 & cpu::cr0::PG && c.cr4 & cpu::cr4::PAE && !long_mode(c)) load_pdptes(c, c.cr3, c.system->pdpte.data());
    c.system->data_armed = (c.dr7 & 0xff) != 0;
    c.update_mode();
    c.tlb_flush_all();
}

namespace op {

namespace {
void do_rdmsr(Core& c, const Insn* i) {
    const auto number = static_cast<uint32_t>(c.gpr[cpu::RCX]);
    uint64_t value = 0;
    if (c.cpl > 0) c.raise(i, Vec::GP, 0);
    if (!read_msr(c, number, &value)) {
        YADO_LOG_LIMITED(Debug, "vcpu {}: rdmsr {:#x} refused", c.wiring.index, number);
        c.raise(i, Vec::GP, 0);
    }
    c.gpr[cpu::RAX] = static_cast<uint32_t>(value);
    c.gpr[cpu::RDX] = value >> 32;
}
}  // namespace

/// Apart from its work, which has locals with addresses: next() must be a tail call.
void rdmsr(Core& c, const Insn* i) {
    do_rdmsr(c, i);
    return next(c, i);
}

void wrmsr(Core& c, const Insn* i) {
    const auto number = static_cast<uint32_t>(c.gpr[cpu::RCX]);
    const uint64_t value = c.gpr[cpu::RDX] << 32 | static_cast<uint32_t>(c.gpr[cpu::RAX]);
    if (c.cpl > 0) c.raise(i, Vec::GP, 0);
    if (!write_msr(c, number, value)) {
        YADO_LOG_LIMITED(Debug, "vcpu {}: wrmsr {:#x} = {:#x} refused", c.wiring.index, number, value);
        c.raise(i, Vec::GP, 0);
    }
    c.rip = c.next_rip(i);
}

}  // namespace op

}  // namespace yado::cpu_interp
