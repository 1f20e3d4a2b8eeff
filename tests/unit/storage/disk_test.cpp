// What a user asks of a disk whatever its format: cache modes, discards.
#include "toy_fixture.h"

#include <sys/stat.h>

namespace yado::storage {
namespace {

class DiskModes : public ToyTest {
  protected:
    static uint64_t blocks(const std::string& path) {
        struct stat st{};
        stat(path.c_str(), &st);
        return static_cast<uint64_t>(st.st_blocks);
    }
};

TEST_F(DiskModes, EveryCacheModeReadsWhatItWrote) {
    for (const CacheMode mode : {CacheMode::Writeback, CacheMode::None, CacheMode::Writethrough, CacheMode::Unsafe}) {
        const std::string path = file("a.img", 256 << 10, 'x');
        auto disk = try_open({.path = path, .cache = mode});
        if (!disk && mode == CacheMode::None) GTEST_SKIP() << disk.error().message();
        ASSERT_TRUE(disk.has_value()) << disk.error().message();
        torture(**disk, std::string(256 << 10, 'x'), 30);
        EXPECT_TRUE(wait((*disk)->flush()));
        EXPECT_TRUE(wait((*disk)->close()));
    }
}

TEST_F(DiskModes, DirectIoServesAFormatThatAlignsNothing) {
    toy("a.toy");
    auto disk = try_open({.path = at("a.toy"), .format = "toy", .cache = CacheMode::None});
    if (!disk) GTEST_SKIP() << disk.error().message();
    torture(**disk, std::string(kSize, 0), 20);
    EXPECT_TRUE(wait((*disk)->close()));
}

TEST_F(DiskModes, DirectIoKeepsTheLengthOfAFileThatIsNotWholeBlocks) {
    const std::string path = file("a.img", 4096 + 512, 'x');
    auto disk = try_open({.path = path, .cache = CacheMode::None});
    if (!disk) GTEST_SKIP() << disk.error().message();
    EXPECT_EQ(read(**disk, 4096, 512), std::string(512, 'x'));
    EXPECT_TRUE(write(**disk, 4096, std::string(512, 'y')));
    EXPECT_TRUE(write(**disk, 512, std::string(512, 'z')));
    EXPECT_TRUE(wait((*disk)->close()));
    EXPECT_EQ(contents(path), std::string(512, 'x') + std::string(512, 'z') + std::string(3072, 'x') + std::string(512, 'y'));
}

TEST_F(DiskModes, WithoutDiscardTheSpaceStays) {
    const std::string path = file("a.img", 1 << 20, 'x');
    auto disk = try_open({.path = path, .discard = false});
    ASSERT_TRUE(disk.has_value());
    const uint64_t before = blocks(path);
    EXPECT_TRUE(wait((*disk)->discard(Bytes(0), Bytes(1 << 20))));
    EXPECT_EQ(read(**disk, 0, 4), "xxxx");
    EXPECT_TRUE(wait((*disk)->write_zeroes(Bytes(0), Bytes(1 << 20), true)));
    EXPECT_TRUE(wait((*disk)->close()));
    EXPECT_GE(blocks(path), before);
}

}  // namespace
}  // namespace yado::storage
