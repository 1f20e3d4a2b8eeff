// The table of features and the levels of the x86-64 psABI (section 3.1.1, "Micro-Architecture levels").
#include <fmt/core.h>

#include <array>

#include "cpu/cpu_model.h"

namespace yado::cpu {
namespace {

using enum CpuidRegister;
constexpr uint32_t k1 = 1, k7 = 7, kExt1 = 0x80000001;

// SDM vol. 2, CPUID, tables 3-10, 3-11 and leaf 7; AMD APM vol. 3 appendix E for LZCNT and PREFETCHW.
constexpr auto kFeatures = std::to_array<FeatureBit>({
    {Feature::SSE3, "sse3", k1, Ecx, 0},
    {Feature::PCLMULQDQ, "pclmulqdq", k1, Ecx, 1},
    {Feature::SSSE3, "ssse3", k1, Ecx, 9},
    {Feature::FMA, "fma", k1, Ecx, 12},
    {Feature::CX16, "cx16", k1, Ecx, 13},
    {Feature::SSE4_1, "sse4_1", k1, Ecx, 19},
    {Feature::SSE4_2, "sse4_2", k1, Ecx, 20},
    {Feature::MOVBE, "movbe", k1, Ecx, 22},
    {Feature::POPCNT, "popcnt", k1, Ecx, 23},
    {Feature::AESNI, "aes", k1, Ecx, 25},
    {Feature::XSAVE, "xsave", k1, Ecx, 26},
    {Feature::AVX, "avx", k1, Ecx, 28},
    {Feature::F16C, "f16c", k1, Ecx, 29},
    {Feature::RDRAND, "rdrand", k1, Ecx, 30},
    {Feature::FSGSBASE, "fsgsbase", k7, Ebx, 0},
    {Feature::BMI1, "bmi1", k7, Ebx, 3},
    {Feature::AVX2, "avx2", k7, Ebx, 5},
    {Feature::SMEP, "smep", k7, Ebx, 7},
    {Feature::BMI2, "bmi2", k7, Ebx, 8},
    {Feature::ERMS, "erms", k7, Ebx, 9},
    {Feature::INVPCID, "invpcid", k7, Ebx, 10},
    {Feature::RDSEED, "rdseed", k7, Ebx, 18},
    {Feature::ADX, "adx", k7, Ebx, 19},
    {Feature::SMAP, "smap", k7, Ebx, 20},
    {Feature::SHA, "sha_ni", k7, Ebx, 29},
    {Feature::UMIP, "umip", k7, Ecx, 2},
    {Feature::VAES, "vaes", k7, Ecx, 9},
    {Feature::GFNI, "gfni", k7, Ecx, 8},
    {Feature::VPCLMULQDQ, "vpclmulqdq", k7, Ecx, 10},
    {Feature::FSRM, "fsrm", k7, Edx, 4},
    {Feature::PCID, "pcid", k1, Ecx, 17},
    {Feature::X2APIC, "x2apic", k1, Ecx, 21},
    {Feature::TSC_DEADLINE, "tsc_deadline_timer", k1, Ecx, 24},
    {Feature::PDPE1GB, "pdpe1gb", kExt1, Edx, 26},
    {Feature::RDTSCP, "rdtscp", kExt1, Edx, 27},
    {Feature::LAHF_LM, "lahf_lm", kExt1, Ecx, 0},
    {Feature::LZCNT, "lzcnt", kExt1, Ecx, 5},
    {Feature::PREFETCHW, "3dnowprefetch", kExt1, Ecx, 8},
    {Feature::NX, "nx", kExt1, Edx, 20},
    {Feature::SYSCALL, "syscall", kExt1, Edx, 11},
    {Feature::CLFLUSHOPT, "clflushopt", k7, Ebx, 23},
    {Feature::RDPID, "rdpid", k7, Ecx, 22},
    {Feature::FDP_EXCPTN_ONLY, "fdp_excptn_only", k7, Ebx, 6},
    {Feature::ZERO_FCS_FDS, "zero_fcs_fds", k7, Ebx, 13},
});
static_assert(kFeatures.size() == static_cast<size_t>(Feature::Count));
static_assert([] {
    for (size_t i = 0; i < kFeatures.size(); ++i)
        if (static_cast<size_t>(kFeatures[i].feature) != i) return false;
    return true;
}());

using enum Feature;
constexpr FeatureSet kRequired1 = feature_set({NX, SYSCALL});
constexpr FeatureSet kRequired2 = kRequired1 | feature_set({CX16, LAHF_LM, POPCNT, SSE3, SSSE3, SSE4_1, SSE4_2});
constexpr FeatureSet kRequired3 = kRequired2 | feature_set({AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT, MOVBE, XSAVE});

// What a level also shows where the engine has it. SMAP is not among them: a kernel that sees it brackets every user
// copy with STAC and CLAC, which a software engine pays for; "host" shows it.
constexpr FeatureSet kSystem = feature_set(
    {FSGSBASE, SMEP, UMIP, ERMS, FSRM, INVPCID, PCID, X2APIC, TSC_DEADLINE, PDPE1GB, RDTSCP, PREFETCHW, CLFLUSHOPT,
     FDP_EXCPTN_ONLY, ZERO_FCS_FDS});
// XSAVE comes with AVX: alone it saves nothing that FXSAVE does not, and processors that have only it are unknown to
// software (QEMU's emulation fails on its XRSTOR).
constexpr FeatureSet kOptional2 = kSystem | feature_set({RDRAND});
constexpr FeatureSet kOptional3 = kOptional2 | feature_set({AESNI, PCLMULQDQ, RDSEED, ADX});

struct Level {
    std::string_view name;
    FeatureSet required;
    FeatureSet optional;
};
constexpr auto kLevels = std::to_array<Level>({
    {"x86-64-v1", kRequired1, kSystem},
    {"x86-64-v2", kRequired2, kOptional2},
    {"x86-64-v3", kRequired3, kOptional3},
    {"host", kRequired1, ~FeatureSet{0}},
});

/// Features that make no sense without another one.
FeatureSet drop_orphans(FeatureSet set) {
    const auto lacks = [&](Feature f) { return !(set & feature_set({f})); };
    if (lacks(XSAVE)) set &= ~feature_set({AVX});
    if (lacks(AVX)) set &= ~feature_set({AVX2, FMA, F16C, VAES, VPCLMULQDQ});
    if (lacks(PCID)) set &= ~feature_set({INVPCID});
    return set;
}

std::string names_of(FeatureSet set) {
    std::string text;
    for (const FeatureBit& f : kFeatures)
        if (set & feature_set({f.feature})) text += fmt::format("{}{}", text.empty() ? "" : ", ", f.name);
    return text;
}

}  // namespace

const FeatureBit& feature_bit(Feature f) { return kFeatures[static_cast<size_t>(f)]; }
std::string_view feature_name(Feature f) { return feature_bit(f).name; }

Result<CpuModel> make_model(std::string_view name, FeatureSet engine_features, uint32_t vcpu_count, uint64_t tsc_hz,
                            Identity identity) {
    for (const Level& level : kLevels) {
        if (level.name != name) continue;
        if (const FeatureSet missing = level.required & ~engine_features)
            return fail(ErrorKind::Failed, "CPU model {}: this engine lacks {}; choose a lower level", name, names_of(missing));
        const FeatureSet known = (1ull << static_cast<unsigned>(Feature::Count)) - 1;
        return CpuModel{.name = std::string(name),
                        .identity = identity,
                        .features = drop_orphans((level.required | level.optional) & engine_features & known),
                        .vcpu_count = vcpu_count,
                        .tsc_hz = tsc_hz,
                        .physical_address_bits = identity.physical_address_bits};
    }
    return fail(ErrorKind::Usage, "no CPU model {}: choose x86-64-v1, x86-64-v2, x86-64-v3 or host", name);
}

}  // namespace yado::cpu
