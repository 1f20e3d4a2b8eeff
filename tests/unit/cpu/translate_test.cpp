#include "cpu/translate.h"

#include <gtest/gtest.h>

namespace yado::cpu {
namespace {

class Translate : public testing::Test {
  protected:
    Translate() { EXPECT_TRUE(memory.add_ram(GuestPhysAddr(0), 1_MiB)); }

    template <typename T>
    void put(uint64_t at, T value) {
        ASSERT_TRUE(memory.store(GuestPhysAddr(at), value));
    }
    /// ~0: not mapped.
    uint64_t at(uint64_t linear) {
        const auto result = translate(state, memory, GuestLinearAddr(linear));
        return result ? result->value() : ~0ull;
    }
    void use(uint64_t cr4, uint64_t efer) {
        state.cr0 = cr0::PE | cr0::PG;
        state.cr3 = 0x1000;
        state.cr4 = cr4;
        state.efer = efer;
    }
    static constexpr uint64_t kLongMode = efer::LME | efer::LMA;

    CpuState state = reset_state();
    mem::GuestMemory memory;
};

TEST_F(Translate, WithoutPagingAddressesArePhysical) {
    EXPECT_EQ(at(0x12345678), 0x12345678u);
    EXPECT_EQ(at(1ull << 32), ~0ull);
}

TEST_F(Translate, FourLevelsLeadToPagesOfThreeSizes) {
    use(cr4::PAE, kLongMode);
    put<uint64_t>(0x1000 + 8 * 511, 0x2000 | 1);                // the upper half's last 512 GiB
    put<uint64_t>(0x2000 + 8 * 510, 0x3000 | 1);
    put<uint64_t>(0x2000 + 8 * 511, 0x40000000 | 0x81);         // 1 GiB
    put<uint64_t>(0x3000, 0x4000 | 1);
    put<uint64_t>(0x3008, 1ull << 63 | 0x600000 | 0x81);        // 2 MiB, no execution
    put<uint64_t>(0x4000 + 8 * 5, 0x77000 | 0x21);
    EXPECT_EQ(at(0xffffffff80005678), 0x77678u);
    EXPECT_EQ(at(0xffffffff80323456), 0x723456u);
    EXPECT_EQ(at(0xffffffffc1234567), 0x41234567u);
}

TEST_F(Translate, WhatIsNotPresentOrNotCanonicalIsNotMapped) {
    use(cr4::PAE, kLongMode);
    put<uint64_t>(0x1000, 0x2000 | 1);
    put<uint64_t>(0x2000, 0x3000);
    EXPECT_EQ(at(0), ~0ull);
    EXPECT_EQ(at(0x0000800000000000), ~0ull);
    EXPECT_EQ(at(0xff00000000000000), ~0ull);
}

TEST_F(Translate, FiveLevelsAreWalkedWhereTheModeHasThem) {
    use(cr4::PAE | cr4::LA57, kLongMode);
    put<uint64_t>(0x1000 + 8 * 16, 0x2000 | 1);
    put<uint64_t>(0x2000, 0x3000 | 1);
    put<uint64_t>(0x3000, 0x80000081);
    EXPECT_EQ(at(16ull << 48 | 0x123), 0x80000123u);
    EXPECT_EQ(at(1ull << 57), ~0ull);
}

TEST_F(Translate, ThirtyTwoBitPagingHasTwoSizes) {
    use(cr4::PSE, 0);
    put<uint32_t>(0x1000, 0x2000 | 1);
    put<uint32_t>(0x1004, 0x00c00000 | 0x81 | 3 << 13);  // 4 MiB above 4 GiB: PSE-36
    put<uint32_t>(0x2004, 0x55000 | 1);
    EXPECT_EQ(at(0x1abc), 0x55abcu);
    EXPECT_EQ(at(0x00412345), 0x300c12345u);
    state.cr4 = 0;
    EXPECT_EQ(at(0x00412345), ~0ull);  // without PSE it is a table, beyond RAM
}

TEST_F(Translate, PaeHasThreeLevelsAndTableAlignedToThirtyTwoBytes) {
    use(cr4::PAE, 0);
    state.cr3 = 0x1020;
    put<uint64_t>(0x1020 + 8 * 3, 0x2000 | 1);
    put<uint64_t>(0x2000, 0x3000 | 1);
    put<uint64_t>(0x3000 + 8, 0x99000 | 1);
    EXPECT_EQ(at(0xc0001234), 0x99234u);
}

TEST_F(Translate, TablesOutsideOfRamAreAnError) {
    use(cr4::PAE, kLongMode);
    state.cr3 = 0x000ffffffffff000;
    EXPECT_EQ(at(0), ~0ull);
}

TEST_F(Translate, TablesThatNameThemselvesComeToAnEnd) {
    use(cr4::PAE, kLongMode);
    put<uint64_t>(0x1000, 0x1000 | 1);
    EXPECT_EQ(at(0x123), 0x1123u);
}

}  // namespace
}  // namespace yado::cpu
