// VHDs against a model, and what crashes leave of them.
#include "storage/vhd/vhd_format.h"

#include "../format_fixture.h"
#include "storage/vhd/layout.h"

namespace yado::storage {
namespace {

using fakes::ModelFile;
constexpr const char* kParentId = "01234567-89ab-4def-8123-456789abcdef";

CreateOptions dynamic(uint64_t size, uint64_t block = 64 << 10) {
    CreateOptions options;
    options.size = Bytes(size);
    options.cluster_size = Bytes(block);
    return options;
}

CreateOptions fixed(uint64_t size) {
    CreateOptions options;
    options.size = Bytes(size);
    options.preallocated = true;
    return options;
}

CreateOptions differencing(uint64_t size, const std::string& parent = "base.vhd") {
    CreateOptions options = dynamic(size);
    options.parent.emplace();
    options.parent->path = parent;
    options.parent->format = "vhd";
    options.parent->id = kParentId;
    options.parent->modified_seconds = 1'700'000'000;
    return options;
}

class VhdFormat : public FormatTest {
  protected:
    CheckReport checked(const ModelFile::Contents& contents, Repair repair = Repair::No) {
        ModelFile file(contents);
        return checked(file, repair);
    }
    CheckReport checked(ModelFile& file, Repair repair) {
        const auto report = wait(vhd_format().check(file, repair));
        EXPECT_TRUE(report.has_value()) << report.error().message();
        return report.value_or(CheckReport{});
    }
    ImageInfo info(const ModelFile::Contents& contents) {
        ModelFile file(contents);
        const auto info = wait(vhd_format().info(file));
        EXPECT_TRUE(info.has_value()) << info.error().message();
        return info.value_or(ImageInfo{});
    }
    /// Closes the image; what the file then holds.
    ModelFile::Contents closed(std::unique_ptr<block::DiskImage> disk) {
        ModelFile* const file = last_file_;
        EXPECT_TRUE(wait(disk->close()));
        return file->contents();
    }
    std::unique_ptr<block::DiskImage> opened(const ModelFile::Contents& contents) {
        auto disk = open_memory(vhd_format(), contents);
        EXPECT_TRUE(disk.has_value()) << disk.error().message();
        return disk ? std::move(*disk) : nullptr;
    }
    void churn_of(const CreateOptions& options, uint64_t seed) {
        std::mt19937_64 random(seed);
        auto disk = opened(created(vhd_format(), options));
        Model model = fresh_model(options.size.value() / 512);
        churn(*disk, model, random, 300);
        const auto contents = closed(std::move(disk));
        const CheckReport report = checked(contents);
        EXPECT_EQ(report.errors + report.leaks, 0u);
        disk = opened(contents);
        EXPECT_EQ(difference(*disk, model), "");
        EXPECT_TRUE(wait(disk->close()));
    }
};

class VhdDifferencing : public VhdFormat {
  protected:
    static constexpr uint64_t kSize = 4 << 20;
    OpenOptions open_options() override {
        ModelFile::Contents parent(kSize);
        for (uint64_t n = 0; n < kSize / 512; ++n) std::memcpy(parent.data() + n * 512, sector_of(tag_below(n)).data(), 512);
        OpenOptions options;
        options.backing = std::move(*open_raw(std::make_unique<ModelFile>(std::move(parent), true)));
        options.backing_id = kParentId;
        return options;
    }
    uint32_t tag_below(uint64_t sector) override { return static_cast<uint32_t>(0x8000'0000 + sector); }
};

TEST_F(VhdFormat, FixedAgreesWithAModel) { churn_of(fixed(4 << 20), 1); }
TEST_F(VhdFormat, DynamicAgreesWithAModel) { churn_of(dynamic(4 << 20), 2); }
TEST_F(VhdFormat, DynamicWithLargeBlocksAgreesWithAModel) { churn_of(dynamic(5 << 20, 2 << 20), 3); }
TEST_F(VhdFormat, AgreesWithAModelWhereTheLastBlockIsNotWhole) { churn_of(dynamic((4 << 20) + 512 * 7), 4); }
TEST_F(VhdDifferencing, AgreesWithAModel) { churn_of(differencing(kSize), 5); }
TEST_F(VhdDifferencing, ShowsZeroesBehindTheEndOfAShorterParent) {
    auto disk = opened(created(vhd_format(), differencing(kSize + 8192)));
    EXPECT_EQ(read(*disk, kSize - 512, 1024), sector_of(tag_below(kSize / 512 - 1)) + std::string(512, 0));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(VhdFormat, FixedKeepsWhatWasFlushedThroughACrash) { crash_sweep(vhd_format(), fixed(1 << 20), 6, 100, 60); }
TEST_F(VhdFormat, DynamicKeepsWhatWasFlushedThroughACrash) { crash_sweep(vhd_format(), dynamic(4 << 20), 7, 200, 150); }
TEST_F(VhdFormat, DynamicWithLargeBlocksKeepsWhatWasFlushedThroughACrash) { crash_sweep(vhd_format(), dynamic(5 << 20, 1 << 20), 8, 150, 60); }
TEST_F(VhdDifferencing, KeepsWhatWasFlushedThroughACrash) { crash_sweep(vhd_format(), differencing(kSize), 9, 200, 150); }

TEST_F(VhdFormat, CanBeWrittenAndClosedAfterACrash) {
    std::mt19937_64 random(10);
    auto disk = opened(created(vhd_format(), dynamic(4 << 20)));
    ModelFile* const file = last_file_;
    for (unsigned n = 0; n < 20; ++n) ASSERT_TRUE(write(*disk, n * 200'704, sector_of(n + 1)));
    ASSERT_TRUE(wait(disk->flush()));
    for (unsigned n = 0; n < 20; ++n) ASSERT_TRUE(write(*disk, 100 * 1024 + n * 200'704, sector_of(n + 100)));
    for (unsigned n = 0; n < 40; ++n) {
        auto left = opened(file->after_crash(file->log().size() - random() % 20, random));
        Model model(left->size().value() / 512);
        for (uint64_t at = 0; at < model.sectors(); ++at) {
            uint32_t tag = 0;
            std::memcpy(&tag, read(*left, at * 512, 512).data(), 4);
            model.start(at, tag);
        }
        churn(*left, model, random, 60);
        const CheckReport report = checked(closed(std::move(left)));
        EXPECT_EQ(report.errors, 0u);
        EXPECT_EQ(report.leaks, 0u);
    }
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(VhdFormat, WritesTheTableOnlyWhenItIsFlushed) {
    auto disk = opened(created(vhd_format(), dynamic(4 << 20)));
    const auto before = last_file_->contents();
    ASSERT_TRUE(write(*disk, 0, sector_of(1)));
    EXPECT_EQ(std::memcmp(last_file_->contents().data(), before.data(), before.size() - 512), 0);
    ASSERT_TRUE(wait(disk->flush()));
    EXPECT_NE(std::memcmp(last_file_->contents().data(), before.data(), before.size() - 512), 0);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(VhdFormat, DoesNotWaitForUnboundedChanges) {
    auto disk = opened(created(vhd_format(), dynamic(16 << 20)));
    for (uint64_t n = 0; n < 200; ++n) ASSERT_TRUE(write(*disk, n << 16, sector_of(1)));
    ModelFile::Contents left = last_file_->contents();
    EXPECT_GE(checked(left).allocated, 192u);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(VhdFormat, GivesSlotsBackWhenAWriteFails) {
    auto disk = opened(created(vhd_format(), dynamic(4 << 20)));
    ASSERT_TRUE(write(*disk, 0, sector_of(1)));
    bool full = true;
    last_file_->fail_if = [&](const char* what, uint64_t) { return full && std::string_view(what) == "write"; };
    for (unsigned n = 0; n < 50; ++n) EXPECT_FALSE(write(*disk, 1 << 20, sector_of(2)).has_value());
    full = false;
    ASSERT_TRUE(write(*disk, 1 << 20, sector_of(2)));
    EXPECT_EQ(read(*disk, 1 << 20, 1024), sector_of(2) + sector_of(0));
    const CheckReport report = checked(closed(std::move(disk)));
    EXPECT_EQ(report.errors + report.leaks, 0u);
    EXPECT_EQ(report.allocated, 2u);
}

TEST_F(VhdFormat, AFailedFlushStaysFailed) {
    auto disk = opened(created(vhd_format(), dynamic(4 << 20)));
    ASSERT_TRUE(write(*disk, 0, sector_of(1)));
    last_file_->fail_if = [](const char* what, uint64_t) { return std::string_view(what) == "sync"; };
    EXPECT_FALSE(wait(disk->flush()).has_value());
    last_file_->fail_if = nullptr;
    EXPECT_FALSE(wait(disk->flush()).has_value());
    EXPECT_EQ(read(*disk, 0, 512), sector_of(1));
    EXPECT_FALSE(wait(disk->close()).has_value());
}

TEST_F(VhdFormat, ReadsButDoesNotWriteAFileThatIsOpenForReading) {
    OpenOptions options;
    auto disk = wait(vhd_format().open(std::make_unique<ModelFile>(created(vhd_format(), dynamic(1 << 20)), true), std::move(options)));
    ASSERT_TRUE(disk.has_value());
    EXPECT_TRUE((*disk)->readonly());
    EXPECT_EQ(read(**disk, 0, 512), sector_of(0));
    EXPECT_EQ(write(**disk, 0, sector_of(1)).error().kind(), ErrorKind::Denied);
    EXPECT_TRUE(wait((*disk)->close()));
}

TEST_F(VhdFormat, RefusesRangesOutside) {
    auto disk = opened(created(vhd_format(), dynamic(1 << 20)));
    EXPECT_EQ(write(*disk, 1 << 20, sector_of(1)).error().kind(), ErrorKind::OutOfRange);
    EXPECT_EQ(wait(disk->write_zeroes(Bytes(512), Bytes(~0ull), true)).error().kind(), ErrorKind::OutOfRange);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(VhdFormat, MapsWhatItHolds) {
    auto disk = opened(created(vhd_format(), dynamic(4 << 20)));
    ASSERT_TRUE(write(*disk, 1 << 20, std::string(64 << 10, 'x')));
    const auto before = wait(disk->map(Bytes(0), Bytes(4 << 20)));
    EXPECT_EQ(before->kind, block::Extent::Kind::Zero);
    EXPECT_EQ(before->length, Bytes(1 << 20));
    EXPECT_EQ(wait(disk->map(Bytes(1 << 20), Bytes(4096)))->kind, block::Extent::Kind::Data);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(VhdDifferencing, MapsWhatItsParentHoldsAsAbsent) {
    auto disk = opened(created(vhd_format(), differencing(kSize)));
    ASSERT_TRUE(write(*disk, 8192, sector_of(1)));
    const auto own = wait(disk->map(Bytes(8192), Bytes(4096))), below = wait(disk->map(Bytes(0), Bytes(kSize)));
    EXPECT_EQ(own->kind, block::Extent::Kind::Data);
    EXPECT_EQ(own->length, Bytes(512));
    EXPECT_EQ(below->kind, block::Extent::Kind::Absent);
    EXPECT_EQ(below->length, Bytes(8192));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(VhdDifferencing, TellsItsParent) {
    const ImageInfo told = info(created(vhd_format(), differencing(kSize, "images/b\xc3\xa4se.vhd")));
    EXPECT_EQ(told.variant, "differencing");
    ASSERT_TRUE(told.backing.has_value());
    EXPECT_EQ(told.backing->path, "images/b\xc3\xa4se.vhd");
    EXPECT_EQ(told.backing->format, "vhd");
    EXPECT_EQ(told.details.back().second, kParentId);
    EXPECT_EQ(info(created(vhd_format(), differencing(kSize, "/srv/base.vhd"))).backing->path, "/srv/base.vhd");
    EXPECT_EQ(info(created(vhd_format(), differencing(kSize, "../base.vhd"))).backing->path, "../base.vhd");
}

TEST_F(VhdDifferencing, NamesItsParentAsHyperVDoes) {
    const auto contents = created(vhd_format(), differencing(kSize, "sub/base.vhd"));
    ModelFile file(contents);
    const auto layout = wait(vhd::load_headers(file));
    ASSERT_TRUE(layout.has_value());
    const vhd::DynamicHeader& header = *layout->header;
    EXPECT_EQ(header.parent_name(), "base.vhd");
    EXPECT_EQ(load_be<uint32_t>(&header.raw[vhd::header::kParentTimeStamp]), 1'700'000'000u - 946'684'800u);
    const vhd::Locator relative = header.locator(0);
    EXPECT_EQ(relative.code, vhd::locator::kW2ru);
    EXPECT_EQ(relative.space, 512u);
    EXPECT_EQ(text_of_utf16(std::span(contents).subspan(relative.offset, relative.length), Endian::Little), ".\\sub\\base.vhd");
}

TEST_F(VhdDifferencing, RefusesAnotherParent) {
    OpenOptions options = open_options();
    options.backing_id = "11234567-89ab-4def-8123-456789abcdef";
    const auto contents = created(vhd_format(), differencing(kSize));
    const auto other = wait(vhd_format().open(std::make_unique<ModelFile>(contents), std::move(options)));
    EXPECT_EQ(other.error().kind(), ErrorKind::Failed);
    OpenOptions none;
    EXPECT_EQ(wait(vhd_format().open(std::make_unique<ModelFile>(contents), std::move(none))).error().kind(), ErrorKind::Failed);
}

TEST_F(VhdDifferencing, RefusesAParentBelowADynamicImage) {
    OpenOptions options = open_options();
    const auto disk = wait(vhd_format().open(std::make_unique<ModelFile>(created(vhd_format(), dynamic(kSize))), std::move(options)));
    EXPECT_EQ(disk.error().kind(), ErrorKind::Usage);
}

TEST_F(VhdDifferencing, DiscardLeavesWhatTheParentShowsAlone) {
    auto disk = opened(created(vhd_format(), differencing(kSize)));
    ASSERT_TRUE(wait(disk->discard(Bytes(0), Bytes(kSize))));
    EXPECT_EQ(read(*disk, 512, 512), sector_of(tag_below(1)));
    EXPECT_TRUE(wait(disk->close()));
}

class VhdResize : public VhdFormat {
  protected:
    void grows(const CreateOptions& options, uint64_t size, bool full) {
        auto disk = opened(created(vhd_format(), options));
        const uint64_t old = options.size.value();
        for (uint64_t at = 0; full && at < old; at += 64 << 10) ASSERT_TRUE(write(*disk, at, sector_of(7)));
        ASSERT_TRUE(write(*disk, old - 512, sector_of(1)));
        ASSERT_TRUE(wait(disk->resize(Bytes(size))));
        EXPECT_EQ(disk->size(), Bytes(size));
        EXPECT_EQ(read(*disk, old - 512, 512), sector_of(1));
        EXPECT_TRUE(read(*disk, old, size - old) == std::string(size - old, 0));
        ASSERT_TRUE(write(*disk, size - 512, sector_of(2)));
        const auto contents = closed(std::move(disk));
        const CheckReport report = checked(contents);
        EXPECT_EQ(report.errors + report.leaks, 0u);
        disk = opened(contents);
        EXPECT_EQ(disk->size(), Bytes(size));
        EXPECT_TRUE(read(*disk, old - 512, 512) == sector_of(1));
        EXPECT_TRUE(read(*disk, size - 1024, 512) == sector_of(size - old > 512 ? 0 : 1));
        EXPECT_TRUE(read(*disk, size - 512, 512) == sector_of(2));
        EXPECT_TRUE(wait(disk->close()));
    }
};

TEST_F(VhdResize, FixedGrows) { grows(fixed(1 << 20), 3 << 20, false); }
TEST_F(VhdResize, FixedGrowsByOneSector) { grows(fixed(1 << 20), (1 << 20) + 512, false); }
TEST_F(VhdResize, DynamicGrowsWhereTheTableHasRoom) { grows(dynamic(4 << 20), 6 << 20, false); }
TEST_F(VhdResize, DynamicGrowsByMovingTheTable) { grows(dynamic(4 << 20), 64 << 20, true); }
TEST_F(VhdResize, DynamicGrowsInsideItsLastBlock) { grows(dynamic((4 << 20) - 4096), 4 << 20, false); }

TEST_F(VhdResize, FixedShrinks) {
    auto disk = opened(created(vhd_format(), fixed(3 << 20)));
    ASSERT_TRUE(write(*disk, (1 << 20) - 512, sector_of(1)));
    ASSERT_TRUE(wait(disk->resize(Bytes(1 << 20))));
    const auto contents = closed(std::move(disk));
    EXPECT_EQ(contents.size(), (1u << 20) + 512);
    disk = opened(contents);
    EXPECT_EQ(read(*disk, (1 << 20) - 512, 512), sector_of(1));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(VhdResize, DynamicDoesNotShrink) {
    auto disk = opened(created(vhd_format(), dynamic(4 << 20)));
    EXPECT_EQ(wait(disk->resize(Bytes(1 << 20))).error().kind(), ErrorKind::Failed);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(VhdResize, LeavesTheOldSizeOrTheNewThroughACrash) {
    std::mt19937_64 random(11);
    auto disk = opened(created(vhd_format(), dynamic(4 << 20)));
    ASSERT_TRUE(write(*disk, 0, sector_of(1)));
    ASSERT_TRUE(wait(disk->flush()));
    ModelFile* const file = last_file_;
    const size_t begin = file->log().size();
    ASSERT_TRUE(wait(disk->resize(Bytes(64 << 20))));
    for (unsigned n = 0; n < 100; ++n) {
        auto left = opened(file->after_crash(begin + random() % (file->log().size() + 1 - begin), random));
        EXPECT_TRUE(left->size() == Bytes(4 << 20) || left->size() == Bytes(64 << 20));
        EXPECT_EQ(read(*left, 0, 1024), sector_of(1) + sector_of(0));
        EXPECT_TRUE(wait(left->close()));
    }
    EXPECT_TRUE(wait(disk->close()));
}

}  // namespace
}  // namespace yado::storage
