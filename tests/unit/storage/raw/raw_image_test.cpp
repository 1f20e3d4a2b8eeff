// Raw images: what is written is read back, and what cannot be opened is refused with a reason.
#include "storage/raw/raw_image.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "storage_fixture.h"

namespace yado::storage {
namespace {

class RawImage : public StorageTest, public testing::WithParamInterface<AioMode> {
  protected:
    ~RawImage() override { failpoint::disarm_all(); }
    std::unique_ptr<block::DiskImage> open(const std::string& path, bool readonly = false) {
        auto r = open_as_raw({.path = path, .readonly = readonly, .aio = GetParam()});
        EXPECT_TRUE(r.has_value()) << r.error().message();
        return r ? std::move(*r) : nullptr;
    }
};
INSTANTIATE_TEST_SUITE_P(Aio, RawImage, testing::Values(AioMode::IoUring, AioMode::Threads),
                         [](const auto& p) { return p.param == AioMode::IoUring ? "IoUring" : "Threads"; });

TEST_P(RawImage, ReadsBackWhatWasWritten) {
    auto disk = open(file("a", 8192, 'x'));
    ASSERT_TRUE(write(*disk, 512, std::string(1024, 'y')));
    EXPECT_EQ(read(*disk, 0, 2048), std::string(512, 'x') + std::string(1024, 'y') + std::string(512, 'x'));
    EXPECT_TRUE(wait(disk->flush()));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_P(RawImage, AgreesWithAModelUnderRandomRequests) {
    auto disk = open(file("a", 1 << 20, 'x'));
    torture(*disk, std::string(1 << 20, 'x'), 200);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_P(RawImage, SplitsLongScatterLists) {
    auto disk = open(file("a", 4 << 20));
    std::string data(3000 * 512, 'z');
    std::vector<iovec> pieces;
    for (size_t i = 0; i < 3000; ++i) pieces.push_back({data.data() + i * 512, 512});
    EXPECT_TRUE(wait(disk->writev(Bytes(512), pieces)));
    EXPECT_EQ(read(*disk, 512, data.size()), data);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_P(RawImage, CompletesMoreRequestsThanTheRingHolds) {
    auto disk = open(file("a", 1 << 20));
    std::vector<std::string> buffers(1000, std::string(512, 'q'));
    std::vector<iovec> pieces(1000);
    size_t left = 1000;
    for (size_t i = 0; i < 1000; ++i) {
        pieces[i] = {buffers[i].data(), 512};
        io::spawn(disk->writev(Bytes(i * 512), {&pieces[i], 1}), [&](Result<> r) {
            EXPECT_TRUE(r.has_value());
            --left;
        });
    }
    while (left > 0) executor_.run_once(std::chrono::seconds(1));
    EXPECT_EQ(read(*disk, 0, 512'000), std::string(512'000, 'q'));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_P(RawImage, RefusesARangeBeyondItsEnd) {
    auto disk = open(file("a", 4096));
    const auto r = write(*disk, 4096 - 512, std::string(1024, 'y'));
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind(), ErrorKind::OutOfRange);
    EXPECT_FALSE(wait(disk->discard(Bytes(~0ull), Bytes(512))));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_P(RawImage, RefusesWritesWhenReadOnly) {
    auto disk = open(file("a", 4096, 'x'), true);
    const auto r = write(*disk, 0, std::string(512, 'y'));
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind(), ErrorKind::Denied);
    EXPECT_EQ(read(*disk, 0, 512), std::string(512, 'x'));
    EXPECT_TRUE(wait(disk->close()));
}

TEST_P(RawImage, FreesTheSpaceOfDiscardedRanges) {
    const std::string path = file("a", 1 << 20, 'x');
    auto disk = open(path);
    EXPECT_TRUE(wait(disk->discard(Bytes(0), Bytes(1 << 20))));
    struct stat st{};
    ASSERT_EQ(stat(path.c_str(), &st), 0);
    EXPECT_LT(st.st_blocks * 512, 1 << 20);
    EXPECT_TRUE(wait(disk->close()));
}

TEST_P(RawImage, KeepsFailingFlushesAfterOneFailed) {
    auto disk = open(file("a", 4096));
    failpoint::arm("storage.flush", Error(ErrorKind::Failed, "no"));
    EXPECT_FALSE(wait(disk->flush()));
    EXPECT_FALSE(wait(disk->flush()));
    EXPECT_FALSE(wait(disk->close()));
}

TEST_P(RawImage, ReportsAFileThatBecameShorter) {
    const std::string path = file("a", 8192, 'x');
    auto disk = open(path);
    ASSERT_EQ(truncate(path.c_str(), 512), 0);
    std::string data(4096, '?');
    const iovec v{data.data(), data.size()};
    EXPECT_FALSE(wait(disk->readv(Bytes(0), {&v, 1})));
    EXPECT_TRUE(wait(disk->close()));
}

class OpenRawImage : public StorageTest {
  protected:
    Error refusal(const HostFileConfig& config) {
        auto r = open_as_raw(config);
        return r ? Error(ErrorKind::Failed, "opened") : r.error();
    }
};

TEST_F(OpenRawImage, SaysThatAFileIsMissing) {
    const Error e = refusal({.path = folder_ + "/none"});
    EXPECT_EQ(e.kind(), ErrorKind::NotFound);
    EXPECT_NE(e.message().find("/none"), std::string::npos);
}

TEST_F(OpenRawImage, RefusesADirectory) {
    EXPECT_NE(refusal({.path = folder_}).message().find("is a directory"), std::string::npos);
    EXPECT_NE(refusal({.path = folder_, .readonly = true}).message().find("is a directory"), std::string::npos);
}

TEST_F(OpenRawImage, RefusesAFifoWithoutHanging) {
    const std::string path = folder_ + "/fifo";
    ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
    EXPECT_NE(refusal({.path = path, .readonly = true}).message().find("neither a file"), std::string::npos);
}

TEST_F(OpenRawImage, RefusesSizesThatAreNotWholeSectors) {
    EXPECT_NE(refusal({.path = file("a", 1000)}).message().find("multiple of 512"), std::string::npos);
    EXPECT_NE(refusal({.path = file("b", 0)}).message().find("empty"), std::string::npos);
}

TEST_F(OpenRawImage, RefusesAnUnknownAioMode) {
    EXPECT_EQ(parse_aio("native").error().kind(), ErrorKind::Usage);
    EXPECT_EQ(*parse_aio("threads"), AioMode::Threads);
}

}  // namespace
}  // namespace yado::storage
