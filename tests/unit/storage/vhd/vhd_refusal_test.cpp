// What a VHD must not say: each lie is refused by name, before anything large is read. And what `check` finds and repairs.
#include "../format_fixture.h"
#include "storage/vhd/layout.h"
#include "storage/vhd/vhd_format.h"

namespace yado::storage {
namespace {

using fakes::ModelFile;
using vhd::DynamicHeader;
using vhd::Footer;
constexpr uint64_t kSize = 4 << 20, kBlock = 64 << 10;
constexpr uint64_t kTable = 1536;

class VhdRefusal : public FormatTest {
  protected:
    VhdRefusal() {
        CreateOptions options;
        options.size = Bytes(kSize);
        options.cluster_size = Bytes(kBlock);
        auto disk = open_memory(vhd_format(), created(vhd_format(), options));
        EXPECT_TRUE(write(**disk, 0, sector_of(1)));
        EXPECT_TRUE(write(**disk, 1 << 20, sector_of(2)));
        ModelFile* const file = last_file_;
        EXPECT_TRUE(wait((*disk)->close()));
        image_ = file->contents();
    }

    template <typename F>
    void edit_footer(F change, bool start, bool end) {
        for (const uint64_t at : {uint64_t{0}, image_.size() - 512}) {
            if (at == 0 ? !start : !end) continue;
            Footer footer;
            std::memcpy(footer.raw.data(), image_.data() + at, 512);
            change(footer);
            std::memcpy(image_.data() + at, footer.raw.data(), 512);
        }
    }
    void set_footer(size_t field, auto value) {
        edit_footer(
            [&](Footer& footer) {
                store_be(&footer.raw[field], value);
                footer.seal();
            },
            true, true);
    }
    void set_header(size_t field, auto value) {
        DynamicHeader header;
        std::memcpy(header.raw.data(), image_.data() + 512, 1024);
        store_be(&header.raw[field], value);
        header.seal();
        std::memcpy(image_.data() + 512, header.raw.data(), 1024);
    }
    uint32_t entry(size_t n) { return load_be<uint32_t>(image_.data() + kTable + n * 4); }
    void set_entry(size_t n, uint32_t value) { store_be(image_.data() + kTable + n * 4, value); }
    void damage_start() { image_[1] ^= std::byte{1}; }
    void damage_end() { image_[image_.size() - 511] ^= std::byte{1}; }

    std::string refusal() {
        auto disk = open_memory(vhd_format(), image_);
        if (disk) {
            EXPECT_TRUE(wait((*disk)->close()));
            return "opened";
        }
        EXPECT_TRUE(disk.error().kind() == ErrorKind::Corrupt || disk.error().kind() == ErrorKind::Failed);
        return disk.error().message();
    }
    void expect_refused(const std::string& because) { EXPECT_NE(refusal().find(because), std::string::npos) << refusal(); }
    CheckReport check(Repair repair = Repair::No) {
        ModelFile file(image_);
        auto report = wait(vhd_format().check(file, repair));
        EXPECT_TRUE(report.has_value()) << report.error().message();
        image_ = file.contents();
        return report.value_or(CheckReport{});
    }

    ModelFile::Contents image_;
};

TEST_F(VhdRefusal, SoundImagesAreOpened) { EXPECT_EQ(refusal(), "opened"); }
TEST_F(VhdRefusal, EmptyFile) {
    image_.clear();
    expect_refused("no footer");
}
TEST_F(VhdRefusal, EveryTruncation) {
    const ModelFile::Contents whole = image_;
    for (uint64_t size = 0; size < whole.size() - 512; size += size < 4096 ? 37 : 4099) {
        image_.assign(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
        EXPECT_NE(refusal(), "opened") << size;
    }
}
TEST_F(VhdRefusal, BothFootersDamaged) {
    damage_start();
    damage_end();
    expect_refused("no footer");
}
TEST_F(VhdRefusal, UnknownVersion) {
    set_footer(vhd::footer::kVersion, uint32_t{0x20000});
    expect_refused("version");
}
TEST_F(VhdRefusal, UnknownDiskType) {
    set_footer(vhd::footer::kDiskType, uint32_t{5});
    expect_refused("disk type 5");
}
TEST_F(VhdRefusal, NoSize) {
    set_footer(vhd::footer::kCurrentSize, uint64_t{0});
    expect_refused("a size of 0");
}
TEST_F(VhdRefusal, SizeThatIsNotWholeSectors) {
    set_footer(vhd::footer::kCurrentSize, kSize + 1);
    expect_refused("a size of");
}
TEST_F(VhdRefusal, EnormousSize) {
    set_footer(vhd::footer::kCurrentSize, uint64_t{1} << 62);
    expect_refused("2040 GiB");
}
TEST_F(VhdRefusal, SizeThatTheTableDoesNotCover) {
    set_footer(vhd::footer::kCurrentSize, uint64_t{1} << 40);
    expect_refused("are needed");
}
TEST_F(VhdRefusal, FixedDiskLargerThanItsFile) {
    set_footer(vhd::footer::kDiskType, uint32_t{2});
    set_footer(vhd::footer::kCurrentSize, uint64_t{1} << 40);
    expect_refused("a fixed disk");
}
TEST_F(VhdRefusal, HeaderBehindTheEnd) {
    set_footer(vhd::footer::kDataOffset, uint64_t{1} << 40);
    expect_refused("dynamic header is at");
}
TEST_F(VhdRefusal, HeaderAtTheEndOfNumbers) {
    set_footer(vhd::footer::kDataOffset, ~uint64_t{511});
    expect_refused("dynamic header is at");
}
TEST_F(VhdRefusal, HeaderWithWrongChecksum) {
    image_[512 + 100] ^= std::byte{1};
    expect_refused("checksum");
}
TEST_F(VhdRefusal, BlockSizes) {
    for (const uint32_t size : {0u, 1u, 511u, 513u, 0x30000u, 0x20000000u, 0xffffffffu}) {
        set_header(vhd::header::kBlockSize, size);
        expect_refused("a block size of");
    }
}
TEST_F(VhdRefusal, TableOfTooManyEntries) {
    set_header(vhd::header::kMaxTableEntries, uint32_t{0xffffffff});
    expect_refused("a table of 4294967295 entries");
}
TEST_F(VhdRefusal, TableOutsideTheFile) {
    for (const uint64_t at : {~uint64_t{511}, uint64_t{1} << 40, uint64_t{0}, uint64_t{1537}}) {
        set_header(vhd::header::kTableOffset, at);
        expect_refused("a table of");
    }
}
TEST_F(VhdRefusal, TableOverTheHeader) {
    set_header(vhd::header::kTableOffset, uint64_t{512});
    EXPECT_NE(refusal(), "opened");
}
TEST_F(VhdRefusal, BlockTwice) {
    set_entry(5, entry(0));
    expect_refused("overlap");
}
TEST_F(VhdRefusal, BlocksThatOverlap) {
    set_entry(5, entry(0) + 1);
    expect_refused("overlap");
}
TEST_F(VhdRefusal, BlockBehindTheEnd) {
    set_entry(5, 0xfffffffe);
    expect_refused("beyond the file's end");
}
TEST_F(VhdRefusal, BlockOverTheFooter) {
    set_entry(5, static_cast<uint32_t>(image_.size() / 512 - 1));
    EXPECT_NE(refusal(), "opened");
}
TEST_F(VhdRefusal, BlockOverTheHeaders) {
    for (const uint32_t at : {0u, 1u, 2u, 3u}) {
        set_entry(5, at);
        expect_refused("lies over");
    }
}
TEST_F(VhdRefusal, LocatorOverTheTable) {
    set_footer(vhd::footer::kDiskType, uint32_t{4});
    set_header(vhd::header::kParentLocators, vhd::locator::kW2ru);
    set_header(vhd::header::kParentLocators + vhd::locator::kDataLength, uint32_t{0xffffffff});
    set_header(vhd::header::kParentLocators + vhd::locator::kDataOffset, ~uint64_t{0});
    ModelFile file(image_);
    const auto told = wait(vhd_format().info(file));
    ASSERT_TRUE(told.has_value());
    EXPECT_EQ(told->backing->path, "");
    EXPECT_GT(check().errors, 0u);
}

TEST_F(VhdRefusal, AGuestCannotTurnAFixedDiskIntoAnother) {
    CreateOptions options;
    options.size = Bytes(image_.size() + 512);
    options.preallocated = true;
    auto disk = open_memory(vhd_format(), created(vhd_format(), options));
    ASSERT_TRUE(write(**disk, 0, std::string(reinterpret_cast<const char*>(image_.data()), image_.size())));
    ModelFile* const file = last_file_;
    EXPECT_TRUE(wait((*disk)->close()));
    ModelFile again(file->contents());
    EXPECT_EQ(wait(vhd_format().info(again))->variant, "fixed");
}

TEST_F(VhdRefusal, CheckRestoresTheFooterFromItsCopy) {
    const auto sound = image_;
    damage_end();
    EXPECT_EQ(refusal(), "opened");
    EXPECT_EQ(check().leaks, 1u);
    EXPECT_EQ(check(Repair::Leaks).repaired, 1u);
    EXPECT_EQ(image_, sound);
}
TEST_F(VhdRefusal, CheckRestoresTheCopyFromTheFooter) {
    const auto sound = image_;
    damage_start();
    EXPECT_EQ(refusal(), "opened");
    EXPECT_EQ(check().errors, 1u);
    EXPECT_EQ(check(Repair::All).repaired, 1u);
    EXPECT_EQ(image_, sound);
}
TEST_F(VhdRefusal, CheckGivesBackSpaceAtTheEnd) {
    const auto sound = image_;
    image_.insert(image_.end() - 512, 4 * kBlock, std::byte{7});
    const CheckReport found = check();
    EXPECT_EQ(found.errors, 0u);
    EXPECT_EQ(found.leaks, 3u);
    EXPECT_EQ(check(Repair::Leaks).repaired, 1u);
    EXPECT_EQ(image_, sound);
}
TEST_F(VhdRefusal, CheckCountsDamageAndLeavesTheTableAlone) {
    set_entry(5, entry(0));
    set_entry(6, 0xfffffff0);
    const auto damaged = image_;
    const CheckReport found = check(Repair::All);
    EXPECT_EQ(found.errors, 2u);
    EXPECT_EQ(found.findings.size(), 2u);
    EXPECT_EQ(image_, damaged);
}
TEST_F(VhdRefusal, OptionsThatAVhdCannotHave) {
    const auto refused = [&](CreateOptions options) {
        ModelFile file;
        const auto made = wait(vhd_format().create(file, options));
        EXPECT_FALSE(made.has_value());
        EXPECT_EQ(made.has_value() ? ErrorKind::Failed : made.error().kind(), ErrorKind::Usage);
    };
    CreateOptions options;
    refused(options);
    options.size = Bytes(513);
    refused(options);
    options.size = Bytes((2040ull << 30) + 512);
    refused(options);
    options.size = Bytes(kSize);
    options.cluster_size = Bytes(3 << 16);
    refused(options);
    options.cluster_size.reset();
    options.parent.emplace();
    options.parent->path = "base.qcow2";
    options.parent->format = "qcow2";
    refused(options);
    options.parent->format = "vhd";
    options.parent->id = "no uuid";
    refused(options);
}

}  // namespace
}  // namespace yado::storage
