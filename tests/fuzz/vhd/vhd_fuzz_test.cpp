// VHD, VHDX and VMDK from bytes: valid images, mutated, and noise. Opening, describing, checking, repairing and reading must end, within
// bounds, in a value or an error. Seeded: YADO_FUZZ_SEED and YADO_FUZZ_COUNT choose others and more.
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <cstring>
#include <random>

#include "base/bytes.h"
#include "fakes/model_file.h"
#include "io/call_on.h"
#include "io/executor.h"
#include "storage/format.h"
#include "storage/raw/raw_image.h"
#include "storage/vhd/headers.h"
#include "storage/vhdx/crc32c.h"
#include "storage/vhdx/spec.h"
#include "storage/vmdk/spec.h"

namespace yado::storage {
namespace {

using Image = fakes::ModelFile::Contents;

uint64_t environment(const char* name, uint64_t fallback) {
    const char* text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 0) : fallback;
}

class ImageFuzz : public testing::TestWithParam<const char*> {
  protected:
    template <typename T>
    T wait(io::Task<T> task) {
        return io::run_until_done(executor_, std::move(task));
    }
    const Format& format() { return **find_format(GetParam()); }
    uint64_t below(uint64_t n) { return random_() % n; }

    Image written(const CreateOptions& options) {
        auto file = std::make_unique<fakes::ModelFile>();
        fakes::ModelFile* const kept = file.get();
        EXPECT_TRUE(wait(format().create(*file, options)));
        OpenOptions open;
        if (options.parent) return kept->contents();
        auto disk = wait(format().open(std::move(file), std::move(open)));
        std::string data(8192, 'x');
        const iovec piece{data.data(), data.size()};
        for (const uint64_t at : {0u, 1u << 20, 3u << 20}) EXPECT_TRUE(wait((*disk)->writev(Bytes(at), {&piece, 1})));
        EXPECT_TRUE(wait((*disk)->flush()));
        const Image left_open = kept->contents();
        EXPECT_TRUE(wait((*disk)->close()));
        return left_open;
    }
    /// A small stream-optimized or sparse disk of four grains.
    static Image vmdk(bool compressed) {
        namespace h = vmdk::header;
        Image image(64 * 512);
        std::memcpy(image.data(), vmdk::kMagic, 4);
        store_le(&image[h::kVersion], uint32_t{compressed ? 3u : 1u});
        store_le(&image[h::kFlags], uint32_t{compressed ? 0x30001u : 5u});
        store_le(&image[h::kCapacity], uint64_t{32});
        store_le(&image[h::kGrainSize], uint64_t{8});
        store_le(&image[h::kDescriptorOffset], uint64_t{1});
        store_le(&image[h::kDescriptorSize], uint64_t{2});
        store_le(&image[h::kNumGTEsPerGT], uint32_t{512});
        store_le(&image[h::kGdOffset], uint64_t{3});
        std::memcpy(&image[h::kLineEnds], h::kLineEndText, 4);
        store_le(&image[h::kCompressAlgorithm], uint16_t{compressed});
        const std::string text = "# Disk DescriptorFile\nparentCID=ffffffff\ncreateType=\"monolithicSparse\"\nRW 32 SPARSE \"a\"\n";
        std::memcpy(&image[512], text.data(), text.size());
        store_le(&image[3 * 512], uint32_t{4});
        store_le(&image[4 * 512], uint32_t{16});
        store_le(&image[4 * 512 + 8], uint32_t{1});
        if (!compressed) return image;
        const std::string grain(4096, 'g');
        uLongf size = 1024;
        compress(reinterpret_cast<Bytef*>(&image[16 * 512 + 12]), &size, reinterpret_cast<const Bytef*>(grain.data()), grain.size());
        store_le(&image[16 * 512 + 8], static_cast<uint32_t>(size));
        store_le(&image[4 * 512 + 8], uint32_t{0});
        return image;
    }
    std::vector<Image> seeds() {
        if (std::string(GetParam()) == "vmdk") return {vmdk(false), vmdk(true)};
        CreateOptions options;
        options.size = Bytes(4 << 20);
        std::vector<Image> seeds;
        options.cluster_size = Bytes(std::string(GetParam()) == "vhd" ? 512 << 10 : 1 << 20);
        seeds.push_back(written(options));
        if (std::string(GetParam()) == "vhdx") return seeds;
        options.parent.emplace();
        options.parent->path = "base.vhd";
        options.parent->format = "vhd";
        options.parent->id = "01234567-89ab-4def-8123-456789abcdef";
        seeds.push_back(written(options));
        options.parent.reset();
        options.preallocated = true;
        seeds.push_back(written(options));
        return seeds;
    }

    /// Numbers that have broken others.
    uint64_t number() {
        constexpr uint64_t kOdd[] = {0, 1, 2, 511, 512, 4096, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff, 1ull << 32, 1ull << 40, ~0ull >> 1, ~0ull << 20, ~0ull << 9, ~0ull};
        return below(3) ? kOdd[below(std::size(kOdd))] : random_() >> below(64);
    }
    void mutate(Image& image, const std::vector<uint64_t>& places) {
        for (uint64_t n = 1 + below(4); n > 0 && !image.empty(); --n) {
            const uint64_t at = (places[below(places.size())] + below(below(4) ? 96 : 2048)) % image.size();
            const uint64_t value = below(2) ? number() : std::byteswap(number());
            const size_t size = std::min<size_t>(size_t{1} << below(4), image.size() - at);
            std::memcpy(&image[at], &value, size);
        }
        if (below(10) == 0) image.resize(below(image.size() + 1));
    }
    /// Where what matters is; checksums are made right again, mostly, so that what follows is reached.
    std::vector<uint64_t> places(const Image& image) const {
        if (std::string(GetParam()) == "vmdk") return {0, 512, 1536, 2048, 16 * 512};
        if (std::string(GetParam()) == "vhd") return {0, 512, 1024, 1536, 2560, image.size() - 512};
        return {64 << 10, 128 << 10, 192 << 10, 256 << 10, 1 << 20, (1 << 20) + 64, (1 << 20) + 4096, 2 << 20, (2 << 20) + (64 << 10), 3 << 20};
    }
    void seal(Image& image) {
        if (below(8) == 0 || std::string(GetParam()) == "vmdk") return;
        if (std::string(GetParam()) == "vhd") return seal_vhd(image);
        for (const uint64_t at : vhdx::kHeaderOffsets) seal_vhdx(image, at, 4096);
        for (const uint64_t at : vhdx::kRegionTableOffsets) seal_vhdx(image, at, 64 << 10);
        if (image.size() > (2u << 20)) seal_vhdx(image, 1 << 20, std::min<uint64_t>(load_le<uint32_t>(&image[(1 << 20) + 8]), 1 << 20));
    }
    static void seal_vhdx(Image& image, uint64_t at, uint64_t size) {
        if (size >= 64 && at + size <= image.size()) store_le(&image[at + 4], vhdx::crc32c(std::span(image).subspan(at, size), 4));
    }
    static void seal_vhd(Image& image) {
        for (const uint64_t at : {uint64_t{0}, image.size() - std::min<uint64_t>(image.size(), 512)}) {
            vhd::Footer footer;
            if (at + 512 > image.size()) continue;
            std::memcpy(footer.raw.data(), &image[at], 512);
            footer.seal();
            std::memcpy(&image[at], footer.raw.data(), 512);
        }
        vhd::DynamicHeader header;
        if (image.size() < 1536) return;
        std::memcpy(header.raw.data(), &image[512], 1024);
        header.seal();
        std::memcpy(&image[512], header.raw.data(), 1024);
    }

    void use(const Image& image) {
        fakes::ModelFile told(image), checked(image);
        const bool grows = claims_to_grow(image);
        if (grows) checked.fail_if = changes;
        const auto info = wait(format().info(told));
        const auto report = wait(format().check(checked, Repair(below(3))));
        EXPECT_LE(checked.contents().size(), image.size() + (1 << 20));
        OpenOptions options;
        const bool below_it = info && info->backing;
        if (below_it) {
            options.backing = std::move(*open_raw(std::make_unique<fakes::ModelFile>(Image(1 << 20), true)));
            options.backing_id = info->details.back().second;
        }
        auto file = std::make_unique<fakes::ModelFile>(image, below(2) == 0);
        if (grows) file->fail_if = changes;
        auto disk = wait(format().open(std::move(file), std::move(options)));
        EXPECT_FALSE(disk && !info);
        if (disk) exercise(**disk);
        if (disk) (void)wait((*disk)->close());
        (void)report;
    }
    /// A VHDX log may let the file grow by more than is to be had here: then nothing of it can be changed.
    static bool changes(const char* what, uint64_t) { return std::string_view(what) != "read"; }
    bool claims_to_grow(const Image& image) const {
        const uint64_t last = (1 << 20) + vhdx::log::kLastFileOffset;
        return std::string(GetParam()) == "vhdx" && image.size() > last + 8 && load_le<uint64_t>(&image[last]) > image.size() + (64 << 20);
    }
    void exercise(block::DiskImage& disk) {
        const uint64_t size = disk.size().value();
        std::string data(64 << 10, 0);
        for (unsigned n = 0; n < 40; ++n) {
            const uint64_t at = (n < 20 ? n * (128 << 10) : random_() / 512 * 512) % size, length = std::min<uint64_t>(data.size(), size - at);
            const iovec piece{data.data(), length};
            (void)wait(disk.readv(Bytes(at), {&piece, 1}));
            const auto extent = wait(disk.map(Bytes(at), Bytes(length)));
            EXPECT_TRUE(!extent || (extent->length.value() > 0 && extent->length.value() <= length));
            if (n % 8 == 0) (void)wait(disk.writev(Bytes(at), {&piece, 1}));
            if (n % 16 == 0) (void)wait(disk.flush());
        }
    }

    std::mt19937_64 random_{environment("YADO_FUZZ_SEED", 1)};
    io::Executor executor_;
};

TEST_P(ImageFuzz, MutatedImagesAreUsedOrRefused) {
    const std::vector<Image> valid = seeds();
    const uint64_t count = environment("YADO_FUZZ_COUNT", valid.front().size() > (4u << 20) ? 60 : 300);
    for (uint64_t n = 0; n < count && !HasFailure(); ++n) {
        Image image = valid[below(valid.size())];
        mutate(image, places(image));
        seal(image);
        use(image);
    }
}

TEST_P(ImageFuzz, NoiseIsRefused) {
    for (uint64_t n = 0; n < 200 && !HasFailure(); ++n) {
        Image image(below(8192));
        for (std::byte& b : image) b = static_cast<std::byte>(random_());
        use(image);
    }
}

INSTANTIATE_TEST_SUITE_P(Formats, ImageFuzz, testing::Values("vhd", "vhdx", "vmdk"), [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace yado::storage
