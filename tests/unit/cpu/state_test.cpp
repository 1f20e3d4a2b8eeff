// Reset, INIT and SIPI put a vCPU where the manual says.
#include "cpu/state.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace yado::cpu {
namespace {

TEST(ResetState, StartsAtTheResetVectorInRealMode) {
    const CpuState s = reset_state();
    EXPECT_EQ(s.seg[CS].base + s.rip, 0xfffffff0u);
    EXPECT_EQ(s.seg[CS].selector, 0xf000);
    EXPECT_EQ(s.cr0, 0x60000010u);
    EXPECT_EQ(s.rflags, 2u);
    EXPECT_EQ(s.activity, Activity::Running);
}

TEST(ResetState, HasTheManualsFpuControlValues) {
    const CpuState s = reset_state();
    EXPECT_EQ(load_le<uint16_t>(&s.xsave.bytes[0]), 0x0040);
    EXPECT_EQ(load_le<uint32_t>(&s.xsave.bytes[24]), 0x1f80u);
    EXPECT_EQ(s.xcr0, 1u);
}

TEST(ApplyInit, KeepsFpuMsrsAndCacheControl) {
    CpuState s = reset_state();
    s.xsave.bytes[200] = 42;
    s.msrs[msr::IA32_LSTAR] = 7;
    s.cr0 = cr0::PE | cr0::PG | cr0::CD;
    s.efer = efer::LME;
    s.gpr[RBX] = 1;
    apply_init(s);
    EXPECT_EQ(s.xsave.bytes[200], 42);
    EXPECT_EQ(s.msrs[msr::IA32_LSTAR], 7u);
    EXPECT_EQ(s.cr0, cr0::ET | cr0::CD);
    EXPECT_EQ(s.efer, 0u);
    EXPECT_EQ(s.gpr[RBX], 0u);
    EXPECT_EQ(s.activity, Activity::WaitForSipi);
}

TEST(ApplySipi, StartsAtThePageOfTheVector) {
    CpuState s = reset_state();
    apply_init(s);
    apply_sipi(s, 0x9a);
    EXPECT_EQ(s.seg[CS].selector, 0x9a00);
    EXPECT_EQ(s.seg[CS].base, 0x9a000u);
    EXPECT_EQ(s.rip, 0u);
    EXPECT_EQ(s.activity, Activity::Running);
}

}  // namespace
}  // namespace yado::cpu
