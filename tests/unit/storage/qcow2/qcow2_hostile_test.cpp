// Images that lie: each is refused, or fails the one request that meets the lie.
#include "qcow2_fixture.h"

namespace yado::storage::qcow2 {
namespace {

class Qcow2Hostile : public Qcow2Test {
  protected:
    /// An image of 4 MiB in which clusters 0 and 1 hold something.
    Contents written() {
        return after(made(4 << 20), [&](block::DiskImage& disk) { EXPECT_TRUE(write(disk, 0, std::string(2 * 65536, 'x'))); });
    }
    /// Why it is not opened.
    std::string refusal(Contents contents) {
        auto disk = open(std::move(contents));
        if (!disk) return disk.error().message();
        (void)wait((*disk)->close());
        return "opened";
    }
    template <typename Value>
    std::string refusal_with(uint64_t at, Value value) {
        Contents c = written();
        store_be(c.data() + at, value);
        return refusal(std::move(c));
    }
    std::string read_error(Contents contents, uint64_t at = 0) {
        auto disk = open(std::move(contents), nullptr, true);
        if (!disk) return disk.error().message();
        std::string data(512, 0);
        const iovec v{data.data(), 512};
        const auto r = wait((*disk)->readv(Bytes(at), {&v, 1}));
        EXPECT_TRUE(wait((*disk)->close()));
        return r ? "read" : r.error().message();
    }
    /// Writes once; the error, and the image that is left in kept_.
    std::string write_error(Contents contents, uint64_t at = 0) {
        auto disk = open(std::move(contents));
        if (!disk) return disk.error().message();
        const auto r = write(**disk, at, std::string(512, 'y'));
        (void)wait((*disk)->close());
        kept_ = last_file_->contents();
        return r ? "written" : r.error().message();
    }
};

TEST_F(Qcow2Hostile, WhatIsNoQcow2IsRefused) {
    EXPECT_NE(refusal(Contents(65536)).find("not a qcow2 image"), std::string::npos);
    EXPECT_NE(refusal(Contents(10)).find("not a qcow2 image"), std::string::npos);
    EXPECT_NE(refusal(Contents()).find("not a qcow2 image"), std::string::npos);
    EXPECT_NE(refusal_with<uint32_t>(kVersionAt, 4).find("version 4"), std::string::npos);
}

TEST_F(Qcow2Hostile, ClusterBitsOutsideTheirRangeAreRefused) {
    for (const uint32_t bits : {0u, 8u, 22u, 63u, 0xffffffffu}) EXPECT_NE(refusal_with(kClusterBitsAt, bits).find("cluster_bits"), std::string::npos) << bits;
}

TEST_F(Qcow2Hostile, SizesThatMakeNoSenseAreRefused) {
    for (const uint64_t size : {0ull, 1ull, 1ull << 63, ~0ull}) EXPECT_NE(refusal_with(kSizeAt, size).find("size"), std::string::npos) << size;
}

TEST_F(Qcow2Hostile, AnL1TableTooSmallForTheSizeIsRefused) { EXPECT_NE(refusal_with<uint32_t>(kL1SizeAt, 0).find("L1 table"), std::string::npos); }

TEST_F(Qcow2Hostile, AnL1TableThatCannotBeIsRefused) {
    EXPECT_NE(refusal_with<uint32_t>(kL1SizeAt, 0x80000000).find("L1 table"), std::string::npos);
    EXPECT_NE(refusal_with<uint64_t>(kL1OffsetAt, 0).find("L1 table"), std::string::npos);
    EXPECT_NE(refusal_with<uint64_t>(kL1OffsetAt, 65536 + 512).find("L1 table"), std::string::npos);
    EXPECT_NE(refusal_with<uint64_t>(kL1OffsetAt, 1ull << 40).find("L1 table"), std::string::npos);
}

TEST_F(Qcow2Hostile, ARefcountTableThatCannotBeIsRefused) {
    EXPECT_NE(refusal_with<uint64_t>(kRefcountOffsetAt, 0).find("refcount table"), std::string::npos);
    EXPECT_NE(refusal_with<uint64_t>(kRefcountOffsetAt, 1ull << 40).find("refcount table"), std::string::npos);
    EXPECT_NE(refusal_with<uint32_t>(kRefcountClustersAt, 0).find("refcount table"), std::string::npos);
    EXPECT_NE(refusal_with<uint32_t>(kRefcountClustersAt, 0xffffffff).find("refcount table"), std::string::npos);
    const uint64_t l1 = l1_at(written());
    EXPECT_NE(refusal_with(kRefcountOffsetAt, l1).find("overlap"), std::string::npos);
}

TEST_F(Qcow2Hostile, RefcountsOfMoreThan64BitsAreRefused) { EXPECT_NE(refusal_with<uint32_t>(kRefcountOrderAt, 7).find("refcount order"), std::string::npos); }

TEST_F(Qcow2Hostile, HeaderLengthsThatMakeNoSenseAreRefused) {
    for (const uint32_t length : {0u, 103u, 108u, 65544u, 0xfffffff8u}) EXPECT_NE(refusal_with(kHeaderLengthAt, length).find("header length"), std::string::npos) << length;
}

TEST_F(Qcow2Hostile, HeaderExtensionsThatDoNotFitAreRefused) {
    Contents c = written();
    put32(c, kHeaderLengthWritten, 0x12345678);
    put32(c, kHeaderLengthWritten + 4, 0xffffffff);
    EXPECT_NE(refusal(std::move(c)).find("header extension"), std::string::npos);
}

TEST_F(Qcow2Hostile, UnknownIncompatibleFeaturesAreNamed) {
    Contents c = written();
    put64(c, kIncompatibleAt, 1ull << 20);
    EXPECT_NE(refusal(c).find("feature bit 20"), std::string::npos);
    put32(c, kHeaderLengthWritten, kExtensionFeatureNames);
    put32(c, kHeaderLengthWritten + 4, 48);
    c[kHeaderLengthWritten + 8] = std::byte{0};
    c[kHeaderLengthWritten + 9] = std::byte{20};
    std::memcpy(c.data() + kHeaderLengthWritten + 10, "time travel", 12);
    EXPECT_NE(refusal(c).find("time travel"), std::string::npos);
}

TEST_F(Qcow2Hostile, FeaturesThatWeDoNotHaveAreRefused) {
    EXPECT_NE(refusal_with<uint64_t>(kIncompatibleAt, EXTERNAL_DATA).find("external data file"), std::string::npos);
    EXPECT_NE(refusal_with<uint64_t>(kIncompatibleAt, EXTENDED_L2).find("extended L2"), std::string::npos);
    EXPECT_NE(refusal_with<uint32_t>(kCryptAt, 1).find("AES"), std::string::npos);
    EXPECT_NE(refusal_with<uint32_t>(kCryptAt, 2).find("LUKS"), std::string::npos);
    Contents c = written();
    c[kCompressionAt] = std::byte{9};
    EXPECT_NE(refusal(c).find("compression type"), std::string::npos);
    put64(c, kIncompatibleAt, COMPRESSION_TYPE);
    EXPECT_NE(refusal(c).find("compression type 9"), std::string::npos);
}

TEST_F(Qcow2Hostile, ABackingNameThatDoesNotFitIsRefused) {
    Contents c = written();
    put64(c, kBackingOffsetAt, 65000);
    put32(c, kBackingSizeAt, 1000);
    EXPECT_NE(refusal(c).find("backing file"), std::string::npos);
    put64(c, kBackingOffsetAt, 1ull << 60);
    EXPECT_NE(refusal(c).find("backing file"), std::string::npos);
}

TEST_F(Qcow2Hostile, ASnapshotTableThatCannotBeIsRefused) {
    EXPECT_NE(refusal_with<uint32_t>(kSnapshotCountAt, 65537).find("snapshots"), std::string::npos);
    EXPECT_NE(refusal_with<uint32_t>(kSnapshotCountAt, 1).find("snapshot table"), std::string::npos);
    fakes::ModelFile file(written());
    ASSERT_TRUE(wait(create_snapshot(file, "s", 1)).has_value());
    const uint64_t at = get64(file.contents(), kSnapshotOffsetAt);
    const auto spoilt = [&](auto value, uint64_t where) {
        Contents c = file.contents();
        store_be(c.data() + at + where, value);
        return refusal(c);
    };
    EXPECT_NE(spoilt(uint64_t{1ull << 50}, 0).find("L1 table of snapshot"), std::string::npos);
    EXPECT_NE(spoilt(uint32_t{0x7fffffff}, 8).find("L1 table of snapshot"), std::string::npos);
    EXPECT_NE(spoilt(uint32_t{0x7fffffff}, 36).find("extra data"), std::string::npos);
    EXPECT_NE(spoilt(l1_at(file.contents()), 0).find("lies in another table"), std::string::npos);
}

TEST_F(Qcow2Hostile, AnL2TableInsideAnotherTableIsNotOpenedForWriting) {
    for (const uint64_t place : {uint64_t{65536}, l1_at(written())}) {
        Contents c = written();
        put64(c, l1_at(c), place | COPIED);
        EXPECT_NE(refusal(c).find("lies in another table"), std::string::npos) << place;
    }
}

TEST_F(Qcow2Hostile, AnEntryOutsideTheFileFailsTheRead) {
    for (const uint64_t entry : {1ull << 40 | COPIED, (65536ull * 5 + 512) | COPIED, 1ull << 57}) {
        Contents c = written();
        put64(c, l2_at(c), entry);
        EXPECT_NE(read_error(c).find("L2 entry"), std::string::npos) << entry;
        EXPECT_EQ(read_error(c, 65536), "read");
        c = written();
        put64(c, l1_at(c), entry);
        EXPECT_NE(read_error(c).find("L1 entry"), std::string::npos) << entry;
    }
}

TEST_F(Qcow2Hostile, AnEntryOutsideTheFileFoundByAWriteMarksTheImageCorrupt) {
    Contents c = written();
    put64(c, l2_at(c), 1ull << 40 | COPIED);
    const uint64_t size = c.size();
    EXPECT_NE(write_error(c).find("L2 entry"), std::string::npos);
    EXPECT_EQ(get64(kept_, kIncompatibleAt), CORRUPT);
    EXPECT_EQ(kept_.size(), size);
    EXPECT_NE(refusal(kept_).find("marked corrupt"), std::string::npos);
    EXPECT_EQ(read_error(kept_, 65536), "read");
}

TEST_F(Qcow2Hostile, NothingIsWrittenOverATable) {
    for (const uint64_t place : {uint64_t{65536}, uint64_t{2 * 65536}, l1_at(written()), l2_at(written())}) {
        Contents c = written();
        put64(c, l2_at(c), place | COPIED);
        const Contents before = c;
        EXPECT_NE(write_error(c).find("points to a table"), std::string::npos) << place;
        put64(kept_, kIncompatibleAt, 0);
        EXPECT_TRUE(kept_ == before);
    }
}

TEST_F(Qcow2Hostile, ARefcountOfZeroForATableDoesNotGiveItAway) {
    Contents c = written();
    std::memset(c.data() + 2 * 65536, 0, 20);
    EXPECT_NE(write_error(c, 1 << 20).find("has a refcount of 0"), std::string::npos);
    EXPECT_EQ(get64(kept_, kIncompatibleAt), CORRUPT);
}

TEST_F(Qcow2Hostile, ACompressedClusterThatCannotBeInflatedFailsItsRequestAlone) {
    Contents c = written();
    const unsigned shift = 62 - 8;
    put64(c, l2_at(c), COMPRESSED | 5ull << shift | (5 * 65536));  // letters, no stream
    EXPECT_NE(read_error(c).find("compressed cluster"), std::string::npos);
    put64(c, l2_at(c), COMPRESSED | 5ull << shift | (1ull << 45));
    EXPECT_NE(read_error(c).find("outside the file"), std::string::npos);
    EXPECT_EQ(read_error(c, 65536), "read");
    EXPECT_NE(write_error(c).find("outside the file"), std::string::npos);
    EXPECT_EQ(get64(kept_, kIncompatibleAt), 0u);
}

TEST_F(Qcow2Hostile, ACloneAndItsParentComeTogether) {
    EXPECT_NE(refusal(made_clone(1 << 20)).find("not given"), std::string::npos);
    auto disk = open(made(1 << 20), std::make_unique<fakes::MemoryDisk>(Bytes(1 << 20), true));
    ASSERT_FALSE(disk.has_value());
    EXPECT_NE(disk.error().message().find("clone of no image"), std::string::npos);
}

TEST_F(Qcow2Hostile, CreationRefusesWhatTheFormatCannotHave) {
    const auto refused = [&](CreateOptions options) {
        fakes::ModelFile file;
        const auto r = wait(qcow2_format().create(file, options));
        return r ? "made" : r.error().message();
    };
    EXPECT_NE(refused(sized(1 << 20, 1000)).find("cluster size"), std::string::npos);
    EXPECT_NE(refused(sized(1 << 20, 256)).find("cluster size"), std::string::npos);
    EXPECT_NE(refused(sized(1 << 20, 4 << 20)).find("cluster size"), std::string::npos);
    EXPECT_NE(refused(sized(1000)).find("multiple of 512"), std::string::npos);
    EXPECT_NE(refused(sized(1ull << 40, 512)).find("too large"), std::string::npos);
    EXPECT_NE(refused(sized(~511ull, 2 << 20)).find("too large"), std::string::npos);
    CreateOptions long_name = sized(1 << 20);
    long_name.parent = CreateOptions::Parent{std::string(1024, 'n'), "raw", "", 0};
    EXPECT_NE(refused(long_name).find("1 to 1023"), std::string::npos);
}

}  // namespace
}  // namespace yado::storage::qcow2
