// CPUID leaves of a model. Intel SDM vol. 2, CPUID; AMD APM vol. 3, appendix E; hypervisor leaves: Linux
// Documentation/virt/kvm/x86/cpuid.rst.
#include "cpu/cpu_model.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "cpu/state.h"

namespace yado::cpu {
namespace {

using Table = std::vector<CpuidEntry>;

constexpr uint32_t kMaxBasicIntel = 0x1f, kMaxBasicAmd = 0x16;
constexpr uint32_t kHypervisorBase = 0x40000000, kMaxHypervisor = 0x40000010;
constexpr uint32_t kExtendedBase = 0x80000000, kMaxExtendedIntel = 0x80000008, kMaxExtendedAmd = 0x80000021;

// Leaf 1 EDX: FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2.
constexpr uint32_t kBaseEdx = 0x078bfbff;
constexpr uint32_t kHtt = 1u << 28, kApic = 1u << 9, kOsxsave = 1u << 27, kHypervisor = 1u << 31;
// The bits of leaf 1 EDX that AMD repeats in 80000001H EDX.
constexpr uint32_t kAmdRepeated = 0x0183f3ff;
constexpr uint32_t kLongMode = 1u << 29;

uint32_t log2_ceil(uint32_t n) { return n <= 1 ? 0 : 32 - std::countl_zero(n - 1); }

void add(Table& t, uint32_t leaf, CpuidResult r) { t.push_back({leaf, 0, false, r}); }
void add_sub(Table& t, uint32_t leaf, uint32_t subleaf, CpuidResult r) { t.push_back({leaf, subleaf, true, r}); }

/// Up to twelve characters in the order EBX, ECX, EDX or EBX, EDX, ECX.
uint32_t chars(const char* text) {
    uint32_t v = 0;
    std::memcpy(&v, text, sizeof v);
    return v;
}

/// The bits of `leaf` that the model's features set.
CpuidResult feature_leaf(const CpuModel& m, uint32_t leaf) {
    CpuidResult r;
    for (unsigned i = 0; i < static_cast<unsigned>(Feature::Count); ++i) {
        const FeatureBit& f = feature_bit(static_cast<Feature>(i));
        if (f.leaf == leaf && m.has(f.feature)) pick(r, f.reg) |= 1u << f.bit;
    }
    return r;
}

bool is_amd(const CpuModel& m) { return m.identity.vendor == Vendor::Amd; }

void add_identity(Table& t, const CpuModel& m, uint32_t index) {
    if (is_amd(m))
        add(t, 0, {kMaxBasicAmd, chars("Auth"), chars("cAMD"), chars("enti")});
    else
        add(t, 0, {kMaxBasicIntel, chars("Genu"), chars("ntel"), chars("ineI")});
    CpuidResult one = feature_leaf(m, 1);
    one.eax = m.identity.signature;
    one.ebx = index << 24 | std::min(1u << log2_ceil(m.vcpu_count), 255u) << 16 | 8 << 8;  // CLFLUSH: 8 quadwords
    one.ecx |= kHypervisor;
    one.edx |= kBaseEdx | (m.vcpu_count > 1 ? kHtt : 0);
    add(t, 1, one);
    if (!is_amd(m)) add(t, 2, {0x00feff01, 0, 0, 0});  // caches: see leaf 4; TLBs: see leaf 18H
}

struct Cache {
    uint32_t type;  // 1 data, 2 instruction, 3 unified
    uint32_t level;
    uint32_t ways, sets;
    bool shared;
};
constexpr Cache kCaches[] = {
    {1, 1, 8, 64, false}, {2, 1, 8, 64, false}, {3, 2, 16, 1024, false}, {3, 3, 16, 16384, true}};

/// Leaf 4 (Intel) or 8000001DH (AMD): 32 KiB L1 each, 1 MiB L2, 16 MiB L3 for all; lines of 64 bytes.
void add_caches(Table& t, const CpuModel& m) {
    const uint32_t leaf = is_amd(m) ? 0x8000001d : 4;
    const uint32_t sharing = (1u << log2_ceil(m.vcpu_count)) - 1;
    const uint32_t cores = is_amd(m) ? 0 : std::min(sharing, 63u) << 26;
    uint32_t subleaf = 0;
    for (const Cache& c : kCaches) {
        const uint32_t threads = c.shared ? std::min(sharing, 0xfffu) << 14 : 0;
        add_sub(t, leaf, subleaf++,
                {c.type | c.level << 5 | 1u << 8 | threads | cores, (c.ways - 1) << 22 | 63, c.sets - 1, 0});
    }
}

/// Leaves 0BH and 1FH: one thread a core, all cores in one package.
void add_topology(Table& t, const CpuModel& m, uint32_t index) {
    for (const uint32_t leaf : {0x0bu, 0x1fu}) {
        if (leaf == 0x1f && is_amd(m)) continue;
        add_sub(t, leaf, 0, {0, 1, 0x100, index});
        add_sub(t, leaf, 1, {log2_ceil(m.vcpu_count), m.vcpu_count, 0x201, index});
    }
}

void add_structured(Table& t, const CpuModel& m) {
    CpuidResult r = feature_leaf(m, 7);
    r.ebx |= 1u << 1;                                        // TSC_ADJUST
    if (is_amd(m)) return add_sub(t, 7, 0, r);
    r.eax = 2;                                               // the highest subleaf
    r.edx |= 1u << 26 | 1u << 29;                            // SPEC_CTRL and PRED_CMD, ARCH_CAPABILITIES
    add_sub(t, 7, 0, r);
    // BHI_CTRL: a kernel that does not ask for BHI_NO (Linux 6.1) sets one bit of SPEC_CTRL instead of running a loop at
    // each entry. MCDT_NO.
    add_sub(t, 7, 2, {0, 0, 0, 1u << 4 | 1u << 5});
}

/// Leaf 0DH (SDM vol. 1, 13.2). EBX of subleaf 0 is finished by cpuid().
void add_xsave(Table& t, const CpuModel& m) {
    const uint64_t xcr0 = m.supported_xcr0();
    if (!m.has(Feature::XSAVE)) return;
    const uint32_t size = xcr0 & kXcr0Avx ? 832 : 576;
    add_sub(t, 0x0d, 0, {static_cast<uint32_t>(xcr0), size, size, static_cast<uint32_t>(xcr0 >> 32)});
    if (xcr0 & kXcr0Avx) add_sub(t, 0x0d, 2, {256, 576, 0, 0});
}

/// TSC = crystal * EBX / EAX; the crystal is the APIC timer's clock.
void add_frequencies(Table& t, const CpuModel& m) {
    const auto khz = static_cast<uint32_t>(m.tsc_hz / 1000);
    add(t, 6, {1u << 2, 0, 0, 0});  // ARAT: the APIC timer never stops
    if (khz == 0) return;
    add(t, 0x15, {static_cast<uint32_t>(kApicBusHz / 1000), khz, static_cast<uint32_t>(kApicBusHz), 0});
    const uint32_t mhz = khz / 1000;
    add(t, 0x16, {mhz, mhz, 100, 0});
    add(t, kMaxHypervisor, {khz, static_cast<uint32_t>(kApicBusHz / 1000), 0, 0});
}

/// CLOCKSOURCE, NOP_IO_DELAY, CLOCKSOURCE2, CLOCKSOURCE_STABLE_BIT: what both engines have.
void add_hypervisor(Table& t) {
    add(t, kHypervisorBase, {kMaxHypervisor, chars("KVMK"), chars("VMKV"), chars("M\0\0")});
    add(t, kHypervisorBase + 1, {1u << 0 | 1u << 1 | 1u << 3 | 1u << 24, 0, 0, 0});
}

void add_brand(Table& t, const CpuModel& m) {
    char text[48] = {};
    const std::string brand = "Yado Virtual CPU " + m.name;
    std::memcpy(text, brand.data(), std::min(brand.size(), sizeof text - 1));
    for (uint32_t i = 0; i < 3; ++i) {
        const char* p = text + 16 * i;
        add(t, kExtendedBase + 2 + i, {chars(p), chars(p + 4), chars(p + 8), chars(p + 12)});
    }
}

/// Leaves that only AMD has: caches, extended APIC id, and what says that nothing needs a mitigation that costs.
void add_amd(Table& t, const CpuModel& m, uint32_t index) {
    add(t, 0x80000005, {0, 0, 32u << 24 | 8 << 16 | 1 << 8 | 64, 32u << 24 | 8 << 16 | 1 << 8 | 64});
    add(t, 0x8000001e, {index, index & 0xff, 0, 0});
    // NoNestedDataBp, LfenceAlwaysSerializing, NullSelectClearsBase, AutomaticIBRS, SRSO_NO; ECX: TSA_SQ_NO, TSA_L1_NO
    add(t, 0x80000021, {1u << 0 | 1u << 2 | 1u << 6 | 1u << 8 | 1u << 29, 0, 1u << 1 | 1u << 2, 0});
    (void)m;
}

void add_extended(Table& t, const CpuModel& m, uint32_t index) {
    add(t, kExtendedBase,
        {is_amd(m) ? kMaxExtendedAmd : kMaxExtendedIntel, is_amd(m) ? chars("Auth") : 0, is_amd(m) ? chars("cAMD") : 0,
         is_amd(m) ? chars("enti") : 0});
    CpuidResult one = feature_leaf(m, 0x80000001);
    one.edx |= kLongMode;
    if (is_amd(m)) {
        one.eax = m.identity.signature;
        one.edx |= kBaseEdx & kAmdRepeated;
        one.ecx |= 1u << 22 | (m.vcpu_count > 1 ? 1u << 1 : 0);  // TOPOEXT, CMP_LEGACY
    }
    add(t, kExtendedBase + 1, one);
    add_brand(t, m);
    add(t, 0x80000006, {0, 0, 1024u << 16 | 6 << 12 | 64, is_amd(m) ? 32u << 18 | 8 << 12 | 1 << 8 | 64 : 0});
    add(t, 0x80000007, {0, 0, 0, 1u << 8});  // invariant TSC
    CpuidResult sizes{.eax = m.physical_address_bits | 48u << 8};
    if (is_amd(m)) {
        // IBPB, IBRS, STIBP, SSBD, SSB_NO; on an engine that lacks them they are masked out.
        sizes.ebx = 1u << 12 | 1u << 14 | 1u << 15 | 1u << 24 | 1u << 26;
        sizes.ecx = (std::min(m.vcpu_count, 256u) - 1) | log2_ceil(m.vcpu_count) << 12;
        add_amd(t, m, index);
    }
    add(t, 0x80000008, sizes);
}

const CpuidEntry* find(const Table& t, uint32_t leaf, uint32_t subleaf) {
    for (const CpuidEntry& e : t)
        if (e.leaf == leaf && (!e.subleaf_significant || e.subleaf == subleaf)) return &e;
    return nullptr;
}

/// What a leaf beyond the maximum answers as: Intel, the highest basic leaf; AMD, nothing.
uint32_t clamp(const CpuModel& m, uint32_t leaf) {
    const uint32_t max_basic = is_amd(m) ? kMaxBasicAmd : kMaxBasicIntel;
    const uint32_t max_extended = is_amd(m) ? kMaxExtendedAmd : kMaxExtendedIntel;
    const bool known = leaf <= max_basic || (leaf >= kHypervisorBase && leaf <= kMaxHypervisor) ||
                       (leaf >= kExtendedBase && leaf <= max_extended);
    return known ? leaf : is_amd(m) ? ~0u : max_basic;
}

void finish(CpuidResult& r, uint32_t leaf, uint32_t subleaf, const CpuidContext& context) {
    if (leaf == 1) {
        if (context.cr4 & cr4::OSXSAVE) r.ecx |= kOsxsave;
        if (context.apic_base && !(context.apic_base & 1u << 11)) r.edx &= ~kApic;
    }
    if (leaf == 0x0d && subleaf == 0 && r.ecx) r.ebx = context.xcr0 & kXcr0Avx ? 832 : 576;
}

}  // namespace

uint32_t& pick(CpuidResult& r, CpuidRegister reg) {
    switch (reg) {
    case CpuidRegister::Eax: return r.eax;
    case CpuidRegister::Ebx: return r.ebx;
    case CpuidRegister::Ecx: return r.ecx;
    case CpuidRegister::Edx: break;
    }
    return r.edx;
}

uint64_t CpuModel::supported_xcr0() const {
    if (!has(Feature::XSAVE)) return kXcr0X87;
    return kXcr0X87 | kXcr0Sse | (has(Feature::AVX) ? kXcr0Avx : 0);
}

// SDM vol. 4, 10AH: RDCL_NO, IBRS_ALL, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO,
// PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO.
uint64_t CpuModel::arch_capabilities() const {
    if (identity.vendor != Vendor::Intel) return 0;
    uint64_t v = 0;
    for (const unsigned bit : {0, 1, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27}) v |= 1ull << bit;
    return v | 1ull << 62;
}

Table CpuModel::table(uint32_t vcpu_index) const {
    Table t;
    add_identity(t, *this, vcpu_index);
    add_caches(t, *this);
    add_structured(t, *this);
    add_topology(t, *this, vcpu_index);
    add_xsave(t, *this);
    add_frequencies(t, *this);
    add_hypervisor(t);
    add_extended(t, *this, vcpu_index);
    return t;
}

CpuidResult cpuid(const CpuModel& model, const Table& table, uint32_t leaf, uint32_t subleaf, const CpuidContext& context) {
    leaf = clamp(model, leaf);
    CpuidResult r;
    if (const CpuidEntry* e = find(table, leaf, subleaf)) {
        r = e->result;
    } else if (leaf == 0x0b || leaf == 0x1f) {  // no such level: ECX echoes the subleaf, EDX is still the APIC id
        if (const CpuidEntry* first = find(table, leaf, 0)) r = {0, 0, subleaf & 0xff, first->result.edx};
    }
    finish(r, leaf, subleaf, context);
    return r;
}

}  // namespace yado::cpu
