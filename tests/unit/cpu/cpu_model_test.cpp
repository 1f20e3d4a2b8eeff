// CPUID tables of the models.
#include "cpu/cpu_model.h"

#include <gtest/gtest.h>

#include <cstring>

#include "cpu/state.h"

namespace yado::cpu {
namespace {

constexpr FeatureSet kAll = ~FeatureSet{0};

struct Guest {
    CpuModel model;
    std::vector<CpuidEntry> table;
    CpuidResult ask(uint32_t leaf, uint32_t subleaf = 0, CpuidContext context = {}) const {
        return cpuid(model, table, leaf, subleaf, context);
    }
};

Guest guest(std::string_view name, uint32_t vcpus = 1, uint32_t index = 0, Identity identity = {}) {
    auto model = make_model(name, kAll, vcpus, 2'600'000'000, identity);
    EXPECT_TRUE(model.has_value());
    return {*model, model->table(index)};
}
constexpr Identity kAmd{Vendor::Amd, 0x00a10f11};

std::string text(std::initializer_list<uint32_t> words) {
    std::string s;
    for (const uint32_t w : words) s.append(reinterpret_cast<const char*>(&w), 4);
    return s;
}

TEST(MakeModel, RefusesAnUnknownName) {
    const auto r = make_model("pentium", kAll, 1, 1);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind(), ErrorKind::Usage);
}

TEST(MakeModel, NamesTheFeaturesThatTheEngineLacks) {
    const auto r = make_model("x86-64-v3", kAll & ~feature_set({Feature::AVX2, Feature::BMI2}), 1, 1);
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message().find("avx2, bmi2"), std::string::npos) << r.error().message();
}

TEST(MakeModel, LeavesAvxOutOfLevelTwo) {
    const Guest g = guest("x86-64-v2");
    EXPECT_FALSE(g.model.has(Feature::AVX));
    EXPECT_TRUE(g.model.has(Feature::SSE4_2));
    EXPECT_EQ(g.model.supported_xcr0(), 1u);
}

TEST(MakeModel, HidesSmapBelowHost) {
    EXPECT_FALSE(guest("x86-64-v3").model.has(Feature::SMAP));
    EXPECT_TRUE(guest("host").model.has(Feature::SMAP));
}

TEST(MakeModel, DropsAvxTwoWhereAvxIsMissing) {
    const auto r = make_model("host", kAll & ~feature_set({Feature::AVX}), 1, 1);
    ASSERT_TRUE(r);
    EXPECT_FALSE(r->has(Feature::AVX2));
}

TEST(Cpuid, ShowsTheLevelInTheBrandString) {
    const Guest g = guest("x86-64-v2");
    std::string brand;
    for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
        const CpuidResult r = g.ask(leaf);
        brand += text({r.eax, r.ebx, r.ecx, r.edx});
    }
    EXPECT_STREQ(brand.c_str(), "Yado Virtual CPU x86-64-v2");
}

/// Family 6's model is in two fields (SDM vol. 2, CPUID). Known ones are in Linux's intel-family.h; libgcc takes AVX-512 code for some of them.
TEST(Cpuid, ShowsByDefaultAModelThatNoProcessorHas) {
    const uint32_t eax = guest("x86-64-v2").ask(1).eax;
    EXPECT_EQ(eax >> 8 & 15, 6u);
    EXPECT_EQ((eax >> 12 & 0xf0) | (eax >> 4 & 15), 0x7fu);
}

TEST(Cpuid, NamesTheVendorAsAsked) {
    const CpuidResult i = guest("x86-64-v2").ask(0), a = guest("x86-64-v2", 1, 0, kAmd).ask(0);
    EXPECT_EQ(text({i.ebx, i.edx, i.ecx}), "GenuineIntel");
    EXPECT_EQ(text({a.ebx, a.edx, a.ecx}), "AuthenticAMD");
}

TEST(Cpuid, AnswersAsKvmInTheHypervisorLeaves) {
    const Guest g = guest("x86-64-v2");
    const CpuidResult r = g.ask(0x40000000);
    EXPECT_EQ(text({r.ebx, r.ecx, r.edx}), std::string("KVMKVMKVM\0\0\0", 12));
    EXPECT_EQ(g.ask(0x40000001).eax, 0x0100000bu);
    EXPECT_EQ(g.ask(0x40000010).eax, 2'600'000u);
    EXPECT_EQ(g.ask(0x40000010).ebx, 1'000'000u);
}

TEST(Cpuid, GivesTheTscFrequencyFromTheCrystal) {
    const CpuidResult r = guest("x86-64-v2").ask(0x15);
    EXPECT_EQ(static_cast<uint64_t>(r.ecx) * r.ebx / r.eax, 2'600'000'000u);
}

TEST(Cpuid, MirrorsOsxsaveAndTheApicSwitch) {
    const Guest g = guest("x86-64-v2");
    EXPECT_FALSE(g.ask(1).ecx >> 27 & 1);
    EXPECT_TRUE(g.ask(1, 0, {.cr4 = cr4::OSXSAVE}).ecx >> 27 & 1);
    EXPECT_TRUE(g.ask(1, 0, {.apic_base = 0xfee00900}).edx >> 9 & 1);
    EXPECT_FALSE(g.ask(1, 0, {.apic_base = 0xfee00100}).edx >> 9 & 1);
}

TEST(Cpuid, TellsThePhysicalAddressBitsOfTheIdentity) {
    EXPECT_EQ(guest("x86-64-v2").ask(0x80000008).eax & 0xff, 46u);
    EXPECT_EQ(guest("x86-64-v2", 1, 0, {Vendor::Amd, 0x00800f12, 40}).ask(0x80000008).eax & 0xff, 40u);
}

TEST(Cpuid, ShowsXsaveOnlyWithAvx) {
    EXPECT_FALSE(guest("x86-64-v2").ask(1).ecx >> 26 & 1);
    EXPECT_TRUE(guest("x86-64-v3").ask(1).ecx >> 26 & 1);
}

TEST(Cpuid, SizesTheXsaveAreaByXcr0) {
    const Guest g = guest("x86-64-v3");
    EXPECT_EQ(g.ask(0xd, 0, {.xcr0 = 3}).ebx, 576u);
    EXPECT_EQ(g.ask(0xd, 0, {.xcr0 = 7}).ebx, 832u);
    EXPECT_EQ(g.ask(0xd, 0).ecx, 832u);
    EXPECT_EQ(g.ask(0xd, 2).ebx, 576u);
    EXPECT_EQ(g.ask(0xd, 1).eax, 0u);
}

TEST(Cpuid, TellsTheTopologyOfEachVcpu) {
    const Guest g = guest("x86-64-v2", 3, 2);
    EXPECT_EQ(g.ask(1).ebx >> 24, 2u);
    EXPECT_EQ(g.ask(1).ebx >> 16 & 0xff, 4u);
    EXPECT_TRUE(g.ask(1).edx >> 28 & 1);
    EXPECT_EQ(g.ask(0xb, 1).eax, 2u);
    EXPECT_EQ(g.ask(0xb, 1).ebx, 3u);
    EXPECT_EQ(g.ask(0xb, 1).edx, 2u);
    const CpuidResult beyond = g.ask(0xb, 2);
    EXPECT_EQ(beyond.ebx, 0u);
    EXPECT_EQ(beyond.ecx, 2u);
    EXPECT_EQ(beyond.edx, 2u);
}

TEST(Cpuid, AnswersLeavesBeyondTheMaximumAsTheHighestBasicLeaf) {
    const Guest g = guest("x86-64-v2", 2, 1);
    EXPECT_EQ(g.ask(0x30, 1), g.ask(0x1f, 1));
    EXPECT_EQ(g.ask(0x8fffffff, 1), g.ask(0x1f, 1));
    EXPECT_EQ(guest("x86-64-v2", 2, 1, kAmd).ask(0x30), CpuidResult{});
}

TEST(Cpuid, DeclaresItselfImmuneToTheKnownSideChannels) {
    const Guest g = guest("x86-64-v2");
    EXPECT_TRUE(g.ask(7).edx >> 29 & 1);
    EXPECT_TRUE(g.model.arch_capabilities() & 1);
    EXPECT_EQ(g.ask(7).eax, 2u);
    EXPECT_TRUE(g.ask(7, 2).edx >> 4 & 1);  // BHI_CTRL
    EXPECT_EQ(guest("x86-64-v2", 1, 0, kAmd).model.arch_capabilities(), 0u);
    EXPECT_TRUE(guest("x86-64-v2", 1, 0, kAmd).ask(0x80000021).eax >> 8 & 1);
}

TEST(Cpuid, ShowsEveryFeatureAtItsBit) {
    const Guest g = guest("host");
    for (unsigned i = 0; i < static_cast<unsigned>(Feature::Count); ++i) {
        const FeatureBit& f = feature_bit(static_cast<Feature>(i));
        CpuidResult r = g.ask(f.leaf);
        EXPECT_TRUE(pick(r, f.reg) >> f.bit & 1) << f.name;
    }
}

}  // namespace
}  // namespace yado::cpu
