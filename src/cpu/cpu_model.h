// CPU models: which CPUID leaves a guest sees and which MSRs exist. One table serves both engines.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace yado::cpu {

struct CpuidResult {
    uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    friend bool operator==(const CpuidResult&, const CpuidResult&) = default;
};

struct CpuidEntry {
    uint32_t leaf;
    uint32_t subleaf;
    bool subleaf_significant;
    CpuidResult result;
};

/// Features by the manual's names, for engines and for checks across hosts. One bit each in CpuModel::features.
enum class Feature : uint8_t {
    SSE3, PCLMULQDQ, SSSE3, FMA, CX16, SSE4_1, SSE4_2, MOVBE, POPCNT, AESNI, XSAVE, AVX, F16C, RDRAND,
    FSGSBASE, BMI1, AVX2, SMEP, BMI2, ERMS, INVPCID, RDSEED, ADX, SMAP, SHA, UMIP, VAES, GFNI, VPCLMULQDQ, FSRM,
    PCID, X2APIC, TSC_DEADLINE, PDPE1GB, RDTSCP, LAHF_LM, LZCNT, PREFETCHW, NX, SYSCALL, CLFLUSHOPT, RDPID,
    FDP_EXCPTN_ONLY, ZERO_FCS_FDS, Count
};

/// Who the guest thinks made its processor: kernels choose quirks and mitigations by it.
enum class Vendor : uint8_t { Intel, Amd };

/// Vendor, leaf 1's family, model and stepping, and the width of physical addresses. The default needs no mitigation that costs, and is no
/// processor that exists: programs with variants by model (GCC's arch= clones) take them without a look at the features. With KVM take the
/// host's (cpu_kvm::host_identity), whose faults the guest's kernel has to know.
struct Identity {
    Vendor vendor = Vendor::Intel;
    uint32_t signature = 0x000706f0;  ///< family 6, model 127, stepping 0
    unsigned physical_address_bits = 46;
    friend bool operator==(const Identity&, const Identity&) = default;
};

/// The input clock of the local APIC timer, as leaves 15H and 40000010H tell it (KVM's is the same).
inline constexpr uint64_t kApicBusHz = 1'000'000'000;

/// A model made concrete for one guest: topology and frequency included.
struct CpuModel {
    std::string name;                 ///< "x86-64-v2"
    Identity identity;
    uint64_t features = 0;            ///< bit per Feature
    uint32_t vcpu_count = 1;
    uint64_t tsc_hz = 0;
    unsigned physical_address_bits = 46;

    bool has(Feature f) const { return features >> static_cast<unsigned>(f) & 1; }
    /// XCR0 bits that the guest may set.
    uint64_t supported_xcr0() const;
    /// IA32_ARCH_CAPABILITIES (10AH); the MSR exists where leaf 7 says so (Vendor::Intel), else 0.
    uint64_t arch_capabilities() const;
    /// The whole table for one vCPU (APIC ids differ), static part; leaves 1 (OSXSAVE, APIC id), 7, 0xD depend on state
    /// and are finished by cpuid().
    std::vector<CpuidEntry> table(uint32_t vcpu_index) const;
};

/// CR4 and XCR0 bits that CPUID mirrors.
struct CpuidContext {
    uint64_t cr4 = 0;
    uint64_t xcr0 = 1;
    uint64_t apic_base = 0;  ///< bit 11 clear hides the APIC; 0: not known, shown
};

/// The CPUID instruction. Leaves above the maximum answer as the highest basic leaf (SDM vol. 2, CPUID).
CpuidResult cpuid(const CpuModel& model, const std::vector<CpuidEntry>& table, uint32_t leaf, uint32_t subleaf,
                  const CpuidContext& context);

/// What an engine can run. bt: what its interpreter and translator implement; kvm: what KVM_GET_SUPPORTED_CPUID shows.
using FeatureSet = uint64_t;

/// Makes "x86-64-v1", "x86-64-v2", "x86-64-v3" or "host" concrete. Errors: Usage (no such model), Failed (the engine
/// lacks features of the level; names them).
Result<CpuModel> make_model(std::string_view name, FeatureSet engine_features, uint32_t vcpu_count, uint64_t tsc_hz,
                            Identity identity = {});

/// Where CPUID shows a feature. The table of all of them, in the order of Feature.
enum class CpuidRegister : uint8_t { Eax, Ebx, Ecx, Edx };
struct FeatureBit {
    Feature feature;
    std::string_view name;
    uint32_t leaf;
    CpuidRegister reg;
    uint8_t bit;
};
const FeatureBit& feature_bit(Feature f);
constexpr FeatureSet feature_set(std::initializer_list<Feature> list) {
    FeatureSet set = 0;
    for (const Feature f : list) set |= 1ull << static_cast<unsigned>(f);
    return set;
}
/// Register of a result by name.
uint32_t& pick(CpuidResult& result, CpuidRegister reg);

/// Name of a feature as the manual and Linux spell it ("sse4_2").
std::string_view feature_name(Feature f);

}  // namespace yado::cpu
