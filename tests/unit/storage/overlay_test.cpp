// Snapshots: the guest sees its writes, the image never does.
#include "storage/overlay.h"

#include "storage/disk.h"
#include "storage_fixture.h"

namespace yado::storage {
namespace {

class Overlay : public StorageTest {
  protected:
    std::unique_ptr<block::DiskImage> open(const std::string& path) {
        auto r = try_open({.path = path, .snapshot = true});
        EXPECT_TRUE(r.has_value()) << r.error().message();
        return r ? std::move(*r) : nullptr;
    }
};

TEST_F(Overlay, KeepsWritesFromTheImage) {
    const std::string path = file("base", 64 << 10, 'b');
    auto disk = open(path);
    ASSERT_TRUE(write(*disk, 512, std::string(512, 'w')));
    EXPECT_EQ(read(*disk, 0, 1536), std::string(512, 'b') + std::string(512, 'w') + std::string(512, 'b'));
    EXPECT_TRUE(wait(disk->close()));
    EXPECT_EQ(contents(path), std::string(64 << 10, 'b'));
}

TEST_F(Overlay, AgreesWithAModelUnderRandomRequests) {
    const std::string path = file("base", 1 << 20, 'b');
    auto disk = open(path);
    torture(*disk, std::string(1 << 20, 'b'), 300);
    EXPECT_TRUE(wait(disk->close()));
    EXPECT_EQ(contents(path), std::string(1 << 20, 'b'));
}

TEST_F(Overlay, KeepsConcurrentWritesToTheSameBlockApart) {
    auto disk = open(file("base", 64 << 10, 'b'));
    std::vector<std::string> data;
    for (char c = '0'; c < '8'; ++c) data.emplace_back(512, c);
    size_t left = data.size();
    std::vector<iovec> pieces(8);
    for (size_t i = 0; i < 8; ++i) {
        pieces[i] = {data[i].data(), 512};
        io::spawn(disk->writev(Bytes(i * 512), {&pieces[i], 1}), [&](Result<>) { --left; });
    }
    while (left > 0) executor_.run_once(std::chrono::seconds(1));
    std::string expected;
    for (const std::string& d : data) expected += d;
    EXPECT_EQ(read(*disk, 0, 4096), expected);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(Overlay, HandlesAnImageWhoseEndIsInsideABlock) {
    auto disk = open(file("base", 4096 + 512, 'b'));
    ASSERT_TRUE(write(*disk, 4096, std::string(512, 'w')));
    EXPECT_EQ(read(*disk, 4096 - 512, 1024), std::string(512, 'b') + std::string(512, 'w'));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(Overlay, ReadsDiscardedBlocksAsZeroes) {
    auto disk = open(file("base", 64 << 10, 'b'));
    EXPECT_TRUE(wait(disk->discard(Bytes(512), Bytes(8192))));
    EXPECT_EQ(read(*disk, 4096, 4096), std::string(4096, 0));
    EXPECT_EQ(read(*disk, 0, 4096), std::string(4096, 'b'));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(Overlay, LetsTwoGuestsShareTheImage) {
    const std::string path = file("base", 64 << 10, 'b');
    auto a = open(path), b = open(path);
    ASSERT_TRUE(a && b);
    ASSERT_TRUE(write(*a, 0, std::string(512, 'a')));
    EXPECT_EQ(read(*b, 0, 512), std::string(512, 'b'));
    EXPECT_TRUE(wait(a->close()));
    EXPECT_TRUE(wait(b->close()));
}

TEST_F(Overlay, RefusesAnImageThatSomebodyWrites) {
    const std::string path = file("base", 64 << 10, 'b');
    auto writer = try_open({.path = path});
    ASSERT_TRUE(writer);
    EXPECT_EQ(try_open({.path = path, .snapshot = true}).error().kind(), ErrorKind::Conflict);
    EXPECT_TRUE(wait((*writer)->close()));
}

TEST_F(Overlay, RefusesOtherFormats) {
    EXPECT_EQ(try_open({.path = file("base", 512), .format = "qed"}).error().kind(), ErrorKind::Usage);
}

}  // namespace
}  // namespace yado::storage
