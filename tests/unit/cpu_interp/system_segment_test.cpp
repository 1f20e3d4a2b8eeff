// Segment registers, descriptor instructions, stacks, privilege of control registers and I/O.
#include "core_fixture.h"

namespace yado::cpu_interp {
namespace {

using SegmentTest = CoreFixture;

void expect_fault(const std::optional<GuestFault>& f, Vec vector, uint32_t error) {
    ASSERT_TRUE(f);
    EXPECT_EQ(f->vector, vector);
    EXPECT_EQ(f->error, error);
}

TEST_F(SegmentTest, ALoadSetsTheAccessedBitAndTheHiddenPart) {
    protected_mode_32();
    load_segment(c(), nullptr, cpu::ES, 0x2b);
    EXPECT_EQ(c().seg[cpu::ES].attr, 0xc0f3u);
    EXPECT_EQ(c().seg[cpu::ES].limit, 0xffff'ffffu);
    EXPECT_EQ(peek<uint64_t>(kGdt + 0x28) >> 40 & 1, 1u);
}

TEST_F(SegmentTest, AnAbsentSegmentRaisesNpWithItsSelector) {
    protected_mode_32();
    expect_fault(fault_of([&] { load_segment(c(), nullptr, cpu::DS, 0x38); }), Vec::NP, 0x38);
}

TEST_F(SegmentTest, ASelectorBeyondTheTableRaisesGpWithItsSelector) {
    protected_mode_32();
    expect_fault(fault_of([&] { load_segment(c(), nullptr, cpu::DS, 0x103); }), Vec::GP, 0x100);
}

TEST_F(SegmentTest, UserCodeCannotLoadKernelData) {
    long_mode_at(3);
    expect_fault(fault_of([&] { load_segment(c(), nullptr, cpu::DS, 0x10); }), Vec::GP, 0x10);
}

TEST_F(SegmentTest, ANullStackSegmentIsRefusedInProtectedMode) {
    protected_mode_32();
    expect_fault(fault_of([&] { load_segment(c(), nullptr, cpu::SS, 0); }), Vec::GP, 0);
}

TEST_F(SegmentTest, UsingANullSegmentRaisesGp) {
    protected_mode_32();
    load_segment(c(), nullptr, cpu::FS, 0);
    expect_fault(fault_of([&] { c().segmented(nullptr, cpu::FS, 0, 4, Acc::Read); }), Vec::GP, 0);
}

TEST_F(SegmentTest, ExpandDownSegmentsAreValidAboveTheirLimit) {
    protected_mode_32();
    c().seg[cpu::ES] = {0x10, 0xc097, 0xfff, 0};
    EXPECT_TRUE(fault_of([&] { c().segmented(nullptr, cpu::ES, 0xfff, 1, Acc::Read); }));
    EXPECT_EQ(c().segmented(nullptr, cpu::ES, 0x1000, 4, Acc::Read), 0x1000u);
}

TEST_F(SegmentTest, RealModeFaultsOnAnAccessOverTheSegmentsEnd) {
    EXPECT_TRUE(fault_of([&] { c().segmented(nullptr, cpu::DS, 0xffff, 2, Acc::Read); }));
    load_segment(c(), nullptr, cpu::DS, 0x1234);
    EXPECT_EQ(c().segmented(nullptr, cpu::DS, 0x10, 2, Acc::Read), 0x12350u);
}

TEST_F(SegmentTest, A16BitPushWrapsTheStackPointer) {
    c().gpr[cpu::RSP] = 0xabcd'0000;
    c().push(nullptr, 2, 0x1234);
    EXPECT_EQ(c().gpr[cpu::RSP], 0xabcd'fffeu);
    EXPECT_EQ(peek<uint16_t>(0xfffe), 0x1234u);
    EXPECT_EQ(c().pop(nullptr, 2), 0x1234u);
    EXPECT_EQ(c().gpr[cpu::RSP], 0xabcd'0000u);
}

TEST_F(SegmentTest, AFarJumpSwitchesTo64BitCode) {
    long_mode_at(0);
    c().seg[cpu::CS] = {0x18, 0xc09b, 0xffff'ffff, 0};
    c().update_mode();
    ASSERT_EQ(c().code_mode, CodeMode::Bits32);
    Insn i = insn(Map::One, 0xea, 4);
    i.imm = 0x5000;
    i.disp = 0x08;
    ASSERT_FALSE(execute(i));
    EXPECT_EQ(c().code_mode, CodeMode::Bits64);
    EXPECT_EQ(c().rip, 0x5000u);
}

TEST_F(SegmentTest, LarAndLslTellOfVisibleSegmentsOnly) {
    long_mode_at(3);
    Insn i = insn(Map::Of, 0x03, 4);
    i.reg = cpu::RAX;
    i.rm = cpu::RBX;
    c().gpr[cpu::RBX] = 0x2b;
    ASSERT_FALSE(execute(i));
    EXPECT_TRUE(c().aflags & hflags::ZF);
    EXPECT_EQ(c().gpr[cpu::RAX], 0xffff'ffffu);
    c().gpr[cpu::RBX] = 0x10;
    ASSERT_FALSE(execute(i));
    EXPECT_FALSE(c().aflags & hflags::ZF);
}

TEST_F(SegmentTest, LtrMakesTheTssBusyAndABusyOneIsRefused) {
    long_mode_at(0);
    Insn i = insn(Map::Of, 0x00, 4);
    i.modrm = 0xd8;
    i.rm = cpu::RAX;
    c().gpr[cpu::RAX] = 0x40;
    ASSERT_FALSE(execute(i));
    EXPECT_EQ(c().tr.base, kTss);
    EXPECT_EQ(peek<uint8_t>(kGdt + 0x45), 0x8b);
    expect_fault(execute(i), Vec::GP, 0x40);
}

TEST_F(SegmentTest, SyscallAndSysretGoThereAndBack) {
    long_mode_at(3);
    c().system->star = 0x0023'0008'0000'0000;
    c().system->lstar = 0xffff'ffff'8000'0000;
    c().system->fmask = cpu::rflags::IF;
    c().sysflags |= cpu::rflags::IF;
    c().rip = 0x4000;
    ASSERT_FALSE(execute(insn(Map::Of, 0x05)));
    EXPECT_EQ(c().rip, 0xffff'ffff'8000'0000u);
    EXPECT_EQ(c().cpl, 0);
    EXPECT_FALSE(c().sysflags & cpu::rflags::IF);
    ASSERT_FALSE(execute(insn(Map::Of, 0x07)));
    EXPECT_EQ(c().rip, 0x4002u);
    EXPECT_EQ(c().cpl, 3);
    EXPECT_EQ(c().seg[cpu::CS].selector, 0x33);
    EXPECT_EQ(c().seg[cpu::SS].selector, 0x2b);
    EXPECT_TRUE(c().sysflags & cpu::rflags::IF);
}

TEST_F(SegmentTest, PagingCannotBeTurnedOffIn64BitMode) {
    long_mode_at(0);
    Insn i = insn(Map::Of, 0x22);
    i.reg = 0;
    i.rm = cpu::RAX;
    c().gpr[cpu::RAX] = cpu::cr0::PE | cpu::cr0::ET;
    expect_fault(execute(i), Vec::GP, 0);
}

TEST_F(SegmentTest, PcidsNeedAZeroPcidToStart) {
    long_mode_at(0);
    c().cr3 |= 5;
    Insn i = insn(Map::Of, 0x22);
    i.reg = 4;
    i.rm = cpu::RAX;
    c().gpr[cpu::RAX] = c().cr4 | cpu::cr4::PCIDE;
    expect_fault(execute(i), Vec::GP, 0);
}

TEST_F(SegmentTest, UserPortsFollowTheTssBitmap) {
    long_mode_at(3);
    c().tr.limit = 0x67 + 0x82;
    poke<uint16_t>(kTss + 102, 0x68);
    poke<uint8_t>(kTss + 0x68 + 0x80 / 8, 0xfe);  // port 80H only
    Insn i = insn(Map::One, 0xe6, 4);
    i.imm = static_cast<int8_t>(0x80);
    c().gpr[cpu::RAX] = 0x42;
    EXPECT_FALSE(execute(i));
    i.imm = static_cast<int8_t>(0x81);
    expect_fault(execute(i), Vec::GP, 0);
    const std::vector<FakeDevices::Access> expected = {{0x80, 1, 0x42}};
    EXPECT_EQ(devices_.accesses, expected);
}

TEST_F(SegmentTest, RepOutsbWritesEveryByte) {
    poke<uint32_t>(0x300, 0x0043'4241);
    c().gpr[cpu::RSI] = 0x300;
    c().gpr[cpu::RCX] = 3;
    c().gpr[cpu::RDX] = 0xe9;
    Insn i = insn(Map::One, 0x6e, 2);
    i.addrsize = 2;
    i.rep = true;
    ASSERT_FALSE(execute(i));
    ASSERT_EQ(devices_.accesses.size(), 3u);
    EXPECT_EQ(devices_.accesses[2].write, 0x43u);
    EXPECT_EQ(c().gpr[cpu::RCX], 0u);
}

TEST_F(SegmentTest, AnUnknownMsrIsAGeneralProtectionFault) {
    long_mode_at(0);
    c().gpr[cpu::RCX] = 0x12345;
    expect_fault(execute(insn(Map::Of, 0x32)), Vec::GP, 0);
}

TEST_F(SegmentTest, APatWithAReservedTypeIsRefused) {
    EXPECT_TRUE(write_msr(c(), cpu::msr::IA32_PAT, 0x0406'0506'0100'0706));
    EXPECT_FALSE(write_msr(c(), cpu::msr::IA32_PAT, 0x02));
}

TEST_F(SegmentTest, TscAdjustMovesTheCounter) {
    const uint64_t before = guest_tsc(c());
    ASSERT_TRUE(write_msr(c(), cpu::msr::IA32_TSC_ADJUST, 1ull << 40));
    EXPECT_GE(guest_tsc(c()) - before, 1ull << 40);
}

TEST_F(SegmentTest, MsrsSurviveExportAndImport) {
    ASSERT_TRUE(write_msr(c(), cpu::msr::IA32_LSTAR, 0xffff'ffff'8123'4567));
    cpu::CpuState state;
    system_export(c(), state);
    c().system->lstar = 0;
    system_import(c(), state);
    EXPECT_EQ(c().system->lstar, 0xffff'ffff'8123'4567u);
}

TEST_F(SegmentTest, TheParavirtualClockIsPublishedWithAnEvenVersion) {
    ASSERT_TRUE(write_msr(c(), cpu::msr::MSR_KVM_SYSTEM_TIME_NEW, 0x6000 | 1));
    EXPECT_EQ(peek<uint32_t>(0x6000) & 1, 0u);
    EXPECT_EQ(peek<uint32_t>(0x6000 + 24), 1u << 31);  // 2 GHz: half a nanosecond a tick
    EXPECT_EQ(peek<int8_t>(0x6000 + 28), 0);
}

}  // namespace
}  // namespace yado::cpu_interp
