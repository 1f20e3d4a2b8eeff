// What check() finds, and what is left after a repair.
#include "qcow2_fixture.h"

namespace yado::storage::qcow2 {
namespace {

class Qcow2Check : public Qcow2Test {
  protected:
    static constexpr uint64_t kBlockAt = 2 * 65536;  ///< the first refcount block of an image that we made
    Contents written() {
        return after(made(4 << 20), [&](block::DiskImage& disk) { EXPECT_TRUE(write(disk, 0, std::string(4 * 65536, 'x'))); });
    }
    static void set_refcount(Contents& c, uint64_t cluster, uint16_t count) { store_be(c.data() + kBlockAt + cluster * 2, count); }
    static uint64_t cluster_of(const Contents& c, uint64_t n) { return (get64(c, l2_at(c) + n * 8) & kOffsetMask) / 65536; }
    /// Repairs and expects it to be clean.
    Contents mended(const Contents& c, Repair repair = Repair::All) {
        Contents out;
        const CheckReport r = checked(c, repair, &out);
        EXPECT_GT(r.repaired, 0u);
        EXPECT_EQ(faults(out), "");
        return out;
    }
};

TEST_F(Qcow2Check, AnImageOfOursIsClean) {
    const CheckReport r = checked(written());
    EXPECT_EQ(r.errors + r.leaks, 0u);
    EXPECT_EQ(r.allocated, 4u);
    EXPECT_EQ(r.total, 64u);
}

TEST_F(Qcow2Check, ALeakIsFoundAndFreed) {
    Contents c = written();
    set_refcount(c, 100, 3);
    EXPECT_EQ(checked(c).leaks, 1u);
    EXPECT_EQ(checked(c).errors, 0u);
    mended(c, Repair::Leaks);
}

TEST_F(Qcow2Check, ARefcountTooLowIsAnErrorThatRepairLeaksLeaves) {
    Contents c = written();
    set_refcount(c, cluster_of(c, 1), 0);
    EXPECT_GE(checked(c).errors, 1u);
    Contents out;
    EXPECT_GE(checked(c, Repair::Leaks, &out).errors, 1u);
    mended(c);
}

TEST_F(Qcow2Check, OneClusterInTwoPlacesIsMadeShared) {
    Contents c = written();
    put64(c, l2_at(c), get64(c, l2_at(c) + 8));
    EXPECT_GE(checked(c).errors, 1u);
    const Contents out = mended(c);
    EXPECT_FALSE(get64(out, l2_at(out)) & COPIED);
    const Contents again = after(out, [&](block::DiskImage& disk) {
        ASSERT_TRUE(write(disk, 0, std::string(512, 'y')));
        EXPECT_EQ(read(disk, 65536, 512), std::string(512, 'x'));
    });
    EXPECT_EQ(checked(again).errors, 0u);
}

TEST_F(Qcow2Check, EntriesOutsideTheFileAreDropped) {
    Contents c = written();
    put64(c, l2_at(c), 1ull << 40 | COPIED);
    EXPECT_GE(checked(c).errors, 1u);
    mended(c);
    c = written();
    put64(c, l1_at(c), 1ull << 40 | COPIED);
    EXPECT_GE(checked(c).errors, 1u);
    mended(c);
}

TEST_F(Qcow2Check, EntriesThatPointToTablesAreDropped) {
    for (const uint64_t place : {uint64_t{65536}, kBlockAt, l1_at(written()), l2_at(written())}) {
        Contents c = written();
        put64(c, l2_at(c), place | COPIED);
        EXPECT_GE(checked(c).errors, 1u) << place;
        mended(c);
    }
}

TEST_F(Qcow2Check, AFlagThatLiesIsFound) {
    Contents c = written();
    put64(c, l2_at(c), get64(c, l2_at(c)) & ~COPIED);
    EXPECT_EQ(checked(c).errors, 0u);
    EXPECT_EQ(checked(c).leaks, 1u);
    mended(c, Repair::Leaks);
    fakes::ModelFile file(written());
    ASSERT_TRUE(wait(create_snapshot(file, "s", 1)).has_value());
    c = file.contents();
    put64(c, l2_at(c), get64(c, l2_at(c)) | COPIED);
    EXPECT_EQ(checked(c).errors, 1u);
    mended(c);
}

TEST_F(Qcow2Check, LostRefcountsAreBuiltAnew) {
    Contents c = written();
    put64(c, 65536, 0);  // the table's first entry
    EXPECT_GE(checked(c).errors, 1u);
    mended(c);
    c = written();
    put64(c, 65536, 1ull << 40);
    mended(c);
    c = written();
    put64(c, 65536, l2_at(c));
    mended(c);
}

TEST_F(Qcow2Check, ADirtyImageIsRepairedWhenItIsOpenedForWriting) {
    Contents c = written();
    std::memset(c.data() + kBlockAt, 0, 65536);
    set_refcount(c, 100, 1);
    put64(c, kIncompatibleAt, DIRTY);
    put64(c, kCompatibleAt, 1);
    const Contents out = after(c, [&](block::DiskImage& disk) { EXPECT_EQ(read(disk, 0, 512), std::string(512, 'x')); });
    EXPECT_EQ(faults(out), "");
    EXPECT_EQ(get64(out, kIncompatibleAt), 0u);
}

TEST_F(Qcow2Check, RepairClearsTheCorruptBit) {
    Contents c = written();
    put64(c, kIncompatibleAt, CORRUPT);
    Contents out;
    EXPECT_EQ(checked(c, Repair::All, &out).errors, 0u);
    EXPECT_EQ(get64(out, kIncompatibleAt), 0u);
}

TEST_F(Qcow2Check, UnknownAutoclearBitsAreClearedBeforeAWriteAndNotByAReader) {
    Contents c = written();
    put64(c, kAutoclearAt, 1ull << 40);
    auto disk = open(c, nullptr, true);
    ASSERT_TRUE(disk.has_value());
    keep_contents_of(**disk);
    EXPECT_EQ(get64(kept_, kAutoclearAt), 1ull << 40);
    EXPECT_EQ(get64(after(c, [](block::DiskImage&) {}), kAutoclearAt), 0u);
}

TEST_F(Qcow2Check, RefcountsOfAllWidthsAreReadAndWritten) {
    for (uint32_t order = 0; order <= 6; ++order) {
        // By hand: the block that create() wrote, in another width.
        Contents c = made(4 << 20);
        put32(c, kRefcountOrderAt, order);
        std::memset(c.data() + kBlockAt, 0, 65536);
        for (uint64_t cluster = 0; cluster < 4; ++cluster) {
            const unsigned bits = 1u << order;
            if (bits < 8) c[kBlockAt + cluster * bits / 8] |= static_cast<std::byte>(1u << (cluster * bits % 8));
            else c[kBlockAt + (cluster + 1) * bits / 8 - 1] = std::byte{1};
        }
        ASSERT_EQ(faults(c), "") << order;
        std::mt19937_64 random(order);
        Model model((4 << 20) / 512);
        const Contents out = after(c, [&](block::DiskImage& disk) { churn(disk, model, random, 100); });
        EXPECT_EQ(faults(out), "") << order;
    }
}

}  // namespace
}  // namespace yado::storage::qcow2
