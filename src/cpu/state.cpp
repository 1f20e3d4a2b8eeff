#include "cpu/state.h"

#include "base/bytes.h"

namespace yado::cpu {
namespace {

// Offsets in the FXSAVE image and the XSAVE header (SDM vol. 1, tables 10-2 and section 13.4.2).
constexpr size_t kFcw = 0, kFtw = 4, kMxcsr = 24, kXstateBv = 512;

constexpr Segment kRealData{.selector = 0, .attr = 0x93, .limit = 0xffff, .base = 0};
constexpr Segment kResetCode{.selector = 0xf000, .attr = 0x9b, .limit = 0xffff, .base = 0xffff0000};

XsaveArea reset_fpu() {
    XsaveArea area;
    store_le<uint16_t>(&area.bytes[kFcw], 0x0040);
    store_le<uint8_t>(&area.bytes[kFtw], 0xff);  // FTW 5555H: every register holds +0.0
    store_le<uint32_t>(&area.bytes[kMxcsr], 0x1f80);
    store_le<uint64_t>(&area.bytes[kXstateBv], kXcr0X87 | kXcr0Sse);
    return area;
}

/// What RESET and INIT have in common (SDM vol. 3, table 9-1).
void reset_core(CpuState& s) {
    s.gpr = {};
    s.gpr[RDX] = 0x600;  // a processor signature: family 6
    s.rip = 0xfff0;
    s.rflags = rflags::FIXED1;
    s.seg.fill(kRealData);
    s.seg[CS] = kResetCode;
    s.ldtr = {.attr = 0x82};
    s.tr = {.attr = 0x8b};
    s.gdtr = s.idtr = {};
    s.cr2 = s.cr3 = s.cr4 = s.efer = 0;
    s.dr = {};
    s.dr6 = 0xffff0ff0;
    s.dr7 = 0x400;
    s.sti_shadow = s.mov_ss_shadow = s.nmi_blocked = false;
    s.pending = {};
}

}  // namespace

CpuState reset_state() {
    CpuState s;
    reset_core(s);
    s.cr0 = cr0::CD | cr0::NW | cr0::ET;
    s.xsave = reset_fpu();
    s.msrs[msr::IA32_TSC] = 0;
    s.msrs[msr::IA32_PAT] = 0x0007040600070406;
    s.msrs[msr::IA32_MISC_ENABLE] = 1;
    return s;
}

LapicState reset_lapic_state(uint32_t apic_id, bool boot_processor) {
    constexpr uint32_t kMasked = 0x10000, kExtInt = 0x700;
    LapicState l;
    const auto reg = [&](uint32_t offset) -> uint32_t& { return l.regs[offset / 16]; };
    reg(0x020) = apic_id << 24;
    reg(0x030) = 0x00050014;  // version 14H, six LVT entries
    reg(0x0e0) = 0xffffffff;  // DFR: flat
    reg(0x0f0) = 0xff;        // SVR: software-disabled
    for (const uint32_t lvt : {0x320u, 0x330u, 0x340u, 0x350u, 0x360u, 0x370u}) reg(lvt) = kMasked;
    if (boot_processor) reg(0x350) = kExtInt;
    l.apic_base = 0xfee00000 | 1u << 11 | (boot_processor ? 1u << 8 : 0);
    return l;
}

void apply_init(CpuState& s) {
    const uint64_t cache_bits = s.cr0 & (cr0::CD | cr0::NW);
    reset_core(s);
    s.cr0 = cr0::ET | cache_bits;
    s.activity = Activity::WaitForSipi;
}

void apply_sipi(CpuState& s, uint8_t vector) {
    s.seg[CS].selector = static_cast<uint16_t>(vector << 8);
    s.seg[CS].base = static_cast<uint64_t>(vector) << 12;
    s.rip = 0;
    s.activity = Activity::Running;
}

}  // namespace yado::cpu
