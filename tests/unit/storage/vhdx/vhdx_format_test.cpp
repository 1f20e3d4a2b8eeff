// VHDX against a model, crashes and lies.
#include "storage/vhdx/vhdx_format.h"

#include "../format_fixture.h"
#include "storage/vhdx/crc32c.h"
#include "storage/vhdx/layout.h"

namespace yado::storage {
namespace {

using fakes::ModelFile;
using namespace vhdx;  // the names of the specification
constexpr uint64_t kSize = 6 * kMiB;

CreateOptions dynamic(uint64_t size = kSize, uint64_t block = kMiB) {
    CreateOptions options;
    options.size = Bytes(size);
    options.cluster_size = Bytes(block);
    return options;
}
CreateOptions fixed(uint64_t size = kSize) {
    CreateOptions options = dynamic(size);
    options.preallocated = true;
    return options;
}

TEST(Crc32c, IsThatOfTheSpecification) {
    const std::string text = "123456789";
    EXPECT_EQ(crc32c(std::as_bytes(std::span(text))), 0xe3069283u);
    const std::string holed("abc\0\0\0\0defgh", 12), filled = "abcXXXXdefgh";
    EXPECT_EQ(crc32c(std::as_bytes(std::span(filled)), 3), crc32c(std::as_bytes(std::span(holed))));
}

class VhdxFormat : public FormatTest {
  protected:
    std::unique_ptr<block::DiskImage> opened(const ModelFile::Contents& contents) {
        auto disk = open_memory(vhdx_format(), contents);
        EXPECT_TRUE(disk.has_value()) << disk.error().message();
        return disk ? std::move(*disk) : nullptr;
    }
    ModelFile::Contents closed(std::unique_ptr<block::DiskImage> disk) {
        ModelFile* const file = last_file_;
        EXPECT_TRUE(wait(disk->close()));
        return file->contents();
    }
    CheckReport checked(ModelFile::Contents& contents, Repair repair = Repair::No) {
        ModelFile file(contents);
        const auto report = wait(vhdx_format().check(file, repair));
        EXPECT_TRUE(report.has_value()) << report.error().message();
        contents = file.contents();
        return report.value_or(CheckReport{});
    }
    Layout layout_of(const ModelFile::Contents& contents) {
        ModelFile file(contents);
        auto layout = wait(load_layout(file));
        EXPECT_TRUE(layout.has_value()) << layout.error().message();
        return layout.value_or(Layout{});
    }
    void churn_of(const CreateOptions& options, uint64_t seed) {
        std::mt19937_64 random(seed);
        auto disk = opened(created(vhdx_format(), options));
        Model model = fresh_model(options.size.value() / 512);
        churn(*disk, model, random, 200);
        auto contents = closed(std::move(disk));
        const CheckReport report = checked(contents);
        EXPECT_EQ(report.errors + report.leaks, 0u);
        disk = opened(contents);
        EXPECT_EQ(difference(*disk, model), "");
        EXPECT_TRUE(wait(disk->close()));
    }
    /// An image that was flushed and not closed: its log is to be replayed. The table in its place is as old as can be.
    ModelFile::Contents with_log() {
        auto disk = opened(created(vhdx_format(), dynamic()));
        ModelFile* const file = last_file_;
        EXPECT_TRUE(write(*disk, 2 * kMiB, sector_of(1)));
        EXPECT_TRUE(wait(disk->flush()));
        ModelFile::Contents contents = file->contents();
        EXPECT_TRUE(wait(disk->close()));
        const Layout layout = layout_of(contents);
        std::fill_n(contents.begin() + static_cast<ptrdiff_t>(layout.table.offset), 4096, std::byte{0});
        return contents;
    }
    std::string refusal(const ModelFile::Contents& contents) {
        auto disk = open_memory(vhdx_format(), contents);
        if (!disk) return disk.error().message();
        EXPECT_TRUE(wait((*disk)->close()));
        return "opened";
    }
    void expect_refused(const ModelFile::Contents& contents, const std::string& because) {
        const std::string said = refusal(contents);
        EXPECT_NE(said.find(because), std::string::npos) << said;
    }

    /// A sound image with two blocks, to be damaged.
    ModelFile::Contents sound() {
        auto disk = opened(created(vhdx_format(), dynamic()));
        EXPECT_TRUE(write(*disk, 0, sector_of(1)));
        EXPECT_TRUE(write(*disk, 3 * kMiB, sector_of(2)));
        return closed(std::move(disk));
    }
    template <typename T>
    static void put(ModelFile::Contents& image, uint64_t at, T value) { store_le(image.data() + at, value); }
    template <typename T>
    static ModelFile::Contents with(ModelFile::Contents image, uint64_t at, T value) {
        put(image, at, value);
        return image;
    }
    template <typename T>
    static ModelFile::Contents with_header(ModelFile::Contents image, size_t field, T value) {
        for (const uint64_t at : kHeaderOffsets) {
            put(image, at + field, value);
            put(image, at + header::kChecksum, crc32c(std::span(image).subspan(at, kHeaderSize), header::kChecksum));
        }
        return image;
    }
    template <typename T>
    static ModelFile::Contents with_region(ModelFile::Contents image, size_t field, T value) {
        for (const uint64_t at : kRegionTableOffsets) {
            put(image, at + field, value);
            put(image, at + region::kChecksum, crc32c(std::span(image).subspan(at, kTableSize), region::kChecksum));
        }
        return image;
    }
};

TEST_F(VhdxFormat, DynamicAgreesWithAModel) { churn_of(dynamic(), 1); }
TEST_F(VhdxFormat, DynamicWithLargeBlocksAgreesWithAModel) { churn_of(dynamic(9 * kMiB, 4 * kMiB), 2); }
TEST_F(VhdxFormat, AgreesWithAModelWhereTheLastBlockIsNotWhole) { churn_of(dynamic(5 * kMiB + 512 * 9), 3); }
TEST_F(VhdxFormat, FixedAgreesWithAModel) { churn_of(fixed(), 4); }
TEST_F(VhdxFormat, DynamicKeepsWhatWasFlushedThroughACrash) { crash_sweep(vhdx_format(), dynamic(4 * kMiB), 5, 150, 60); }
TEST_F(VhdxFormat, FixedKeepsWhatWasFlushedThroughACrash) { crash_sweep(vhdx_format(), fixed(2 * kMiB), 6, 60, 20); }

TEST_F(VhdxFormat, ReplaysItsLog) {
    auto disk = opened(with_log());
    EXPECT_EQ(read(*disk, 2 * kMiB, 512), sector_of(1));
    auto contents = closed(std::move(disk));
    const CheckReport report = checked(contents);
    EXPECT_EQ(report.errors + report.leaks, 0u);
    EXPECT_TRUE(layout_of(contents).header.log_guid().zero());
}

TEST_F(VhdxFormat, ReadsThroughItsLogWhenItMayNotReplayIt) {
    OpenOptions options;
    const auto contents = with_log();
    auto file = std::make_unique<ModelFile>(contents, true);
    const ModelFile* const kept = file.get();
    auto disk = wait(vhdx_format().open(std::move(file), std::move(options)));
    ASSERT_TRUE(disk.has_value()) << disk.error().message();
    EXPECT_EQ(read(**disk, 2 * kMiB, 512), sector_of(1));
    EXPECT_EQ(kept->contents(), contents);
    EXPECT_TRUE(wait((*disk)->close()));
}

TEST_F(VhdxFormat, SurvivesACrashAtAnyPointOfTheReplay) {
    std::mt19937_64 random(7);
    auto disk = opened(with_log());
    const ModelFile* const file = last_file_;
    for (unsigned n = 0; n < 30; ++n) {
        auto left = file->after_crash(random() % (file->log().size() + 1), random);
        EXPECT_EQ(checked(left).errors, 0u);
        auto again = opened(left);
        EXPECT_EQ(read(*again, 2 * kMiB, 512), sector_of(1));
        EXPECT_TRUE(wait(again->close()));
    }
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(VhdxFormat, CheckReplaysTheLogIfItMay) {
    auto contents = with_log();
    EXPECT_EQ(checked(contents).errors, 0u);
    (void)checked(contents, Repair::Leaks);
    EXPECT_TRUE(layout_of(contents).header.log_guid().zero());
    EXPECT_EQ(checked(contents).leaks, 0u);
}

TEST_F(VhdxFormat, ChangesItsGuidsOnlyWhenItIsWritten) {
    const auto before = sound();
    auto disk = opened(before);
    (void)read(*disk, 0, 512);
    EXPECT_EQ(closed(std::move(disk)), before);
    disk = opened(before);
    ASSERT_TRUE(write(*disk, 0, sector_of(3)));
    const auto after = closed(std::move(disk));
    const Layout old = layout_of(before), now = layout_of(after);
    EXPECT_NE(now.header.data_write_guid(), old.header.data_write_guid());
    EXPECT_GT(now.header.sequence(), old.header.sequence());
    EXPECT_TRUE(now.header_good[0] && now.header_good[1]);
}

TEST_F(VhdxFormat, ManyFlushesGoAroundTheLog) {
    auto disk = opened(created(vhdx_format(), dynamic(140 * kMiB)));
    for (uint64_t n = 0; n < 140; ++n) {
        ASSERT_TRUE(write(*disk, n * kMiB, sector_of(static_cast<uint32_t>(n + 1))));
        ASSERT_TRUE(wait(disk->flush()));
    }
    auto contents = last_file_->contents();
    EXPECT_TRUE(wait(disk->close()));
    disk = opened(contents);
    for (uint64_t n = 0; n < 140; ++n) EXPECT_EQ(read(*disk, n * kMiB, 512), sector_of(static_cast<uint32_t>(n + 1)));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(VhdxFormat, Grows) {
    auto disk = opened(created(vhdx_format(), dynamic(2 * kMiB)));
    ASSERT_TRUE(write(*disk, 2 * kMiB - 512, sector_of(1)));
    ASSERT_TRUE(wait(disk->resize(Bytes(9 * kMiB))));
    ASSERT_TRUE(write(*disk, 9 * kMiB - 512, sector_of(2)));
    auto contents = closed(std::move(disk));
    EXPECT_EQ(checked(contents).errors, 0u);
    disk = opened(contents);
    EXPECT_EQ(disk->size(), Bytes(9 * kMiB));
    EXPECT_EQ(read(*disk, 2 * kMiB - 512, 1024), sector_of(1) + sector_of(0));
    EXPECT_EQ(read(*disk, 9 * kMiB - 512, 512), sector_of(2));
    EXPECT_FALSE(wait(disk->resize(Bytes(kMiB))).has_value());
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(VhdxFormat, UsesTheOtherHeaderAndRegionTableWhereOneIsDamaged) {
    auto contents = sound();
    contents[kHeaderOffsets[1] + 100] ^= std::byte{1};
    contents[kRegionTableOffsets[0] + 100] ^= std::byte{1};
    EXPECT_EQ(refusal(contents), "opened");
    EXPECT_EQ(checked(contents).errors, 1u);
    EXPECT_EQ(checked(contents, Repair::All).repaired, 2u);
    EXPECT_EQ(checked(contents).errors, 0u);
    EXPECT_TRUE(layout_of(contents).header_good[1]);
}

TEST_F(VhdxFormat, RefusesTruncatedFiles) {
    const auto whole = sound();
    for (uint64_t size = 0; size + 4096 < whole.size(); size += size < kMiB ? 50'021 : 300'007)
        EXPECT_NE(refusal({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)}), "opened") << size;
}
TEST_F(VhdxFormat, RefusesDamagedHeaders) {
    expect_refused(with(sound(), 0, uint8_t{0}), "signature");
    auto both = sound();
    for (const uint64_t at : kHeaderOffsets) both[at + 100] ^= std::byte{1};
    expect_refused(both, "neither of its headers");
    auto tables = sound();
    for (const uint64_t at : kRegionTableOffsets) tables[at + 100] ^= std::byte{1};
    expect_refused(tables, "neither of its region tables");
}
TEST_F(VhdxFormat, RefusesWhatHeadersMustNotSay) {
    expect_refused(with_header(sound(), header::kVersion, uint16_t{2}), "version 2");
    expect_refused(with_header(sound(), header::kSequence, ~uint64_t{0}), "sequence number");
    expect_refused(with_header(sound(), header::kLogLength, uint32_t{0xfff00000}), "a log of");
    expect_refused(with_header(sound(), header::kLogLength, uint32_t{1000}), "a log of");
    expect_refused(with_header(sound(), header::kLogOffset, uint64_t{0}), "a log of");
    expect_refused(with_header(sound(), header::kLogOffset, ~uint64_t{0} << 20), "a log of");
    expect_refused(with_header(sound(), header::kLogOffset, 3 * kMiB), "overlap");
    expect_refused(with_header(sound(), header::kLogGuid, uint64_t{1}), "no valid entry");
    auto equal = with_header(sound(), header::kSequence, uint64_t{7});
    equal[kHeaderOffsets[1] + header::kFileWriteGuid] ^= std::byte{1};
    put(equal, kHeaderOffsets[1] + header::kChecksum, crc32c(std::span(equal).subspan(kHeaderOffsets[1], kHeaderSize), header::kChecksum));
    expect_refused(equal, "the same sequence number");
}
TEST_F(VhdxFormat, RefusesWhatRegionTablesMustNotSay) {
    const size_t first = region::kEntries;
    expect_refused(with_region(sound(), region::kEntryCount, uint32_t{0xffffffff}), "neither of its region tables");
    expect_refused(with_region(sound(), region::kEntryCount, uint32_t{1}), "no block allocation table");
    expect_refused(with_region(sound(), region::kEntryCount, uint32_t{3}), "a region of 0 bytes");
    expect_refused(with_region(sound(), first + region::kFileOffset, ~uint64_t{0} << 20), "a region of");
    expect_refused(with_region(sound(), first + region::kFileOffset, uint64_t{0}), "a region of");
    expect_refused(with_region(sound(), first + region::kFileOffset, 2 * kMiB), "overlap");
    expect_refused(with_region(sound(), first + region::kLength, uint32_t{0}), "a region of 0 bytes");
    expect_refused(with_region(sound(), first, uint32_t{0}), "it needs the region");
}
TEST_F(VhdxFormat, RefusesWhatMetadataMustNotSay) {
    const uint64_t at = layout_of(sound()).metadata.offset, entry = at + metadata::kEntries, items = at + (64 << 10);
    expect_refused(with(sound(), at, uint8_t{0}), "no metadata table");
    expect_refused(with(sound(), at + metadata::kEntryCount, uint16_t{2048}), "no metadata table");
    expect_refused(with(sound(), at + metadata::kEntryCount, uint16_t{4}), "no metadata");
    expect_refused(with(sound(), entry, uint32_t{1}), "it needs the metadata");
    expect_refused(with(sound(), entry + metadata::kOffset, uint32_t{0xffffffff}), "a metadata item");
    expect_refused(with(sound(), entry + metadata::kOffset, uint32_t{0}), "a metadata item");
    expect_refused(with(sound(), entry + metadata::kLength, uint32_t{0xffffffff}), "a metadata item");
    for (const uint32_t block : {0u, 1u, 512u, 0x80000u, 0x300000u, 0x20000000u, 0x80000000u}) expect_refused(with(sound(), items, block), "a block size");
    for (const uint64_t size : {uint64_t{0}, uint64_t{513}, kMostBytes + 512, ~uint64_t{511}}) expect_refused(with(sound(), items + 16, size), "a size");
    expect_refused(with(sound(), items + 16, kMostBytes), "are needed");
    for (const uint32_t sector : {0u, 1u, 513u, 0xffffffffu}) expect_refused(with(sound(), items + 48, sector), "sectors of");
    expect_refused(with(sound(), items + 48, 4096u), "4096 bytes, which is not supported");
    expect_refused(with(sound(), items + 4, uint32_t{metadata::kHasParent}), "differencing");
}
TEST_F(VhdxFormat, RefusesWhatTheTableMustNotSay) {
    const uint64_t table = layout_of(sound()).table.offset;
    const auto first = load_le<uint64_t>(sound().data() + table);
    expect_refused(with(sound(), table + 8, first), "overlap");
    expect_refused(with(sound(), table + 8, ~uint64_t{0} << 20 | 6), "beyond the file's end");
    expect_refused(with(sound(), table + 8, uint64_t{6}), "lies over the headers");
    expect_refused(with(sound(), table + 8, kMiB | 6), "lies over the log");
    expect_refused(with(sound(), table + 8, 3 * kMiB | 6), "lies over the block allocation table");
    expect_refused(with(sound(), table + 8, 100 * kMiB | 7), "partially present");
    expect_refused(with(sound(), table + 8, uint64_t{4}), "unknown state");
}
TEST_F(VhdxFormat, RefusesLogsThatLie) {
    const auto good = with_log();
    const uint64_t log = layout_of(good).header.log_offset();
    const auto entry_with = [&](size_t field, auto value) {
        auto image = good;
        put(image, log + field, value);
        const uint64_t length = std::min<uint64_t>(load_le<uint32_t>(&image[log + log::kEntryLength]), kMiB);
        if (length >= 4096) put(image, log + log::kChecksum, crc32c(std::span(image).subspan(log, length), log::kChecksum));
        return image;
    };
    EXPECT_EQ(refusal(entry_with(log::kTail, uint32_t{0})), "opened");
    expect_refused(entry_with(log::kTail, uint32_t{4096}), "no valid entry");
    expect_refused(entry_with(log::kTail, uint32_t{1}), "no valid entry");
    expect_refused(entry_with(log::kSequence, uint64_t{0}), "no valid entry");
    expect_refused(entry_with(log::kSequence, ~uint64_t{0}), "no valid entry");
    expect_refused(entry_with(log::kEntryLength, uint32_t{0}), "no valid entry");
    expect_refused(entry_with(log::kEntryLength, uint32_t{0xfffff000}), "no valid entry");
    expect_refused(entry_with(log::kDescriptorCount, uint32_t{0xffffffff}), "no valid entry");
    expect_refused(entry_with(log::kFlushedFileOffset, uint64_t{1} << 40), "cut off");
    expect_refused(entry_with(log::kLastFileOffset, ~uint64_t{0}), "its log makes it");
    const size_t descriptor = log::kHeaderSize;
    expect_refused(entry_with(descriptor + log::kFileOffset, uint64_t{1} << 40), "behind the file's end");
    expect_refused(entry_with(descriptor + log::kFileOffset, ~uint64_t{0} << 12), "no valid entry");
    expect_refused(entry_with(descriptor + log::kFileOffset, uint64_t{64} << 10), "into the headers");
    expect_refused(entry_with(4096 + log::kSequenceLow, uint32_t{77}), "no valid entry");
}
TEST_F(VhdxFormat, RefusesALogThatIsMadeToTakeLong) {
    auto image = with_header(sound(), header::kLogGuid, uint64_t{1});
    const Layout layout = layout_of(sound());
    for (uint64_t at = 0; at < kMiB; at += 4096) {
        std::byte* entry = &image[layout.header.log_offset() + at];
        std::memcpy(entry, log::kSignature, 4);
        store_le(entry + log::kEntryLength, static_cast<uint32_t>(kMiB));
        store_le(entry + log::kSequence, uint64_t{1});
        Uuid id;
        id.bytes[0] = std::byte{1};
        id.store(entry + log::kLogGuid);
    }
    expect_refused(image, "more work");
}
TEST_F(VhdxFormat, RefusesOptionsThatItCannotHave) {
    for (CreateOptions options : {dynamic(0), dynamic(513), dynamic(kMostBytes + 512), dynamic(kSize, 3 * kMiB), dynamic(kSize, 4096), dynamic(64ull << 40, kMiB)}) {
        ModelFile file;
        EXPECT_EQ(wait(vhdx_format().create(file, options)).error().kind(), ErrorKind::Usage);
    }
}

}  // namespace
}  // namespace yado::storage
