#include "cpu_interp/system/system_state.h"

#include <map>

#include "base/check.h"

namespace yado::cpu_interp {

namespace {

/// vCPUs that share memory are one guest's, and share the notion of a synchronized TSC.
std::shared_ptr<TscSync> sync_of(const mem::GuestMemory& memory) {
    static std::mutex mutex;
    static std::map<const mem::GuestMemory*, std::weak_ptr<TscSync>> all;
    const std::lock_guard lock(mutex);
    std::erase_if(all, [](const auto& entry) { return entry.second.expired(); });
    std::weak_ptr<TscSync>& weak = all[&memory];
    auto sync = weak.lock();
    if (!sync) weak = sync = std::make_shared<TscSync>();
    return sync;
}

struct Leaves {
    const cpu::CpuModel& model;
    const std::vector<cpu::CpuidEntry>& table;
    cpu::CpuidResult operator()(uint32_t leaf) const { return cpu::cpuid(model, table, leaf, 0, {}); }
};

/// CR4 bits by the features that CPUID shows (SDM vol. 3, 2.5).
uint64_t allowed_cr4(const cpu::CpuModel& m, uint32_t edx1) {
    namespace cr4 = cpu::cr4;
    struct Rule {
        uint64_t bits;
        bool shown;
    };
    const auto edx = [&](unsigned bit) { return (edx1 >> bit & 1) != 0; };
    const Rule rules[] = {
        {cr4::TSD, edx(4)},
        {cr4::DE, edx(2)},
        {cr4::PSE, edx(3)},
        {cr4::PAE, edx(6)},
        {cr4::MCE, edx(7)},
        {cr4::PGE, edx(13)},
        {cr4::PCE, true},
        {cr4::OSFXSR, edx(24)},
        {cr4::OSXMMEXCPT, edx(25)},
        {cr4::UMIP, m.has(cpu::Feature::UMIP)},
        {cr4::FSGSBASE, m.has(cpu::Feature::FSGSBASE)},
        {cr4::PCIDE, m.has(cpu::Feature::PCID)},
        {cr4::OSXSAVE, m.has(cpu::Feature::XSAVE)},
        {cr4::SMEP, m.has(cpu::Feature::SMEP)},
        {cr4::SMAP, m.has(cpu::Feature::SMAP)},
    };
    uint64_t all = 0;
    for (const Rule& r : rules)
        if (r.shown) all |= r.bits;
    return all;
}

}  // namespace

SystemState::SystemState(const cpu::VcpuWiring& wiring) : cpuid_table(wiring.model.table(wiring.index)) {
    const cpu::CpuModel& m = wiring.model;
    const Leaves leaf{m, cpuid_table};
    const cpu::CpuidResult one = leaf(1), seven = leaf(7);
    amd = leaf(0).ebx == 0x68747541;  // "Auth"
    hypervisor = one.ecx >> 31 & 1;
    monitor = one.ecx >> 3 & 1;
    gbyte_pages = m.has(cpu::Feature::PDPE1GB);
    kvm_features = hypervisor ? leaf(0x40000001).eax : 0;
    const bool amd_spec_ctrl = amd && leaf(0x80000008).ebx & (1u << 14 | 1u << 15 | 1u << 24);
    spec_ctrl_shown = seven.edx & 1u << 26 || amd_spec_ctrl;
    cr4_allowed = allowed_cr4(m, one.edx);
    efer_allowed = cpu::efer::SCE | cpu::efer::LME | (m.has(cpu::Feature::NX) ? cpu::efer::NXE : 0);
    if (amd && leaf(0x80000000).eax >= 0x80000021 && leaf(0x80000021).eax & 1u << 8) efer_allowed |= 1u << 21;  // AIBRSE
    const unsigned bits = m.physical_address_bits < 36 ? 36 : m.physical_address_bits > 52 ? 52 : m.physical_address_bits;
    physical_reserved = 0x000f'ffff'ffff'ffff & ~((1ull << bits) - 1);
    tsc_sync = sync_of(wiring.memory);
    tsc_offset = tsc_sync->offset_for(0, wiring.guest_tsc_hz);
}

}  // namespace yado::cpu_interp
