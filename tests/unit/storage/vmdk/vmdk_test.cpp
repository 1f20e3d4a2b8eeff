// VMDKs that qemu-img makes are read as they are; what a VMDK must not say is refused.
#include "../oracle.h"
#include "base/bytes.h"
#include "storage/vmdk/layout.h"
#include "storage/vmdk/vmdk_format.h"

namespace yado::storage {
namespace {

using fakes::ModelFile;
namespace header = vmdk::header;

class VmdkFormat : public OracleTest {
  protected:
    static constexpr uint64_t kSize = (40 << 20) + 512 * 5;

    void reads_what_qemu_makes(const std::string& options) {
        const std::string model = random_raw("a.raw", kSize, 1);
        qemu_img("convert -f raw -O vmdk -o " + options + " a.raw a.vmdk");
        expect_sound(vmdk_format(), "a.vmdk");
        auto disk = open_image(vmdk_format(), "a.vmdk");
        ASSERT_TRUE(disk);
        EXPECT_EQ(disk->size(), Bytes(kSize));
        EXPECT_TRUE(read(*disk, 0, kSize) == model);
        std::mt19937_64 random(2);
        for (unsigned n = 0; n < 200; ++n) {
            const uint64_t at = random() % (kSize / 512) * 512, length = std::min<uint64_t>(kSize - at, (1 + random() % 300) * 512);
            EXPECT_TRUE(read(*disk, at, length) == model.substr(at, length));
        }
        EXPECT_TRUE(wait(disk->close()));
    }
    ModelFile::Contents image(const std::string& options) {
        random_raw("i.raw", 2 << 20, 3);
        qemu_img("convert -f raw -O vmdk -o " + options + " i.raw i.vmdk");
        const std::string bytes = contents(path("i.vmdk"));
        const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
        return {first, first + bytes.size()};
    }
    /// What opening says, or what reading all of it does.
    std::string refusal(const ModelFile::Contents& image) {
        auto disk = open_memory(vmdk_format(), image);
        if (!disk) return disk.error().message();
        std::string data((*disk)->size().value(), 0), said = "read";
        const iovec piece{data.data(), data.size()};
        if (const auto done = wait((*disk)->readv(Bytes(0), {&piece, 1})); !done) said = done.error().message();
        EXPECT_TRUE(wait((*disk)->close()));
        return said;
    }
    void expect_refused(const ModelFile::Contents& image, const std::string& because) {
        const std::string said = refusal(image);
        EXPECT_NE(said.find(because), std::string::npos) << said;
    }
    template <typename T>
    static ModelFile::Contents with(ModelFile::Contents image, uint64_t at, T value) {
        store_le(image.data() + at, value);
        return image;
    }
    static ModelFile::Contents with_text(ModelFile::Contents image, const std::string& from, const std::string& to) {
        std::string text(reinterpret_cast<const char*>(image.data()), image.size());
        const size_t at = text.find(from);
        EXPECT_NE(at, std::string::npos);
        std::memcpy(image.data() + at, to.data(), to.size());
        return image;
    }
};

TEST_F(VmdkFormat, ReadsSparseImages) { reads_what_qemu_makes("subformat=monolithicSparse"); }
TEST_F(VmdkFormat, ReadsImagesWithZeroedGrains) { reads_what_qemu_makes("subformat=monolithicSparse,zeroed_grain=on"); }
TEST_F(VmdkFormat, ReadsStreamOptimizedImages) { reads_what_qemu_makes("subformat=streamOptimized"); }

TEST_F(VmdkFormat, ReadsStreamOptimizedImagesWhoseFooterHasTheDirectory) {
    // qemu-img has the directory in front: as a writer in one go would do it, the header goes to the end and loses it.
    auto stream = image("subformat=streamOptimized");
    stream.resize((stream.size() + 511) / 512 * 512);
    const ModelFile::Contents footer(stream.begin(), stream.begin() + 512);
    store_le(&stream[header::kGdOffset], ~uint64_t{0});
    stream.insert(stream.end(), footer.begin(), footer.end());
    stream.resize(stream.size() + 512);
    EXPECT_EQ(refusal(stream), "read");
    stream.resize(stream.size() - 512);
    expect_refused(stream, "no footer");
}

TEST_F(VmdkFormat, IsOnlyRead) {
    auto disk = open_memory(vmdk_format(), image("subformat=monolithicSparse"));
    ASSERT_TRUE(disk.has_value());
    EXPECT_TRUE((*disk)->readonly());
    EXPECT_EQ(write(**disk, 0, sector_of(1)).error().kind(), ErrorKind::Denied);
    EXPECT_EQ(wait((*disk)->discard(Bytes(0), Bytes(512))).error().kind(), ErrorKind::Denied);
    EXPECT_TRUE(wait((*disk)->close()));
    ModelFile file;
    CreateOptions options;
    EXPECT_EQ(wait(vmdk_format().create(file, options)).error().kind(), ErrorKind::Usage);
}

TEST_F(VmdkFormat, RefusesImagesThatNameOtherFiles) {
    for (const char* subformat : {"monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"}) {
        qemu_img(fmt::format("create -f vmdk -o subformat={} m.vmdk 10M", subformat));
        OpenOptions options;
        const auto disk = wait(vmdk_format().open(open_host("m.vmdk"), std::move(options)));
        ASSERT_FALSE(disk.has_value()) << subformat;
        EXPECT_EQ(disk.error().kind(), ErrorKind::Failed);
    }
    expect_refused(with_text(image("subformat=monolithicSparse"), "RW 4096 SPARSE", "RW 4096 FLAT  "), "extents");
    expect_refused(with_text(image("subformat=monolithicSparse"), "monolithicSparse", "twoGbMaxExtentSp"), "type");
    expect_refused(with_text(image("subformat=monolithicSparse"), "parentCID=ffffffff", "parentCID=12345678"), "parent");
}

TEST_F(VmdkFormat, RefusesWhatTheHeaderMustNotSay) {
    const auto good = image("subformat=monolithicSparse");
    EXPECT_EQ(refusal(good), "read");
    expect_refused({}, "signature");
    expect_refused(with(good, 0, uint8_t{0}), "signature");
    expect_refused(with(good, header::kVersion, uint32_t{4}), "version 4");
    expect_refused(with(good, header::kLineEnds, uint8_t{'\r'}), "line ends");
    for (const uint64_t grain : {uint64_t{0}, uint64_t{1}, uint64_t{129}, uint64_t{8192}, ~uint64_t{0}}) expect_refused(with(good, header::kGrainSize, grain), "grains of");
    for (const uint32_t entries : {0u, 513u, 0xffffffffu}) expect_refused(with(good, header::kNumGTEsPerGT, entries), "grain tables of");
    expect_refused(with(good, header::kCapacity, uint64_t{0}), "a size of");
    expect_refused(with(good, header::kCapacity, ~uint64_t{0}), "a size of");
    expect_refused(with(good, header::kCapacity, uint64_t{1} << 36), "a grain directory");
    expect_refused(with(good, header::kDescriptorOffset, uint64_t{0}), "several");
    expect_refused(with(good, header::kDescriptorOffset, ~uint64_t{0} >> 1), "a descriptor of");
    expect_refused(with(good, header::kDescriptorSize, uint64_t{1} << 40), "a descriptor of");
    expect_refused(with(good, header::kGdOffset, uint64_t{0}), "a grain directory");
    expect_refused(with(good, header::kGdOffset, ~uint64_t{1}), "a grain directory");
    expect_refused(with(good, header::kGdOffset, ~uint64_t{0}), "no footer");
}

TEST_F(VmdkFormat, RefusesWhatTablesMustNotSay) {
    const auto good = image("subformat=monolithicSparse");
    ModelFile file(good);
    const auto layout = wait(vmdk::load_layout(file));
    ASSERT_TRUE(layout.has_value());
    const uint64_t table = layout->directory[0] * 512;
    uint64_t used = 0;
    while (load_le<uint32_t>(&good[table + used * 4]) == 0) ++used;
    const auto bad = with(good, table + used * 4, uint32_t{0xfffffff0});
    expect_refused(bad, "behind the file's end");
    expect_refused(with(good, layout->directory_offset, uint32_t{0xfffffff0}), "a grain table at sector");
    ModelFile bad_file(bad);
    EXPECT_EQ(wait(vmdk_format().check(bad_file, Repair::All))->errors, 1u);
    ModelFile twice(with(good, table + used * 4 + 4, load_le<uint32_t>(&good[table + used * 4])));
    EXPECT_GE(wait(vmdk_format().check(twice, Repair::All))->errors, 1u);
}

TEST_F(VmdkFormat, RefusesGrainsThatCannotBeDecompressed) {
    const auto good = image("subformat=streamOptimized");
    ModelFile file(good);
    const auto layout = wait(vmdk::load_layout(file));
    ASSERT_TRUE(layout.has_value());
    const uint64_t table = layout->directory[0] * 512;
    uint64_t used = 0;
    while (load_le<uint32_t>(&good[table + used * 4]) == 0) ++used;
    const uint64_t grain = uint64_t{load_le<uint32_t>(&good[table + used * 4])} * 512;
    expect_refused(with(good, grain, uint64_t{7777}), "another's marker");
    expect_refused(with(good, grain + 8, uint32_t{0}), "compressed bytes");
    expect_refused(with(good, grain + 8, uint32_t{0xffffffff}), "compressed bytes");
    expect_refused(with(good, grain + 14, ~uint64_t{0}), "cannot be decompressed");
    expect_refused(with(good, header::kCompressAlgorithm, uint16_t{2}), "compressed in a way");
}

}  // namespace
}  // namespace yado::storage
