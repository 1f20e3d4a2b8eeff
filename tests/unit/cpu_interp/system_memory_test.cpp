// Page walks and the software TLB.
#include "core_fixture.h"

namespace yado::cpu_interp {
namespace {

using PagingTest = CoreFixture;

TEST_F(PagingTest, AReadSetsAccessedOnEveryLevelButNotDirty) {
    long_mode_at(0);
    poke<uint32_t>(0x5000, 0xcafe);
    EXPECT_EQ(c().load<uint32_t>(nullptr, 0x5000), 0xcafeu);
    EXPECT_TRUE(peek<uint64_t>(kPml4) & A);
    EXPECT_TRUE(peek<uint64_t>(kPdpt) & A);
    EXPECT_TRUE(peek<uint64_t>(kPd) & A);
    EXPECT_EQ(peek<uint64_t>(kPt + 5 * 8), 0x5000 | P | W | U | A);
}

TEST_F(PagingTest, AWriteAfterAReadSetsDirty) {
    long_mode_at(0);
    c().load<uint32_t>(nullptr, 0x5000);
    c().store<uint32_t>(nullptr, 0x5000, 7);
    EXPECT_TRUE(peek<uint64_t>(kPt + 5 * 8) & D);
    EXPECT_EQ(peek<uint32_t>(0x5000), 7u);
}

TEST_F(PagingTest, AUserWriteToAReadOnlyPageFaultsWithPWU) {
    long_mode_at(3);
    poke<uint64_t>(kPt + 5 * 8, 0x5000 | P | U);
    const auto f = fault_of([&] { c().store<uint32_t>(nullptr, 0x5008, 7); });
    ASSERT_TRUE(f);
    EXPECT_EQ(f->vector, Vec::PF);
    EXPECT_EQ(f->error, pf::P | pf::W | pf::U);
    EXPECT_EQ(c().cr2, 0x5008u);
}

TEST_F(PagingTest, ASupervisorWriteToAReadOnlyPageIsAllowedWithoutWp) {
    long_mode_at(0);
    c().cr0 &= ~cpu::cr0::WP;
    poke<uint64_t>(kPt + 5 * 8, 0x5000 | P);
    EXPECT_FALSE(fault_of([&] { c().store<uint32_t>(nullptr, 0x5000, 7); }));
}

TEST_F(PagingTest, AReservedBitFaultsWithRsvd) {
    long_mode_at(0);
    poke<uint64_t>(kPt + 5 * 8, 0x5000 | P | W | 1ull << 51);
    const auto f = fault_of([&] { c().load<uint8_t>(nullptr, 0x5000); });
    ASSERT_TRUE(f);
    EXPECT_EQ(f->error, pf::P | pf::RSVD);
}

TEST_F(PagingTest, AFetchFromAnNxPageFaultsWithInstructionBit) {
    long_mode_at(0);
    poke<uint64_t>(kPt + 5 * 8, 0x5000 | P | W | NX);
    const auto f = fault_of([&] { c().fetch_page(0x5010); });
    ASSERT_TRUE(f);
    EXPECT_EQ(f->error, pf::P | pf::ID);
    EXPECT_EQ(c().cr2, 0x5010u);
}

TEST_F(PagingTest, SmepForbidsSupervisorFetchesFromUserPages) {
    long_mode_at(0);
    EXPECT_FALSE(fault_of([&] { c().fetch_page(0x5000); }));
    c().cr4 |= cpu::cr4::SMEP;
    c().tlb_flush_all();
    EXPECT_TRUE(fault_of([&] { c().fetch_page(0x5000); }));
}

TEST_F(PagingTest, SmapForbidsSupervisorDataInUserPagesUnlessAcIsSet) {
    long_mode_at(0);
    c().cr4 |= cpu::cr4::SMAP;
    c().update_mode();
    EXPECT_TRUE(fault_of([&] { c().load<uint8_t>(nullptr, 0x5000); }));
    c().set_rflags(cpu::rflags::AC, cpu::rflags::AC);
    EXPECT_FALSE(fault_of([&] { c().load<uint8_t>(nullptr, 0x5000); }));
    EXPECT_TRUE(fault_of([&] { c().load_system<uint8_t>(nullptr, 0x5000); })) << "implicit accesses do not look at AC";
}

TEST_F(PagingTest, ATwoMegabytePageMapsItsWholeRange) {
    long_mode_at(0);
    poke<uint32_t>(0x3f'fff0, 0xabcd);
    EXPECT_EQ(c().load<uint32_t>(nullptr, 0x3f'fff0), 0xabcdu);
}

TEST_F(PagingTest, InvlpgOfALargePageDropsAllOfIt) {
    long_mode_at(0);
    c().load<uint32_t>(nullptr, 0x30'0000);
    poke<uint64_t>(kPd + 8, 0);
    c().tlb_flush_page(0x20'1000);
    EXPECT_TRUE(fault_of([&] { c().load<uint32_t>(nullptr, 0x30'0000); }));
}

TEST_F(PagingTest, GlobalPagesSurviveAFlushOfTheOthers) {
    long_mode_at(0);
    poke<uint64_t>(kPt + 5 * 8, 0x5000 | P | W | G);
    c().load<uint8_t>(nullptr, 0x5000);
    c().load<uint8_t>(nullptr, 0x6000);
    poke<uint64_t>(kPt + 5 * 8, 0);
    poke<uint64_t>(kPt + 6 * 8, 0);
    c().tlb_flush_nonglobal();
    EXPECT_FALSE(fault_of([&] { c().load<uint8_t>(nullptr, 0x5000); }));
    EXPECT_TRUE(fault_of([&] { c().load<uint8_t>(nullptr, 0x6000); }));
}

TEST_F(PagingTest, PageTablesOutsideRamFaultAndDoNoHarm) {
    long_mode_at(0);
    c().cr3 = 0xf'0000'0000;
    const auto f = fault_of([&] { c().load<uint8_t>(nullptr, 0x5000); });
    ASSERT_TRUE(f);
    EXPECT_EQ(f->error, pf::P | pf::RSVD);
}

TEST_F(PagingTest, AStoreOverTwoPagesWritesNothingIfTheSecondFaults) {
    long_mode_at(0);
    poke<uint64_t>(kPt + 6 * 8, 0);
    EXPECT_TRUE(fault_of([&] { c().store<uint64_t>(nullptr, 0x5ffc, ~0ull); }));
    EXPECT_EQ(c().cr2, 0x6000u);
    EXPECT_EQ(peek<uint32_t>(0x5ffc), 0u);
}

TEST_F(PagingTest, ANonCanonicalAddressIsAGeneralProtectionFault) {
    long_mode_at(0);
    const auto f = fault_of([&] { c().load<uint8_t>(nullptr, 0x8000'0000'0000); });
    ASSERT_TRUE(f);
    EXPECT_EQ(f->vector, Vec::GP);
}

TEST_F(PagingTest, LegacyPagingHasFourMegabytePages) {
    protected_mode_32();
    poke<uint32_t>(0x10'0000 + 4, 0 | P | W | PS);  // linear 4 MiB is physical 0
    c().cr3 = 0x10'0000;
    c().cr4 = cpu::cr4::PSE;
    c().cr0 |= cpu::cr0::PG;
    c().tlb_flush_all();
    poke<uint32_t>(0x1234, 99);
    EXPECT_EQ(c().load<uint32_t>(nullptr, 0x40'1234), 99u);
    EXPECT_TRUE(peek<uint32_t>(0x10'0000 + 4) & A);
}

TEST_F(PagingTest, PaePagingWalksFromItsFourPointers) {
    protected_mode_32();
    poke<uint64_t>(0x10'0000 + 8, 0x10'1000 | P);  // linear 1 GiB
    poke<uint64_t>(0x10'1000, 0x10'2000 | P | W);
    poke<uint64_t>(0x10'2000 + 8, 0x5000 | P | W);
    c().cr3 = 0x10'0000;
    c().cr4 = cpu::cr4::PAE;
    c().cr0 |= cpu::cr0::PG;
    ASSERT_TRUE(load_pdptes(c(), c().cr3, c().system->pdpte.data()));
    c().tlb_flush_all();
    c().store<uint32_t>(nullptr, 0x4000'1010, 77);
    EXPECT_EQ(peek<uint32_t>(0x5010), 77u);
}

TEST_F(PagingTest, PaePointersWithReservedBitsAreRefused) {
    poke<uint64_t>(0x10'0000, 0x10'1000 | P | W);
    uint64_t out[4];
    EXPECT_FALSE(load_pdptes(c(), 0x10'0000, out));
}

using MemoryTest = CoreFixture;

TEST_F(MemoryTest, DevicesSeeWholeAccessesOfTheirSize) {
    protected_mode_32();
    EXPECT_EQ(c().load<uint32_t>(nullptr, kMmio + 4), 0x5566'7788u);
    c().store<uint16_t>(nullptr, kMmio + 2, 0xbeef);
    const std::vector<FakeDevices::Access> expected = {{kMmio + 4, 4, std::nullopt}, {kMmio + 2, 2, 0xbeef}};
    EXPECT_EQ(devices_.accesses, expected);
}

TEST_F(MemoryTest, AStoreThatStartsInRamAndEndsInADeviceIsSplit) {
    ASSERT_TRUE(memory_.add_ram(GuestPhysAddr(kMmio - 0x1000), Bytes(0x1000)));
    protected_mode_32();
    c().store<uint64_t>(nullptr, kMmio - 6, 0x8877'6655'4433'2211);
    EXPECT_EQ(peek<uint16_t>(kMmio - 6), 0x2211u);
    const std::vector<FakeDevices::Access> expected = {{kMmio, 2, 0x8877}};
    EXPECT_EQ(devices_.accesses, expected);
}

TEST_F(MemoryTest, WritesToRomAreDropped) {
    ASSERT_TRUE(memory_.add_ram(GuestPhysAddr(0xffff'f000), Bytes(0x1000), mem::Access::ReadOnly));
    protected_mode_32();
    c().store<uint32_t>(nullptr, 0xffff'f000, 1);
    c().store<uint32_t>(nullptr, 0xffff'f000, 1);
    EXPECT_EQ(c().load<uint32_t>(nullptr, 0xffff'f000), 0u);
    EXPECT_EQ(c().rmw_pointer<uint32_t>(nullptr, 0xffff'f000), nullptr);
}

TEST_F(MemoryTest, TheDirtyLogSeesTheFirstWriteAfterEveryHarvest) {
    protected_mode_32();
    memory_.set_dirty_log(true);
    c().tlb_flush_all();
    c().load<uint32_t>(nullptr, 0x5000);
    EXPECT_TRUE(memory_.harvest_dirty().empty());
    c().store<uint32_t>(nullptr, 0x5000, 1);
    EXPECT_EQ(memory_.harvest_dirty(), std::vector<uint64_t>{5});
    tlb_drop_all_writes(c());
    c().store<uint32_t>(nullptr, 0x5004, 1);
    EXPECT_EQ(memory_.harvest_dirty(), std::vector<uint64_t>{5});
}

TEST_F(MemoryTest, AnArmedDataBreakpointIsNotedOnItsAddressOnly) {
    protected_mode_32();
    c().load<uint32_t>(nullptr, 0x5000);
    c().dr[1] = 0x5008;
    c().gpr[0] = 0x400 | 1u << 2 | 1u << 20 | 3u << 22;  // L1, write, 4 bytes
    Insn i = insn(Map::Of, 0x23, 4);
    i.reg = 7;
    i.rm = 0;
    ASSERT_FALSE(execute(i));
    c().store<uint32_t>(nullptr, 0x500c, 1);
    c().load<uint32_t>(nullptr, 0x5008);
    EXPECT_EQ(c().debug_hits, 0u);
    c().store<uint8_t>(nullptr, 0x500a, 1);
    EXPECT_EQ(c().debug_hits, 2u);
}

}  // namespace
}  // namespace yado::cpu_interp
