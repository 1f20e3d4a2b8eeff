// qemu-img and qemu-io as the oracle, in both directions. Skipped where they are not installed.
#include "qcow2_fixture.h"

namespace yado::storage::qcow2 {
namespace {

class Qcow2Qemu : public Qcow2Test {
  protected:
    void SetUp() override {
        if (!has_qemu()) GTEST_SKIP() << "no qemu-img";
    }
    /// Pseudo-random contents that compress in part.
    std::string some_data(size_t size, unsigned seed) {
        std::mt19937 random(seed);
        std::string data;
        while (data.size() < size) {
            const unsigned n = 1 + random() % 40000;
            if (random() % 3 == 0) data.append(n, 0);
            else if (random() % 2) data.append(n, static_cast<char>(random()));
            else
                for (unsigned i = 0; i < n; ++i) data += static_cast<char>(random());
        }
        data.resize(size);
        return data;
    }
    void save_text(const std::string& name, const std::string& text) { std::ofstream(path(name), std::ios::binary) << text; }
    std::string all_of(const std::string& name) {
        auto disk = open(loaded(name), nullptr, true);
        EXPECT_TRUE(disk.has_value()) << (disk ? "" : disk.error().message());
        if (!disk) return {};
        std::string all = read_all(**disk);
        EXPECT_TRUE(wait((*disk)->close()));
        return all;
    }
};

TEST_F(Qcow2Qemu, WhatWeWroteIsCleanAndEqualForQemu) {
    for (const uint64_t cluster : {512, 4096, 65536, 2 << 20}) {
        std::mt19937_64 random(cluster);
        Model model((8 << 20) / 512);
        std::string all;
        save("a.qcow2", after(made(8 << 20, cluster), [&](block::DiskImage& disk) {
            churn(disk, model, random, 300);
            all = read_all(disk);
        }));
        save_text("a.raw", all);
        EXPECT_EQ(run("qemu-img check a.qcow2"), 0) << said_;
        EXPECT_EQ(run("qemu-img compare -f qcow2 -F raw a.qcow2 a.raw"), 0) << said_;
    }
}

TEST_F(Qcow2Qemu, AResizedImageIsCleanForQemu) {
    save("a.qcow2", after(made(1 << 20, 512), [&](block::DiskImage& disk) {
        ASSERT_TRUE(write(disk, 0, std::string(1 << 20, 'x')));
        ASSERT_TRUE(wait(disk.resize(Bytes(64 << 20))));
        ASSERT_TRUE(write(disk, 60 << 20, std::string(1 << 20, 'y')));
        ASSERT_TRUE(wait(disk.resize(Bytes(61 << 20))));
    }));
    EXPECT_EQ(run("qemu-img check a.qcow2"), 0) << said_;
    save_text("a.raw", std::string(1 << 20, 'x') + std::string(59 << 20, 0) + std::string(1 << 20, 'y'));
    EXPECT_EQ(run("qemu-img compare -f qcow2 -F raw a.qcow2 a.raw"), 0) << said_;
}

TEST_F(Qcow2Qemu, ImagesThatQemuConvertedReadEqual) {
    const std::string data = some_data(6 << 20, 3);
    save_text("a.raw", data);
    for (const char* how : {"", "-c", "-c -o compression_type=zstd", "-o compat=0.10", "-c -o compat=0.10", "-o cluster_size=512", "-c -o cluster_size=2M",
                            "-c -o cluster_size=4k,compression_type=zstd", "-o refcount_bits=1", "-o refcount_bits=64,cluster_size=4k", "-o lazy_refcounts=on",
                            "-o preallocation=metadata"}) {
        ASSERT_EQ(run(fmt::format("qemu-img convert -f raw -O qcow2 {} a.raw a.qcow2", how)), 0) << said_;
        EXPECT_TRUE(all_of("a.qcow2") == data) << how;
        EXPECT_EQ(faults(loaded("a.qcow2")), "") << how;
    }
}

TEST_F(Qcow2Qemu, ImagesOfQemuTakeOurWrites) {
    save_text("a.raw", some_data(4 << 20, 5));
    for (const char* how : {"-c", "-c -o compression_type=zstd", "-o compat=0.10", "-c -o cluster_size=512", "-o refcount_bits=1,cluster_size=512", "-o preallocation=metadata"}) {
        ASSERT_EQ(run(fmt::format("qemu-img convert -f raw -O qcow2 {} a.raw a.qcow2", how)), 0) << said_;
        std::string all;
        save("b.qcow2", after(loaded("a.qcow2"), [&](block::DiskImage& disk) {
            std::string expected = read_all(disk);
            std::mt19937_64 random(9);
            for (unsigned n = 0; n < 200; ++n) {
                const uint64_t at = random() % 8000 * 512, length = std::min<uint64_t>((4 << 20) - at, (1 + random() % 100) * 512);
                const char fill = n % 5 ? static_cast<char>(n) : '\0';
                const auto done = n % 5 ? write(disk, at, std::string(length, fill)) : wait(disk.write_zeroes(Bytes(at), Bytes(length), n % 2));
                ASSERT_TRUE(done.has_value()) << done.error().message();
                std::fill_n(expected.begin() + static_cast<ptrdiff_t>(at), length, fill);
                if (n % 30 == 0) {
                    ASSERT_TRUE(wait(disk.flush()));
                }
            }
            all = read_all(disk);
            EXPECT_TRUE(all == expected) << how;
        }));
        save_text("b.raw", all);
        EXPECT_EQ(run("qemu-img check b.qcow2"), 0) << how << said_;
        EXPECT_EQ(run("qemu-img compare -f qcow2 -F raw b.qcow2 b.raw"), 0) << how << said_;
    }
}

TEST_F(Qcow2Qemu, WhatQemuIoWroteReadsEqual) {
    ASSERT_EQ(run("qemu-img create -f qcow2 a.qcow2 8M && qemu-io -f qcow2 -c 'write -P 1 0 1M' -c 'write -z 256k 128k' -c 'write -z -u 512k 64k' "
                  "-c 'discard 640k 64k' -c 'write -P 7 3000k 33k' -c 'write -c -P 9 4M 64k' a.qcow2 && qemu-img convert -O raw a.qcow2 a.raw"), 0) << said_;
    EXPECT_TRUE(all_of("a.qcow2") == contents(path("a.raw")));
    EXPECT_EQ(faults(loaded("a.qcow2")), "");
    const Contents out = after(loaded("a.qcow2"), [&](block::DiskImage& disk) { ASSERT_TRUE(write(disk, 300 << 10, std::string(512, 'z'))); });
    EXPECT_EQ(faults(out), "");
}

TEST_F(Qcow2Qemu, ACloneOfOursIsOneForQemu) {
    save_text("base.raw", some_data(3 << 20, 8));
    auto base = try_open({.path = path("base.raw"), .format = "raw", .readonly = true});
    ASSERT_TRUE(base.has_value());
    auto disk = open(made_clone(4 << 20), std::move(*base));
    ASSERT_TRUE(disk.has_value()) << disk.error().message();
    ASSERT_TRUE(write(**disk, 100 * 512, std::string(1000 * 512, 'x')));
    ASSERT_TRUE(wait((*disk)->discard(Bytes(2 << 20), Bytes(128 << 10))));
    ASSERT_TRUE(wait((*disk)->write_zeroes(Bytes((2 << 20) + (512 << 10)), Bytes(100 * 512), true)));
    const std::string all = read_all(**disk);
    keep_contents_of(**disk);
    save("a.qcow2", kept_);
    save_text("a.raw", all);
    EXPECT_EQ(run("qemu-img check a.qcow2"), 0) << said_;
    EXPECT_EQ(run("qemu-img compare -f qcow2 -F raw a.qcow2 a.raw"), 0) << said_;
    EXPECT_EQ(run("qemu-img info a.qcow2 | grep 'backing file format: raw'"), 0) << said_;
}

TEST_F(Qcow2Qemu, InfoNamesTheBackingFileAsQemuWroteIt) {
    ASSERT_EQ(run("qemu-img create -f raw base.raw 1M && qemu-img create -f qcow2 -b base.raw -F raw a.qcow2"), 0) << said_;
    fakes::ModelFile file(loaded("a.qcow2"));
    const auto info = wait(qcow2_format().info(file));
    ASSERT_TRUE(info.has_value()) << info.error().message();
    ASSERT_TRUE(info->backing.has_value());
    EXPECT_EQ(info->backing->path, "base.raw");
    EXPECT_EQ(info->backing->format, "raw");
    EXPECT_EQ(info->variant, "version 3");
    EXPECT_EQ(info->size, Bytes(1 << 20));
}

TEST_F(Qcow2Qemu, SnapshotsOfQemuAreOurs) {
    save_text("one.raw", some_data(4 << 20, 11));
    ASSERT_EQ(run("qemu-img convert -O qcow2 one.raw a.qcow2 && qemu-img snapshot -c first a.qcow2 && qemu-io -f qcow2 -c 'write -P 5 1M 1M' a.qcow2 && "
                  "qemu-img snapshot -c second a.qcow2 && qemu-io -f qcow2 -c 'write -P 6 0 2M' a.qcow2"), 0) << said_;
    EXPECT_EQ(faults(loaded("a.qcow2")), "");
    fakes::ModelFile file(loaded("a.qcow2"));
    ASSERT_EQ(wait(list_snapshots(file))->size(), 2u);
    ASSERT_TRUE(wait(rollback_snapshot(file, "first")));
    ASSERT_TRUE(wait(delete_snapshot(file, "second")));
    EXPECT_EQ(faults(file.contents()), "");
    save("b.qcow2", file.contents());
    EXPECT_EQ(run("qemu-img check b.qcow2"), 0) << said_;
    EXPECT_EQ(run("qemu-img compare -f qcow2 -F raw b.qcow2 one.raw"), 0) << said_;
}

TEST_F(Qcow2Qemu, SnapshotsOfOursAreQemus) {
    std::mt19937_64 random(12);
    Model model((4 << 20) / 512);
    std::string first;
    fakes::ModelFile file(after(made(4 << 20, 4096), [&](block::DiskImage& disk) {
        churn(disk, model, random, 200);
        first = read_all(disk);
    }));
    ASSERT_TRUE(wait(create_snapshot(file, "mine", 1000)).has_value());
    const Contents later = after(file.contents(), [&](block::DiskImage& disk) { churn(disk, model, random, 200); });
    EXPECT_EQ(faults(later), "");
    save("a.qcow2", later);
    save_text("first.raw", first);
    EXPECT_EQ(run("qemu-img check a.qcow2"), 0) << said_;
    EXPECT_EQ(run("qemu-img snapshot -l a.qcow2 | grep mine"), 0) << said_;
    EXPECT_EQ(run("qemu-img snapshot -a mine a.qcow2 && qemu-img check a.qcow2 && qemu-img compare -f qcow2 -F raw a.qcow2 first.raw"), 0) << said_;
    EXPECT_EQ(run("qemu-img snapshot -d mine a.qcow2 && qemu-img check a.qcow2"), 0) << said_;
}

TEST_F(Qcow2Qemu, BitmapsAreCountedAndReported) {
    ASSERT_EQ(run("qemu-img create -f qcow2 a.qcow2 64M && qemu-img bitmap --add -g 512 a.qcow2 dirt && qemu-io -f qcow2 -c 'write -P 1 0 8M' a.qcow2"), 0) << said_;
    const Contents c = loaded("a.qcow2");
    EXPECT_EQ(faults(c), "");
    fakes::ModelFile file(c);
    const auto info = wait(qcow2_format().info(file));
    ASSERT_TRUE(info.has_value());
    EXPECT_TRUE(std::ranges::any_of(info->details, [](const auto& d) { return d.first == "bitmaps" && d.second == "1"; }));
    const Contents out = after(c, [&](block::DiskImage& disk) { ASSERT_TRUE(write(disk, 9 << 20, std::string(512, 'z'))); });
    EXPECT_EQ(get64(out, kAutoclearAt), 0u);
    Contents mended;
    EXPECT_EQ(checked(out, Repair::Leaks, &mended).errors, 0u);
    EXPECT_EQ(faults(mended), "");
    save("b.qcow2", mended);
    EXPECT_EQ(run("qemu-img check b.qcow2"), 0) << said_;
}

}  // namespace
}  // namespace yado::storage::qcow2
