// VEX instructions beyond what the oracle can ask a host's user mode: modes, enabling, privileged state, unmasked
// exceptions, faults half-way, models without a feature.
#include <gtest/gtest.h>

#include "core_fixture.h"
#include "cpu_interp/decode/decode.h"
#include "cpu_interp/fpu/fpu.h"

namespace yado::cpu_interp {
namespace {

using Bytes = std::vector<uint8_t>;

// The memory operand is [rbx].
const Bytes kVzeroupper{0xc5, 0xf8, 0x77};
const Bytes kVaddps{0xc5, 0xec, 0x58, 0xcb};            // vaddps ymm1, ymm2, ymm3
const Bytes kVdivps{0xc5, 0xec, 0x5e, 0xcb};            // vdivps ymm1, ymm2, ymm3
const Bytes kVmulps{0xc5, 0xec, 0x59, 0xcb};            // vmulps ymm1, ymm2, ymm3
const Bytes kVpaddd{0xc5, 0xed, 0xfe, 0xcb};            // vpaddd ymm1, ymm2, ymm3
const Bytes kVpadddXmm{0xc5, 0xe9, 0xfe, 0xcb};         // vpaddd xmm1, xmm2, xmm3
const Bytes kPadddSse{0x66, 0x0f, 0xfe, 0xcb};          // paddd xmm1, xmm3
const Bytes kVmovapsLoad{0xc5, 0xfc, 0x28, 0x0b};       // vmovaps ymm1, [rbx]
const Bytes kVmovupsStore{0xc5, 0xfc, 0x11, 0x0b};      // vmovups [rbx], ymm1
const Bytes kVpandMemory{0xc5, 0xed, 0xdb, 0x0b};       // vpand ymm1, ymm2, [rbx]
const Bytes kVmaskmovStore{0xc4, 0xe2, 0x6d, 0x2e, 0x0b};  // vmaskmovps [rbx], ymm2, ymm1
const Bytes kVmaskmovLoad{0xc4, 0xe2, 0x6d, 0x2c, 0x0b};   // vmaskmovps ymm1, ymm2, [rbx]
const Bytes kGather{0xc4, 0xe2, 0x65, 0x90, 0x0c, 0x13};   // vpgatherdd ymm1, [rbx+ymm2], ymm3
const Bytes kVcvtps2ph{0xc4, 0xe3, 0x7d, 0x1d, 0x0b, 0x00};  // vcvtps2ph [rbx], ymm1, 0
const Bytes kAndn{0xc4, 0xe2, 0x70, 0xf2, 0xc2};        // andn eax, ecx, edx
const Bytes kTzcnt{0xf3, 0x0f, 0xbc, 0xc1};             // tzcnt eax, ecx
const Bytes kLzcnt{0xf3, 0x0f, 0xbd, 0xc1};             // lzcnt eax, ecx
const Bytes kXsave{0x0f, 0xae, 0x23}, kXrstor{0x0f, 0xae, 0x2b};

Xmm floats(float a, float b, float c, float d) { return std::bit_cast<Xmm>(std::array{a, b, c, d}); }
Xmm words(uint32_t a, uint32_t b, uint32_t c, uint32_t d) { return std::bit_cast<Xmm>(std::array{a, b, c, d}); }
bool equal(Xmm a, Xmm b) { return a[0] == b[0] && a[1] == b[1]; }

class Vex : public CoreFixture {
  protected:
    static constexpr uint64_t kData = 0x5'0000;   ///< a page that no other follows

    void SetUp() override {
        if (!(supported_features() & cpu::feature_set({cpu::Feature::AVX2}))) GTEST_SKIP() << "the host lacks AVX2";
        long_mode_at(0);
        c().cr4 |= cpu::cr4::OSFXSR | cpu::cr4::OSXMMEXCPT | cpu::cr4::OSXSAVE;
        c().xcr0 = 7;
        c().gpr[cpu::RBX] = kData;
        set_present(kData + 4096, false);
    }

    void set_present(uint64_t page, bool present) {
        poke<uint64_t>(kPt + (page >> 12) * 8, present ? page | P | W | U : 0);
        c().tlb_flush_all();
    }
    /// Decodes and runs one instruction in the core's mode; the vector of its fault, if any.
    std::optional<Vec> run(const Bytes& bytes) {
        Insn block[2] = {};
        if (decode(bytes.data(), bytes.size(), c().code_mode, block) != DecodeStatus::Ok) return Vec::UD;
        block[0].run = select(block[0]).run;
        if (!block[0].run) return Vec::UD;
        block[1].run = [](Core&, const Insn*) {};
        const auto fault = fault_of([&] { block[0].run(c(), block); });
        fpu_leave(fpu());
        return fault ? std::optional(fault->vector) : std::nullopt;
    }
    Fpu& fpu() { return *c().fpu; }
    uint8_t byte(unsigned offset) { return peek<uint8_t>(kData + offset); }
};

TEST_F(Vex, AvxHasToBeEnabledInCr4AndXcr0) {
    EXPECT_EQ(run(kVaddps), std::nullopt);
    c().xcr0 = 3;
    EXPECT_EQ(run(kVaddps), Vec::UD);
    EXPECT_EQ(run(kVzeroupper), Vec::UD);
    c().xcr0 = 7;
    c().cr4 &= ~cpu::cr4::OSXSAVE;
    EXPECT_EQ(run(kVaddps), Vec::UD);
    EXPECT_EQ(run(kAndn), std::nullopt);
}

TEST_F(Vex, TsIsNmUnlessTheInstructionIsUndefinedAnyway) {
    c().cr0 |= cpu::cr0::TS;
    EXPECT_EQ(run(kVaddps), Vec::NM);
    EXPECT_EQ(run(kAndn), std::nullopt);
    c().xcr0 = 3;
    EXPECT_EQ(run(kVaddps), Vec::UD);
}

TEST_F(Vex, NeitherEmNorOsfxsrMatters) {
    c().cr0 |= cpu::cr0::EM;
    c().cr4 &= ~cpu::cr4::OSFXSR;
    EXPECT_EQ(run(kVaddps), std::nullopt);
}

TEST_F(Vex, RealAndVirtual8086ModeKnowNoVex) {
    c().code_mode = CodeMode::Bits16;
    EXPECT_EQ(run(kVzeroupper), std::nullopt);
    EXPECT_EQ(run(kAndn), std::nullopt);
    c().sysflags |= cpu::rflags::VM;
    EXPECT_EQ(run(kVzeroupper), Vec::UD);
    EXPECT_EQ(run(kAndn), Vec::UD);
    c().sysflags &= ~cpu::rflags::VM;
    c().cr0 &= ~cpu::cr0::PE;
    EXPECT_EQ(run(kVzeroupper), Vec::UD);
    EXPECT_EQ(run(kAndn), Vec::UD);
}

TEST_F(Vex, AFeatureThatTheModelHidesIsUndefined) {
    model_.features = cpu::feature_set({cpu::Feature::AVX, cpu::Feature::XSAVE});
    EXPECT_EQ(run(kVaddps), std::nullopt);
    EXPECT_EQ(run(kVpadddXmm), std::nullopt);
    EXPECT_EQ(run(kVpaddd), Vec::UD);
    EXPECT_EQ(run(kGather), Vec::UD);
    EXPECT_EQ(run(kVcvtps2ph), Vec::UD);
    EXPECT_EQ(run(kAndn), Vec::UD);
}

TEST_F(Vex, WithoutBmi1AndLzcntTheirEncodingsAreScans) {
    c().gpr[cpu::RCX] = 0x10;
    EXPECT_EQ(run(kLzcnt), std::nullopt);
    EXPECT_EQ(c().gpr[cpu::RAX], 27u);
    model_.features = 0;
    EXPECT_EQ(run(kLzcnt), std::nullopt);
    EXPECT_EQ(c().gpr[cpu::RAX], 4u);
    c().gpr[cpu::RCX] = 0;
    EXPECT_EQ(run(kTzcnt), std::nullopt);
    EXPECT_EQ(c().gpr[cpu::RAX], 4u);  // a scan of 0 leaves its destination
}

TEST_F(Vex, LegacySseKeepsTheUpperHalfAndVex128ClearsIt) {
    fpu().ymm_high[1] = words(1, 2, 3, 4);
    EXPECT_EQ(run(kPadddSse), std::nullopt);
    EXPECT_TRUE(equal(fpu().ymm_high[1], words(1, 2, 3, 4)));
    EXPECT_EQ(run(kVpadddXmm), std::nullopt);
    EXPECT_TRUE(equal(fpu().ymm_high[1], Xmm{}));
}

TEST_F(Vex, VzeroupperOutsideSixtyFourBitModeLeavesTheOtherEightRegisters) {
    for (Xmm& v : fpu().ymm_high) v = words(1, 1, 1, 1);
    c().code_mode = CodeMode::Bits32;
    EXPECT_EQ(run(kVzeroupper), std::nullopt);
    EXPECT_TRUE(equal(fpu().ymm_high[7], Xmm{}));
    EXPECT_TRUE(equal(fpu().ymm_high[8], words(1, 1, 1, 1)));
    c().code_mode = CodeMode::Bits64;
    EXPECT_EQ(run(kVzeroupper), std::nullopt);
    EXPECT_TRUE(equal(fpu().ymm_high[15], Xmm{}));
}

TEST_F(Vex, OnlyAlignedMovesAskForAlignment) {
    c().gpr[cpu::RBX] += 16;
    EXPECT_EQ(run(kVmovapsLoad), Vec::GP);
    EXPECT_EQ(run(kVpandMemory), std::nullopt);
    c().gpr[cpu::RBX] += 1;
    EXPECT_EQ(run(kVpandMemory), std::nullopt);
}

TEST_F(Vex, AStoreThatFaultsInItsSecondHalfWritesNothing) {
    for (const unsigned in_page : {16u, 8u, 24u}) {
        c().gpr[cpu::RBX] = kData + 4096 - in_page;
        fpu().xmm[1] = fpu().ymm_high[1] = words(~0u, ~0u, ~0u, ~0u);
        EXPECT_EQ(run(kVmovupsStore), Vec::PF);
        EXPECT_EQ(c().cr2, kData + 4096);
        EXPECT_EQ(byte(4096 - in_page), 0) << in_page;
    }
}

TEST_F(Vex, AMaskedElementIsNeitherReadNorWrittenAndDoesNotFault) {
    c().gpr[cpu::RBX] = kData + 4096 - 16;
    fpu().xmm[1] = words(1, 2, 3, 4);
    fpu().xmm[2] = words(0x80000000, 0, 0x80000000, 0x7fffffff);
    EXPECT_EQ(run(kVmaskmovStore), std::nullopt);
    EXPECT_EQ(byte(4096 - 16), 1);
    EXPECT_EQ(byte(4096 - 12), 0);
    EXPECT_EQ(byte(4096 - 8), 3);
    EXPECT_EQ(run(kVmaskmovLoad), std::nullopt);
    EXPECT_TRUE(equal(fpu().xmm[1], words(1, 0, 3, 0)));
    fpu().ymm_high[2] = words(0x80000000, 0, 0, 0);
    poke<uint8_t>(kData + 4096 - 16, 9);
    EXPECT_EQ(run(kVmaskmovStore), Vec::PF);
    EXPECT_EQ(byte(4096 - 16), 9);
}

TEST_F(Vex, AGatherThatFaultsKeepsWhatIsDoneAndGoesOnAfterwards) {
    poke<uint32_t>(kData, 11);
    poke<uint32_t>(kData + 4, 22);
    fpu().xmm[1] = fpu().ymm_high[1] = words(7, 7, 7, 7);
    fpu().xmm[2] = words(0, 4, 4096, 0);
    fpu().ymm_high[2] = Xmm{};
    fpu().xmm[3] = words(~0u, ~0u, ~0u, 0);
    fpu().ymm_high[3] = words(0, ~0u, 0, 0);
    EXPECT_EQ(run(kGather), Vec::PF);
    EXPECT_EQ(c().cr2, kData + 4096);
    EXPECT_TRUE(equal(fpu().xmm[1], words(11, 22, 7, 7)));
    EXPECT_TRUE(equal(fpu().xmm[3], words(0, 0, ~0u, 0)));
    set_present(kData + 4096, true);
    poke<uint32_t>(kData + 4096, 33);
    poke<uint32_t>(kData, 99);  // elements that are done are not read again
    EXPECT_EQ(run(kGather), std::nullopt);
    EXPECT_TRUE(equal(fpu().xmm[1], words(11, 22, 33, 7)));
    EXPECT_TRUE(equal(fpu().ymm_high[1], words(7, 99, 7, 7)));
    EXPECT_TRUE(equal(fpu().xmm[3], Xmm{}) && equal(fpu().ymm_high[3], Xmm{}));
}

TEST_F(Vex, GatherRegistersHaveToDiffer) {
    EXPECT_EQ(run({0xc4, 0xe2, 0x65, 0x90, 0x0c, 0x0b}), Vec::UD);  // destination and index
    EXPECT_EQ(run({0xc4, 0xe2, 0x75, 0x90, 0x0c, 0x13}), Vec::UD);  // destination and mask
    EXPECT_EQ(run({0xc4, 0xe2, 0x6d, 0x90, 0x0c, 0x13}), Vec::UD);  // index and mask
    EXPECT_EQ(run({0xc4, 0xe2, 0x65, 0x90, 0x0b}), Vec::UD);        // no SIB byte
}

TEST_F(Vex, AnUnmaskedExceptionOfAnUpperElementRaisesXmAndKeepsTheDestination) {
    fpu().mxcsr = 0x1f80 & ~0x200u;
    fpu().xmm[1] = fpu().ymm_high[1] = floats(5, 5, 5, 5);
    fpu().xmm[2] = fpu().ymm_high[2] = fpu().xmm[3] = floats(1, 1, 1, 1);
    fpu().ymm_high[3] = floats(1, 1, 0, 1);
    EXPECT_EQ(run(kVdivps), Vec::XM);
    EXPECT_EQ(fpu().mxcsr & mxcsr::kFlags, x87::ZE);
    EXPECT_TRUE(equal(fpu().ymm_high[1], floats(5, 5, 5, 5)));
    c().cr4 &= ~cpu::cr4::OSXMMEXCPT;
    EXPECT_EQ(run(kVdivps), Vec::UD);
}

TEST_F(Vex, AnExactTinyResultInTheUpperHalfRaisesUnderflowOnlyWhenUnmasked) {
    fpu().xmm[2] = fpu().xmm[3] = fpu().ymm_high[2] = floats(1, 1, 1, 1);
    fpu().ymm_high[2] = floats(1, 0x1p-126f, 1, 1);
    fpu().ymm_high[3] = floats(1, 0.5f, 1, 1);
    EXPECT_EQ(run(kVmulps), std::nullopt);
    EXPECT_EQ(fpu_mxcsr(fpu()) & mxcsr::kFlags, 0u);
    fpu().mxcsr = 0x1f80 & ~mxcsr::UM;
    EXPECT_EQ(run(kVmulps), Vec::XM);
    EXPECT_EQ(fpu().mxcsr & mxcsr::kFlags, x87::UE);
}

TEST_F(Vex, AHalfPrecisionStoreThatFaultsLeavesNoFlags) {
    fpu().xmm[1] = fpu().ymm_high[1] = floats(1.0001f, 1, 1, 1);
    set_present(kData, false);
    EXPECT_EQ(run(kVcvtps2ph), Vec::PF);
    EXPECT_EQ(fpu_mxcsr(fpu()) & mxcsr::kFlags, 0u);
}

TEST_F(Vex, XsaveWritesUpperHalvesOnlyWhenAskedAndXrstorClearsThemWhenAbsent) {
    fpu().ymm_high[3] = words(1, 2, 3, 4);
    c().gpr[cpu::RAX] = 3;
    EXPECT_EQ(run(kXsave), std::nullopt);
    EXPECT_EQ(byte(576 + 48), 0);
    c().gpr[cpu::RAX] = 4;
    EXPECT_EQ(run(kXsave), std::nullopt);
    EXPECT_EQ(byte(576 + 48), 1);
    EXPECT_EQ(byte(512) & 4, 4);
    fpu().ymm_high[3] = Xmm{};
    EXPECT_EQ(run(kXrstor), std::nullopt);
    EXPECT_TRUE(equal(fpu().ymm_high[3], words(1, 2, 3, 4)));
    poke<uint8_t>(kData + 512, 0);
    EXPECT_EQ(run(kXrstor), std::nullopt);
    EXPECT_TRUE(equal(fpu().ymm_high[3], Xmm{}));
}

TEST_F(Vex, AnAreaThatEndsBehindTheHeaderDoesForX87AndSse) {
    c().gpr[cpu::RBX] = kData + 4096 - 576;
    c().gpr[cpu::RAX] = 3;
    EXPECT_EQ(run(kXsave), std::nullopt);
    EXPECT_EQ(run(kXrstor), std::nullopt);
    c().gpr[cpu::RAX] = 7;
    EXPECT_EQ(run(kXsave), Vec::PF);
}

TEST(VexTable, EveryModelLevelIsRunWhereTheHostHasIt) {
    using cpu::Feature;
    const cpu::FeatureSet level3 = cpu::feature_set({Feature::AVX, Feature::AVX2, Feature::BMI1, Feature::BMI2, Feature::F16C, Feature::FMA, Feature::LZCNT});
    if ((supported_features() & level3) != level3) GTEST_SKIP() << "the host is below x86-64-v3";
    const auto model = cpu::make_model("x86-64-v3", supported_features(), 1, 1'000'000'000);
    ASSERT_TRUE(model) << model.error().message();
    EXPECT_EQ(model->supported_xcr0(), 7u);
}

}  // namespace
}  // namespace yado::cpu_interp
