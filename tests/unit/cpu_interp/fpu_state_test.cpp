// Exceptions, control registers, the saved images and everything else of fpu/ that a comparison with the host cannot show.
#include <gtest/gtest.h>

#include "fpu_bench.h"

namespace yado::cpu_interp::test {
namespace {

constexpr Form kAddsd{Map::Of, Mandatory::PF2, 0x58, 0xc1};
constexpr Form kDivsd{Map::Of, Mandatory::PF2, 0x5e, 0xc1};
constexpr Form kMulsd{Map::Of, Mandatory::PF2, 0x59, 0xc1};
constexpr Form kPaddbMmx{Map::Of, Mandatory::None, 0xfc, 0xc1};
constexpr Form kFld1{Map::One, Mandatory::None, 0xd9, 0xe8};
constexpr Form kFldz{Map::One, Mandatory::None, 0xd9, 0xee};
constexpr Form kFdivp{Map::One, Mandatory::None, 0xde, 0xf9};
constexpr Form kFnop{Map::One, Mandatory::None, 0xd9, 0xd0};
constexpr Form kFwait{Map::One, Mandatory::None, 0x9b, 0xc0};
constexpr Form kFnclex{Map::One, Mandatory::None, 0xdb, 0xe2};
constexpr Form kFstpMemory{Map::One, Mandatory::None, 0xdd, 0x1b};

Form save_form(unsigned reg, bool rex_w = true) { return {Map::Of, Mandatory::None, 0xae, static_cast<uint8_t>(reg << 3 | 3), rex_w}; }
constexpr unsigned kFxsave = 0, kFxrstor = 1, kLdmxcsr = 2, kStmxcsr = 3, kXsave = 4, kXrstor = 5;

Xmm real(double low) { return Xmm{std::bit_cast<long long>(low), 0}; }

class FpuState : public testing::Test {
  protected:
    FpuState() {
        bench.map(memory.data());
        bench.core->gpr[cpu::RBX] = Bench::kLinear;
    }
    std::optional<Vec> vector(const std::vector<Form>& forms) {
        const auto fault = bench.run(forms);
        return fault ? std::optional(fault->vector) : std::nullopt;
    }
    std::optional<Vec> vector(const Form& form) { return vector(std::vector<Form>{form}); }
    template <typename T>
    void put(unsigned at, T v) { std::memcpy(&memory[at], &v, sizeof v); }
    template <typename T>
    T got(unsigned at) {
        T v;
        std::memcpy(&v, &memory[at], sizeof v);
        return v;
    }
    Fpu& fpu() { return *bench.core->fpu; }

    alignas(4096) std::array<uint8_t, 4096> memory{};
    Bench bench;
};

TEST_F(FpuState, AnUnmaskedSseDivisionByZeroRaisesXmAndKeepsTheDestination) {
    fpu().mxcsr = 0x1f80 & ~0x200u;
    fpu().xmm[0] = real(1);
    EXPECT_EQ(vector(kDivsd), Vec::XM);
    EXPECT_EQ(fpu().mxcsr & mxcsr::kFlags, x87::ZE);
    EXPECT_EQ(fpu().xmm[0][0], real(1)[0]);
}

TEST_F(FpuState, AnUnmaskedSseExceptionIsUdWithoutOsxmmexcpt) {
    bench.core->cr4 &= ~cpu::cr4::OSXMMEXCPT;
    fpu().mxcsr = 0x1f80 & ~0x200u;
    fpu().xmm[0] = real(1);
    EXPECT_EQ(vector(kDivsd), Vec::UD);
}

TEST_F(FpuState, AnExactTinyResultRaisesUnderflowOnlyWhenUnmasked) {
    fpu().xmm[0] = real(0x1p-1022);
    fpu().xmm[1] = real(0.5);
    EXPECT_EQ(vector(kMulsd), std::nullopt);
    EXPECT_EQ(fpu_mxcsr(fpu()) & mxcsr::kFlags, 0u);
    fpu().mxcsr = 0x1f80 & ~mxcsr::UM;
    fpu().xmm[0] = real(0x1p-1022);
    EXPECT_EQ(vector(kMulsd), Vec::XM);
    EXPECT_EQ(fpu().mxcsr & mxcsr::kFlags, x87::UE);
}

TEST_F(FpuState, TheHostsMxcsrComesBackAndTheGuestsFlagsStay) {
    fpu().mxcsr = 0x1f80 | 0x6000;  // toward zero
    fpu().xmm[0] = real(1);
    fpu().xmm[1] = real(3);
    EXPECT_EQ(vector(kDivsd), std::nullopt);
    uint32_t host;
    asm volatile("stmxcsr %0" : "=m"(host));
    EXPECT_EQ(host & 0xffc0, 0x1f80u);
    EXPECT_EQ(fpu().mxcsr, 0x1f80u | 0x6000 | x87::PE);
}

TEST_F(FpuState, TsAndEmAndOsfxsrAreHonoured) {
    bench.core->cr0 |= cpu::cr0::TS;
    EXPECT_EQ(vector(kAddsd), Vec::NM);
    EXPECT_EQ(vector(kPaddbMmx), Vec::NM);
    EXPECT_EQ(vector(kFld1), Vec::NM);
    EXPECT_EQ(vector(kFwait), Vec::NM);
    bench.core->cr0 = (bench.core->cr0 & ~cpu::cr0::TS) | cpu::cr0::EM;
    EXPECT_EQ(vector(kAddsd), Vec::UD);
    EXPECT_EQ(vector(kPaddbMmx), Vec::UD);
    EXPECT_EQ(vector(kFld1), Vec::NM);
    bench.core->cr0 &= ~cpu::cr0::EM;
    bench.core->cr4 &= ~cpu::cr4::OSFXSR;
    EXPECT_EQ(vector(kAddsd), Vec::UD);
    EXPECT_EQ(vector(kPaddbMmx), std::nullopt);
}

TEST_F(FpuState, AFeatureThatTheModelHidesIsUndefined) {
    bench.model.features = 0;
    EXPECT_EQ(vector(Form{Map::Of38, Mandatory::P66, 0x00, 0xc1}), Vec::UD);
    EXPECT_EQ(vector(Form{Map::One, Mandatory::None, 0xdd, 0x0b}), Vec::UD);
}

TEST_F(FpuState, AnUnmaskedX87ExceptionIsRaisedByTheNextWaitingInstruction) {
    fpu().fcw = 0x37f & ~x87::ZE;
    EXPECT_EQ(vector({kFld1, kFldz, kFdivp}), std::nullopt);
    EXPECT_TRUE(fpu().fsw & x87::ES);
    EXPECT_EQ(vector(kFnop), Vec::MF);
    EXPECT_EQ(vector(kFwait), Vec::MF);
    EXPECT_EQ(vector(kPaddbMmx), Vec::MF);
    EXPECT_EQ(vector(kFnclex), std::nullopt);
    EXPECT_EQ(vector(kFnop), std::nullopt);
}

TEST_F(FpuState, AFaultingX87StoreKeepsTheStack) {
    EXPECT_EQ(vector(kFld1), std::nullopt);
    bench.page_out();
    EXPECT_EQ(vector(kFstpMemory), Vec::PF);
    EXPECT_EQ(fpu().top(), 7u);
    EXPECT_EQ(fpu().st[0].exponent, 0x3fff);
}

TEST_F(FpuState, MisalignedSseOperandsAreRefusedWhereTheManualSaysSo) {
    bench.core->gpr[cpu::RBX] = Bench::kLinear + 1;
    EXPECT_EQ(vector(Form{Map::Of, Mandatory::P66, 0xfc, 0x0b}), Vec::GP);
    EXPECT_EQ(vector(Form{Map::Of, Mandatory::None, 0x29, 0x0b}), Vec::GP);
    EXPECT_EQ(vector(Form{Map::Of, Mandatory::None, 0x11, 0x0b}), std::nullopt);
    EXPECT_EQ(vector(Form{Map::Of3A, Mandatory::P66, 0x63, 0x0b, false, 0}), std::nullopt);
    EXPECT_EQ(vector(save_form(kFxsave)), Vec::GP);
}

TEST_F(FpuState, LdmxcsrRefusesReservedBits) {
    put<uint32_t>(0, 0x11f80);
    EXPECT_EQ(vector(save_form(kLdmxcsr)), Vec::GP);
    put<uint32_t>(0, 0x7f80);
    EXPECT_EQ(vector(save_form(kLdmxcsr)), std::nullopt);
    EXPECT_EQ(vector(save_form(kStmxcsr)), std::nullopt);
    EXPECT_EQ(got<uint32_t>(0), 0x7f80u);
}

TEST_F(FpuState, FxsaveAndFxrstorCarryEverything) {
    fpu().xmm[15] = real(7);
    EXPECT_EQ(vector({kFld1, kFldz}), std::nullopt);
    EXPECT_EQ(vector(save_form(kFxsave)), std::nullopt);
    const St one = fpu().st[1];
    fpu_reset(fpu());
    EXPECT_EQ(vector(save_form(kFxrstor)), std::nullopt);
    EXPECT_EQ(fpu().xmm[15][0], real(7)[0]);
    EXPECT_EQ(fpu().st[1].exponent, one.exponent);
    EXPECT_EQ(fpu().top(), 6u);
    EXPECT_EQ(fpu().ftw, 0xc0);
}

TEST_F(FpuState, FxrstorRefusesReservedMxcsrBits) {
    EXPECT_EQ(vector(save_form(kFxsave)), std::nullopt);
    put<uint32_t>(24, 0x80001f80);
    EXPECT_EQ(vector(save_form(kFxrstor)), Vec::GP);
}

TEST_F(FpuState, XsaveWritesWhatIsAskedForAndXrstorInitializesWhatIsAbsent) {
    fpu().xmm[3] = real(5);
    bench.core->gpr[cpu::RAX] = 2;
    put<uint16_t>(0, 0xdead);
    EXPECT_EQ(vector(save_form(kXsave)), std::nullopt);
    EXPECT_EQ(got<uint16_t>(0), 0xdead);
    EXPECT_EQ(got<uint64_t>(512), 2u);
    EXPECT_EQ(got<double>(160 + 48), 5.0);
    put<uint64_t>(512, 0);
    bench.core->gpr[cpu::RAX] = 3;
    EXPECT_EQ(vector(save_form(kXrstor)), std::nullopt);
    EXPECT_EQ(fpu().xmm[3][0], 0);
    EXPECT_EQ(fpu().fcw, 0x37f);
}

TEST_F(FpuState, XrstorRefusesABadHeader) {
    bench.core->gpr[cpu::RAX] = 3;
    put<uint32_t>(24, 0x1f80);
    put<uint64_t>(512, 4);
    EXPECT_EQ(vector(save_form(kXrstor)), Vec::GP);
    put<uint64_t>(512, 0);
    put<uint64_t>(520, 1ull << 63);
    EXPECT_EQ(vector(save_form(kXrstor)), Vec::GP);
    put<uint64_t>(520, 0);
    EXPECT_EQ(vector(save_form(kXrstor)), std::nullopt);
    bench.core->cr4 &= ~cpu::cr4::OSXSAVE;
    EXPECT_EQ(vector(save_form(kXrstor)), Vec::UD);
}

TEST_F(FpuState, TheEnvironmentSurvivesASaveAndARestore) {
    const Form fnsave{Map::One, Mandatory::None, 0xdd, 0x33}, frstor{Map::One, Mandatory::None, 0xdd, 0x23};
    EXPECT_EQ(vector({kFld1, kFldz, fnsave}), std::nullopt);
    EXPECT_EQ(got<uint16_t>(8), 0x1fff);  // 6: zero, 7: valid
    EXPECT_EQ(fpu().ftw, 0);
    EXPECT_EQ(fpu().top(), 0u);
    EXPECT_EQ(vector(frstor), std::nullopt);
    EXPECT_EQ(fpu().top(), 6u);
    EXPECT_EQ(fpu().ftw, 0xc0);
    EXPECT_EQ(fpu().st[1].exponent, 0x3fff);
}

TEST_F(FpuState, FnstenvMasksAndTellsWhereTheLastInstructionWas) {
    const Form fnstenv{Map::One, Mandatory::None, 0xd9, 0x33};
    fpu().fcw = 0x340;
    bench.core->block_rip = 0x1234;
    EXPECT_EQ(vector({kFld1, fnstenv}), std::nullopt);
    EXPECT_EQ(got<uint32_t>(12), 0x1234u);
    EXPECT_EQ(got<uint32_t>(16), 0u);
    EXPECT_EQ(fpu().fcw, 0x37f);
}

TEST_F(FpuState, OnlyAnUnmaskedExceptionTellsTheOpcodeAndWhereTheOperandWas) {
    const Form divide{Map::One, Mandatory::None, 0xd8, 0x33};  // FDIV m32fp, of zero
    fpu().fcw = 0x37f;
    EXPECT_EQ(vector({kFld1, divide}), std::nullopt);
    EXPECT_EQ(fpu().fop, 0);
    EXPECT_EQ(fpu().fdp, 0u);
    fpu().fcw = 0x37f & ~x87::ZE;
    fpu().fsw &= ~x87::ZE;
    EXPECT_EQ(vector({kFld1, divide}), std::nullopt);
    EXPECT_EQ(fpu().fop, 0x033);
    EXPECT_EQ(fpu().fdp, Bench::kLinear);
}

TEST_F(FpuState, MmxTurnsTheStackToTopZeroAndEmmsEmptiesIt) {
    EXPECT_EQ(vector(kFld1), std::nullopt);  // physical register 7
    const Form movq{Map::Of, Mandatory::None, 0x6f, 0xc7};  // movq mm0, mm7
    EXPECT_EQ(vector(movq), std::nullopt);
    EXPECT_EQ(fpu().top(), 0u);
    EXPECT_EQ(fpu().ftw, 0xff);
    EXPECT_EQ(fpu().mm(0), 1ull << 63);
    EXPECT_EQ(fpu().st[0].exponent, 0xffff);
    EXPECT_EQ(fpu().st[7].exponent, 0x3fff);
    EXPECT_EQ(vector(Form{Map::Of, Mandatory::None, 0x77, 0xc0}), std::nullopt);
    EXPECT_EQ(fpu().ftw, 0);
}

TEST_F(FpuState, ExportAndImportAreInverse) {
    EXPECT_EQ(vector({kFld1, kFldz}), std::nullopt);
    fpu().xmm[9] = real(2);
    fpu().mxcsr = 0x3fa0;
    fpu().ymm_high[4] = real(1);
    cpu::XsaveArea first, second;
    fpu_export(fpu(), first);
    Fpu other;
    fpu_import(other, first);
    fpu_export(other, second);
    EXPECT_EQ(first, second);
    EXPECT_EQ(other.mxcsr, 0x3fa0u);
}

TEST_F(FpuState, ImportForcesReservedBitsOfAHostileImage) {
    cpu::XsaveArea area;
    area.bytes.fill(0xff);
    Fpu f;
    fpu_import(f, area);
    EXPECT_EQ(f.mxcsr, 0xffffu);
    EXPECT_EQ(f.fcw, 0x1f7f);
    EXPECT_FALSE(f.fsw & x87::ES);
}

TEST_F(FpuState, AnEmptyImageIsTheInitialState) {
    Fpu f;
    fpu_import(f, cpu::XsaveArea{});
    EXPECT_EQ(f.fcw, 0x37f);
    EXPECT_EQ(f.mxcsr, 0x1f80u);
}

TEST_F(FpuState, MaskmovdquWritesOnlyTheMarkedBytes) {
    bench.core->gpr[cpu::RDI] = Bench::kLinear + 0x20;
    fpu().xmm[1] = Xmm{0x1122334455667788, 0x99aabbccddeeff00ull >> 1};
    fpu().xmm[2] = Xmm{0x0000'0080'0000'8000, 0};
    EXPECT_EQ(vector(Form{Map::Of, Mandatory::P66, 0xf7, 0xca}), std::nullopt);
    EXPECT_EQ(got<uint64_t>(0x20), 0x0000'0044'0000'7700u);
    EXPECT_EQ(got<uint64_t>(0x28), 0u);
}

TEST_F(FpuState, OthersInstructionsAreLeftToTheOthers) {
    EXPECT_EQ(select_fpu(insn_of({Map::Of, Mandatory::None, 0xae, 0xf0})).run, nullptr);  // MFENCE
    EXPECT_EQ(select_fpu(insn_of(save_form(7))).run, nullptr);                            // CLFLUSH
    EXPECT_EQ(select_fpu(insn_of({Map::Of, Mandatory::None, 0x18, 0x0b})).run, nullptr);  // PREFETCH
    EXPECT_EQ(select_fpu(insn_of({Map::Of38, Mandatory::PF2, 0xf1, 0xc1})).run, nullptr);  // CRC32
}

}  // namespace
}  // namespace yado::cpu_interp::test
