// Delivery of exceptions and interrupts, and the way back.
#include "core_fixture.h"

namespace yado::cpu_interp {
namespace {

using EventTest = CoreFixture;
using Kind = Core::EventKind;

TEST_F(EventTest, RealModePushesFlagsCsIpAndClearsIf) {
    c().idtr = {0x3ff, 0};
    poke<uint32_t>(4 * 0x20, 0x1000'0123);
    c().sysflags |= cpu::rflags::IF;
    c().gpr[cpu::RSP] = 0x800;
    c().rip = 0x77;
    ASSERT_TRUE(c().deliver(Kind::External, 0x20, false, 0));
    EXPECT_EQ(c().rip, 0x123u);
    EXPECT_EQ(c().seg[cpu::CS].base, 0x10000u);
    EXPECT_FALSE(c().sysflags & cpu::rflags::IF);
    EXPECT_EQ(c().gpr[cpu::RSP], 0x7fau);
    EXPECT_EQ(peek<uint16_t>(0x7fa), 0x77u);
    EXPECT_EQ(peek<uint16_t>(0x7fe), cpu::rflags::IF | 2);
    ASSERT_FALSE(execute(insn(Map::One, 0xcf, 2)));
    EXPECT_EQ(c().rip, 0x77u);
    EXPECT_TRUE(c().sysflags & cpu::rflags::IF);
}

TEST_F(EventTest, AnInterruptInUserModeTakesTheKernelStackAndIretqReturns) {
    long_mode_at(3);
    gate64(0x20, 0x5000);
    poke<uint64_t>(kTss + 4, 0x9008);  // RSP0, on purpose not aligned
    c().gpr[cpu::RSP] = 0x7ff8;
    c().rip = 0x4000;
    c().sysflags |= cpu::rflags::IF;
    ASSERT_TRUE(c().deliver(Kind::External, 0x20, false, 0));
    EXPECT_EQ(c().cpl, 0);
    EXPECT_EQ(c().rip, 0x5000u);
    EXPECT_EQ(c().gpr[cpu::RSP], 0x9000u - 40);
    EXPECT_EQ(c().seg[cpu::SS].selector, 0);
    EXPECT_EQ(peek<uint64_t>(0x9000 - 16), 0x7ff8u);
    EXPECT_EQ(peek<uint64_t>(0x9000 - 32), 0x33u);
    ASSERT_FALSE(execute(insn(Map::One, 0xcf, 8)));
    EXPECT_EQ(c().cpl, 3);
    EXPECT_EQ(c().rip, 0x4000u);
    EXPECT_EQ(c().gpr[cpu::RSP], 0x7ff8u);
    EXPECT_TRUE(c().sysflags & cpu::rflags::IF);
}

TEST_F(EventTest, AFaultPushesItsErrorCodeAndRf) {
    long_mode_at(0);
    gate64(14, 0x5000);
    c().gpr[cpu::RSP] = 0x9000;
    ASSERT_TRUE(c().deliver(Kind::Fault, 14, true, 6));
    EXPECT_EQ(peek<uint64_t>(c().gpr[cpu::RSP]), 6u);
    EXPECT_TRUE(peek<uint64_t>(c().gpr[cpu::RSP] + 24) & cpu::rflags::RF);
}

TEST_F(EventTest, AnIstEntrySwitchesTheStackWithoutAPrivilegeChange) {
    long_mode_at(0);
    gate64(2, 0x5000, 3);
    poke<uint64_t>(kTss + 0x24 + 16, 0xa000);
    c().gpr[cpu::RSP] = 0x9000;
    ASSERT_TRUE(c().deliver(Kind::Nmi, 2, false, 0));
    EXPECT_EQ(c().gpr[cpu::RSP], 0xa000u - 40);
    EXPECT_TRUE(c().nmi_blocked);
    ASSERT_FALSE(execute(insn(Map::One, 0xcf, 8)));
    EXPECT_FALSE(c().nmi_blocked);
    EXPECT_EQ(c().gpr[cpu::RSP], 0x9000u);
}

TEST_F(EventTest, APageFaultWithoutAGateBecomesADoubleFault) {
    long_mode_at(0);
    gate64(8, 0x6000);
    c().gpr[cpu::RSP] = 0x9000;
    ASSERT_TRUE(c().deliver(Kind::Fault, 14, true, 2));
    EXPECT_EQ(c().rip, 0x6000u);
    EXPECT_EQ(peek<uint64_t>(c().gpr[cpu::RSP]), 0u);
}

TEST_F(EventTest, AnInterruptWithoutAGateIsAGeneralProtectionFaultThatNamesIt) {
    long_mode_at(0);
    gate64(13, 0x6000);
    c().gpr[cpu::RSP] = 0x9000;
    ASSERT_TRUE(c().deliver(Kind::External, 0x30, false, 0));
    EXPECT_EQ(c().rip, 0x6000u);
    EXPECT_EQ(peek<uint64_t>(c().gpr[cpu::RSP]), 0x30u * 8 + 3);
}

TEST_F(EventTest, AnEmptyIdtIsATripleFault) {
    long_mode_at(0);
    c().idtr.limit = 0;
    EXPECT_FALSE(c().deliver(Kind::Fault, 6, false, 0));
}

TEST_F(EventTest, IntFromUserModeNeedsAGateOfItsPrivilege) {
    long_mode_at(3);
    gate64(0x21, 0x5000);
    Insn i = insn(Map::One, 0xcd, 8);
    i.imm = 0x21;
    const auto f = execute(i);
    ASSERT_TRUE(f);
    EXPECT_EQ(f->vector, Vec::GP);
    EXPECT_EQ(f->error, 0x21u * 8 + 2) << "EXT stays clear for software interrupts";
    gate64(0x21, 0x5000, 0, 3);
    poke<uint64_t>(kTss + 4, 0x9000);
    c().rip = 0x4000;
    ASSERT_FALSE(execute(i));
    EXPECT_EQ(peek<uint64_t>(0x9000 - 40), 0x4002u);
}

TEST_F(EventTest, IretEntersVirtual8086ModeAndAnInterruptLeavesIt) {
    protected_mode_32();
    poke<uint32_t>(kTss + 4, 0x9000);
    poke<uint32_t>(kTss + 8, 0x10);
    poke<uint64_t>(kIdt + 8 * 0x20, 0x0000'8e00'0018'5000);
    c().gpr[cpu::RSP] = 0x8000;
    const uint32_t frame[] = {0x10, 0x1000, 0x2'0202, 0x400, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000};
    for (unsigned n = 0; n < std::size(frame); ++n) poke(0x8000 + 4 * n, frame[n]);
    ASSERT_FALSE(execute(insn(Map::One, 0xcf, 4)));
    EXPECT_EQ(c().cpl, 3);
    EXPECT_EQ(c().seg[cpu::CS].base, 0x10000u);
    EXPECT_EQ(c().seg[cpu::GS].base, 0x60000u);
    ASSERT_TRUE(c().deliver(Kind::External, 0x20, false, 0));
    EXPECT_EQ(c().cpl, 0);
    EXPECT_EQ(c().rip, 0x5000u);
    EXPECT_FALSE(c().sysflags & cpu::rflags::VM);
    EXPECT_EQ(peek<uint32_t>(0x9000 - 4), 0x6000u) << "GS is pushed first";
    EXPECT_TRUE(c().seg[cpu::GS].attr & attr::Unusable);
}

TEST_F(EventTest, SingleStepTrapsAfterTheInstruction) {
    EXPECT_TRUE(debug_trap_due(c(), cpu::rflags::TF));
    EXPECT_TRUE(c().dr6 & 1u << 14);
    c().mov_ss_shadow = true;
    EXPECT_FALSE(debug_trap_due(c(), cpu::rflags::TF));
}

TEST_F(EventTest, AnInstructionBreakpointFiresOnceUnlessRfIsSet) {
    long_mode_at(0);
    c().dr[0] = c().rip = 0x4000;
    c().dr7 = 0x401;
    EXPECT_TRUE(instruction_breakpoint(c()));
    c().sysflags |= cpu::rflags::RF;
    EXPECT_FALSE(instruction_breakpoint(c()));
}

TEST_F(EventTest, ATaskSwitchSavesTheOldTaskAndLoadsTheNew) {
    protected_mode_32();
    poke<uint64_t>(kGdt + 0x48, 0x0000'8920'3000'0067);  // another TSS at 203000H
    const uint64_t next = 0x20'3000;
    poke<uint32_t>(next + 0x20, 0x5000);
    poke<uint32_t>(next + 0x24, 2);
    poke<uint32_t>(next + 0x38, 0x9000);  // ESP
    const uint16_t selectors[] = {0x10, 0x18, 0x10, 0x10, 0x10, 0x10};
    for (unsigned n = 0; n < 6; ++n) poke(next + 0x48 + 4 * n, selectors[n]);
    c().rip = 0x4000;
    c().gpr[cpu::RSP] = 0x8000;
    Insn i = insn(Map::One, 0x9a, 4);
    i.disp = 0x48;
    ASSERT_FALSE(execute(i));
    EXPECT_EQ(c().rip, 0x5000u);
    EXPECT_EQ(c().gpr[cpu::RSP], 0x9000u);
    EXPECT_EQ(peek<uint32_t>(kTss + 0x20), 0x4002u);
    EXPECT_EQ(peek<uint16_t>(next), 0x40u) << "back link";
    EXPECT_TRUE(c().sysflags & cpu::rflags::NT);
    poke<uint8_t>(kGdt + 0x45, 0x8b);  // the old TSS is busy, as LTR would have left it
    ASSERT_FALSE(execute(insn(Map::One, 0xcf, 4)));
    EXPECT_EQ(c().rip, 0x4002u);
    EXPECT_EQ(c().gpr[cpu::RSP], 0x8000u);
}

}  // namespace
}  // namespace yado::cpu_interp
