// An open qcow2 image: what requests do to it and to its file.
#include "qcow2_fixture.h"

namespace yado::storage::qcow2 {
namespace {

class Qcow2Image : public Qcow2Test {
  protected:
    std::unique_ptr<block::DiskImage> fresh(uint64_t size = 4 << 20, uint64_t cluster = 65536) {
        auto disk = open(made(size, cluster));
        EXPECT_TRUE(disk.has_value()) << (disk ? "" : disk.error().message());
        return std::move(*disk);
    }
    static std::unique_ptr<fakes::MemoryDisk> below(uint64_t size, uint8_t fill) {
        auto disk = std::make_unique<fakes::MemoryDisk>(Bytes(size), true);
        std::ranges::fill(disk->data, fill);
        return disk;
    }
    block::Extent map(block::DiskImage& disk, uint64_t at, uint64_t length) {
        const auto r = wait(disk.map(Bytes(at), Bytes(length)));
        EXPECT_TRUE(r.has_value());
        return r ? *r : block::Extent{};
    }
    size_t ops_since(size_t begin, fakes::ModelFile::Op::Kind kind) {
        size_t n = 0;
        for (size_t i = begin; i < last_file_->log().size(); ++i) n += last_file_->log()[i].kind == kind;
        return n;
    }
    using Op = fakes::ModelFile::Op::Kind;
    using Kind = block::Extent::Kind;
};

TEST_F(Qcow2Image, WritesOfAllocatedClustersAreOneRequestToTheFile) {
    auto disk = fresh();
    ASSERT_TRUE(write(*disk, 0, std::string(1 << 20, 'x')));
    ASSERT_TRUE(wait(disk->flush()));
    const size_t before = last_file_->log().size();
    ASSERT_TRUE(write(*disk, 4096, std::string(512 << 10, 'y')));
    EXPECT_EQ(last_file_->log().size(), before + 1);
    keep_contents_of(*disk);
}

TEST_F(Qcow2Image, RandomWritesBetweenFlushesCostNoSync) {
    auto disk = fresh(64 << 20);
    ASSERT_TRUE(wait(disk->flush()));
    const size_t before = last_file_->log().size();
    for (uint64_t n = 0; n < 200; ++n) ASSERT_TRUE(write(*disk, n * 7919 % 1000 * 65536, std::string(4096, 'x')));
    EXPECT_EQ(ops_since(before, Op::Sync), 0u);
    ASSERT_TRUE(wait(disk->flush()));
    EXPECT_LE(ops_since(before, Op::Sync), 2u);
    keep_contents_of(*disk);
    EXPECT_EQ(faults(kept_), "");
}

TEST_F(Qcow2Image, ADiscardedClusterIsNotUsedAgainBeforeAFlush) {
    auto disk = fresh();
    ASSERT_TRUE(write(*disk, 0, std::string(65536, 'x')));
    ASSERT_TRUE(wait(disk->flush()));
    const Contents before = last_file_->contents();
    const uint64_t host = get64(before, l2_at(before)) & kOffsetMask;
    const auto writes_there = [&](size_t begin) {
        return std::any_of(last_file_->log().begin() + static_cast<ptrdiff_t>(begin), last_file_->log().end(), [&](const auto& op) { return op.offset == host; });
    };
    ASSERT_TRUE(wait(disk->discard(Bytes(0), Bytes(65536))));
    size_t mark = last_file_->log().size();
    ASSERT_TRUE(write(*disk, 1 << 20, std::string(65536, 'y')));
    EXPECT_FALSE(writes_there(mark));
    ASSERT_TRUE(wait(disk->flush()));
    mark = last_file_->log().size();
    ASSERT_TRUE(write(*disk, 2 << 20, std::string(65536, 'z')));
    EXPECT_TRUE(writes_there(mark));
    keep_contents_of(*disk);
    EXPECT_EQ(faults(kept_), "");
}

TEST_F(Qcow2Image, ReadsZeroesBehindAShorterImageBelow) {
    auto disk = open(made_clone(1 << 20), below(100 * 512, 'b'));
    ASSERT_TRUE(disk.has_value());
    EXPECT_EQ(read(**disk, 99 * 512, 1024), std::string(512, 'b') + std::string(512, 0));
    keep_contents_of(**disk);
}

TEST_F(Qcow2Image, APartlyWrittenClusterKeepsTheRestOfWhatIsBelow) {
    auto disk = open(made_clone(1 << 20), below(1 << 20, 'b'));
    ASSERT_TRUE(write(**disk, 4096, std::string(512, 'x')));
    EXPECT_EQ(read(**disk, 0, 65536), std::string(4096, 'b') + std::string(512, 'x') + std::string(65536 - 4608, 'b'));
    keep_contents_of(**disk);
}

TEST_F(Qcow2Image, WhatIsDiscardedOverAnImageBelowReadsAsZeroes) {
    auto disk = open(made_clone(1 << 20), below(1 << 20, 'b'));
    ASSERT_TRUE(write(**disk, 0, std::string(65536, 'x')));
    ASSERT_TRUE(wait((*disk)->discard(Bytes(0), Bytes(65536))));
    EXPECT_EQ(read(**disk, 0, 512), std::string(512, 0));
    EXPECT_EQ(read(**disk, 65536, 512), std::string(512, 'b'));
    keep_contents_of(**disk);
}

TEST_F(Qcow2Image, TellsWhatItHolds) {
    auto disk = open(made_clone(4 << 20), below(4 << 20, 'b'));
    ASSERT_TRUE(write(**disk, 65536, std::string(3 * 65536, 'x')));
    ASSERT_TRUE(wait((*disk)->write_zeroes(Bytes(4 * 65536), Bytes(65536), true)));
    EXPECT_EQ(map(**disk, 0, 4 << 20).kind, Kind::Absent);
    EXPECT_EQ(map(**disk, 0, 4 << 20).length, Bytes(65536));
    EXPECT_EQ(map(**disk, 65536, 4 << 19).kind, Kind::Data);
    EXPECT_EQ(map(**disk, 65536, 4 << 19).length, Bytes(3 * 65536));
    EXPECT_EQ(map(**disk, 4 * 65536, 1 << 20).kind, Kind::Zero);
    EXPECT_EQ(map(**disk, 4 * 65536 + 512, 1 << 20).length, Bytes(65536 - 512));
    keep_contents_of(**disk);
}

TEST_F(Qcow2Image, GrowsWithZeroesAndALargerL1Table) {
    auto disk = fresh(1 << 20, 512);
    ASSERT_TRUE(write(*disk, (1 << 20) - 512, std::string(512, 'x')));
    ASSERT_TRUE(wait(disk->resize(Bytes(9 << 20))));
    EXPECT_EQ(disk->size(), Bytes(9 << 20));
    EXPECT_EQ(read(*disk, (1 << 20) - 512, 1024), std::string(512, 'x') + std::string(512, 0));
    ASSERT_TRUE(write(*disk, (9 << 20) - 512, std::string(512, 'y')));
    keep_contents_of(*disk);
    EXPECT_EQ(faults(kept_), "");
    disk = std::move(*open(kept_));
    EXPECT_EQ(read(*disk, (9 << 20) - 512, 512), std::string(512, 'y'));
    keep_contents_of(*disk);
}

TEST_F(Qcow2Image, GrowingShowsNothingOfTheImageBelowNorOfWhatWasCut) {
    auto disk = std::move(*open(made_clone(1 << 20), below(4 << 20, 'b')));
    ASSERT_TRUE(write(*disk, (1 << 20) - 65536, std::string(65536, 'x')));
    ASSERT_TRUE(wait(disk->resize(Bytes((1 << 20) - 4096))));
    ASSERT_TRUE(wait(disk->resize(Bytes(2 << 20))));
    EXPECT_EQ(read(*disk, (1 << 20) - 8192, 4096), std::string(4096, 'x'));
    EXPECT_EQ(read(*disk, (1 << 20) - 4096, (1 << 20) + 4096), std::string((1 << 20) + 4096, 0));
    keep_contents_of(*disk);
    EXPECT_EQ(faults(kept_), "");
}

TEST_F(Qcow2Image, ShrinkingGivesClustersBack) {
    auto disk = fresh();
    ASSERT_TRUE(write(*disk, 0, std::string(4 << 20, 'x')));
    ASSERT_TRUE(wait(disk->resize(Bytes(1 << 20))));
    keep_contents_of(*disk);
    EXPECT_EQ(faults(kept_), "");
    EXPECT_EQ(checked(kept_).allocated, 16u);
}

TEST_F(Qcow2Image, AFailedWriteLeavesWhatWasThere) {
    auto disk = fresh();
    ASSERT_TRUE(write(*disk, 0, std::string(65536, 'x')));
    ASSERT_TRUE(wait(disk->flush()));
    last_file_->fail_if = [](const char* what, uint64_t) { return std::string_view(what) == "write"; };
    EXPECT_FALSE(write(*disk, 1 << 20, std::string(512, 'y')));
    last_file_->fail_if = nullptr;
    EXPECT_EQ(read(*disk, 1 << 20, 512), std::string(512, 0));
    ASSERT_TRUE(write(*disk, 1 << 20, std::string(512, 'z')));
    EXPECT_EQ(read(*disk, 0, 512), std::string(512, 'x'));
    keep_contents_of(*disk);
    EXPECT_EQ(faults(kept_), "");
}

TEST_F(Qcow2Image, AFailedFlushIsRepeatedWhole) {
    for (uint64_t fails = 1; fails <= 4; ++fails) {
        auto disk = fresh();
        ASSERT_TRUE(write(*disk, 0, std::string(65536, 'x')));
        uint64_t writes = 0;
        last_file_->fail_if = [&](const char* what, uint64_t) { return std::string_view(what) == "write" && ++writes == fails; };
        const bool first = wait(disk->flush()).has_value();
        last_file_->fail_if = nullptr;
        EXPECT_EQ(first, writes < fails);
        ASSERT_TRUE(wait(disk->flush()));
        const Contents durable = last_file_->contents();
        EXPECT_EQ(checked(durable).errors, 0u);
        EXPECT_EQ(checked(durable).allocated, 1u);
        keep_contents_of(*disk);
    }
}

TEST_F(Qcow2Image, RefusesWhatItCannotDo) {
    auto disk = fresh();
    EXPECT_EQ(write(*disk, (4 << 20) - 512, std::string(1024, 'y')).error().kind(), ErrorKind::OutOfRange);
    EXPECT_EQ(wait(disk->discard(Bytes(~0ull), Bytes(512))).error().kind(), ErrorKind::OutOfRange);
    EXPECT_EQ(wait(disk->resize(Bytes(1000))).error().kind(), ErrorKind::Usage);
    keep_contents_of(*disk);
    disk = std::move(*open(kept_, nullptr, true));
    EXPECT_EQ(write(*disk, 0, std::string(512, 'y')).error().kind(), ErrorKind::Denied);
    EXPECT_TRUE(wait(disk->flush()));
    keep_contents_of(*disk);
}

}  // namespace
}  // namespace yado::storage::qcow2
