// on-error=pause: what the host fails is kept back, and lost never.
#include "storage/live/hold_image.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "../storage_fixture.h"
#include "base/failpoint.h"
#include "fakes/disk_image.h"
#include "storage/live/live_disk.h"

namespace yado::storage {
namespace {

class HoldImage : public StorageTest {
  protected:
    HoldImage() {
        auto made = std::make_unique<fakes::MemoryDisk>(1_MiB);
        memory = made.get();
        disk = hold_on_error(std::move(made), held);
        held.begin([this](size_t count) { resting = count; });
    }
    ~HoldImage() override { held.end(); }

    struct Outcome {
        std::optional<Result<>> result;
        bool good() const { return result && result->has_value(); }
        bool failed() const { return result && !result->has_value(); }
    };
    void start(io::Task<Result<>> task, Outcome& outcome) {
        io::spawn(std::move(task), [&outcome](Result<> r) { outcome.result = std::move(r); });
    }

    std::array<char, 512> bytes{'a', 'b'};
    const iovec piece{bytes.data(), bytes.size()};
    const std::span<const iovec> pieces{&piece, 1};
    std::vector<std::string> told;
    size_t resting = 0;
    HeldRequests held{[this](const Error& error) { told.push_back(error.message()); }};
    fakes::MemoryDisk* memory = nullptr;
    std::unique_ptr<block::DiskImage> disk;
};

TEST_F(HoldImage, AWriteThatFindsNoSpaceIsKeptBackAndIssuedAgain) {
    Outcome write;
    memory->fail_with = errno_error(ENOSPC, "disk a: write");
    start(disk->writev(Bytes(512), pieces), write);
    EXPECT_FALSE(write.result);
    EXPECT_EQ(resting, 1u);
    EXPECT_EQ(told, std::vector<std::string>{"disk a: write: No space left on device"});
    memory->fail_with.reset();
    held.retry();
    EXPECT_TRUE(write.good());
    EXPECT_EQ(memory->data[512], 'a');
    EXPECT_EQ(resting, 0u);
}

TEST_F(HoldImage, EveryKindOfRequestIsKeptBackAndTheyAreToldOfOnce) {
    std::array<Outcome, 5> all;
    memory->fail_with = errno_error(EIO, "disk a");
    start(disk->readv(Bytes(0), pieces), all[0]);
    start(disk->writev(Bytes(0), pieces), all[1]);
    start(disk->flush(), all[2]);
    start(disk->write_zeroes(Bytes(4096), Bytes(512), true), all[3]);
    start(disk->discard(Bytes(8192), Bytes(512)), all[4]);
    EXPECT_EQ(held.count(), 5u);
    EXPECT_EQ(told.size(), 1u);
    memory->fail_with.reset();
    held.retry();
    EXPECT_TRUE(std::ranges::all_of(all, &Outcome::good));
}

TEST_F(HoldImage, WhatStillFailsIsKeptBackAgainAndToldAgain) {
    Outcome write;
    memory->fail_with = errno_error(ENOSPC, "disk a: write");
    start(disk->writev(Bytes(0), pieces), write);
    held.retry();
    EXPECT_FALSE(write.result);
    EXPECT_EQ(told.size(), 2u);
    EXPECT_EQ(resting, 1u);
    held.end();  // ends the write while its outcome is there
}

TEST_F(HoldImage, AFailedSyncIsToldOnceAndThenHandedOnThoughTheDiskWouldTakeItNow) {
    Outcome first, second;
    memory->fail_with = errno_error(EIO, "disk a: flush").made_lasting();
    start(disk->flush(), first);
    EXPECT_FALSE(first.result);
    const unsigned tried = memory->flushes;
    held.retry();
    EXPECT_TRUE(first.failed());
    EXPECT_EQ(memory->flushes, tried);
    start(disk->flush(), second);
    EXPECT_TRUE(second.failed());
    EXPECT_EQ(told.size(), 1u);
}

TEST_F(HoldImage, OtherErrorsGoToTheGuest) {
    Outcome write;
    memory->fail_with = Error(ErrorKind::Corrupt, "disk a: damaged");
    start(disk->writev(Bytes(0), pieces), write);
    EXPECT_TRUE(write.failed());
    EXPECT_TRUE(told.empty());
}

TEST_F(HoldImage, WhenTheDeviceIsResetWhatWasKeptBackFailsAndNothingMoreIsKept) {
    Outcome before, after;
    memory->fail_with = errno_error(ENOSPC, "disk a: write");
    start(disk->writev(Bytes(0), pieces), before);
    held.end();
    EXPECT_TRUE(before.failed());
    EXPECT_EQ(resting, 0u);
    start(disk->writev(Bytes(0), pieces), after);
    EXPECT_TRUE(after.failed());
    EXPECT_EQ(told.size(), 1u);
}

/// A disk of a guest over a raw file whose writes are made to fail.
class LiveDiskOnAFile : public StorageTest {
  protected:
    ~LiveDiskOnAFile() override { failpoint::disarm_all(); }
    std::unique_ptr<LiveDisk> open(OnError on_error) {
        LiveConfig config{.disk = {.path = file("a.img", 1 << 20, 'x')}, .on_error = on_error, .kept_back = [this](const Error& e) { told = e.message(); }};
        auto opened = wait(LiveDisk::open(executor_, std::move(config)));
        EXPECT_TRUE(opened.has_value()) << opened.error().message();
        return std::move(*opened);
    }
    std::string told;
};

TEST_F(LiveDiskOnAFile, AFullHostDiskLosesNothing) {
    auto disk = open(OnError::Pause);
    disk->attached([](size_t) {});
    failpoint::arm("storage.write", errno_error(ENOSPC, "disk a.img: write"), 1, 2);
    std::array<std::string, 4> data;
    unsigned good = 0;
    std::array<iovec, 4> pieces{};
    for (size_t n = 0; n < 4; ++n) {
        data[n].assign(4096, static_cast<char>('a' + n));
        pieces[n] = {data[n].data(), data[n].size()};
        io::spawn(disk->writev(Bytes(n * 4096), {&pieces[n], 1}), [&good](Result<> r) { good += r.has_value(); });
    }
    while (good < 2) executor_.run_once(std::chrono::seconds(1));
    EXPECT_EQ(told, "disk a.img: write: No space left on device");
    disk->resumed();
    while (good < 4) executor_.run_once(std::chrono::seconds(1));
    for (size_t n = 0; n < 4; ++n) EXPECT_EQ(read(*disk, n * 4096, 4096), data[n]);
    disk->detached();
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(LiveDiskOnAFile, WithReportTheGuestIsTold) {
    auto disk = open(OnError::Report);
    disk->attached([](size_t) {});
    failpoint::arm("storage.write", errno_error(ENOSPC, "disk a.img: write"));
    EXPECT_FALSE(write(*disk, 0, std::string(512, 'y')));
    EXPECT_EQ(told, "");
    disk->detached();
    EXPECT_TRUE(wait(disk->close()));
}

TEST_F(LiveDiskOnAFile, AFailedFlushStaysFailed) {
    auto disk = open(OnError::Pause);
    disk->attached([](size_t) {});
    failpoint::arm("storage.flush", errno_error(EIO, "disk a.img: flush"));
    std::optional<Result<>> first;
    io::spawn(disk->flush(), [&first](Result<> r) { first = std::move(r); });
    EXPECT_FALSE(first);
    disk->resumed();
    ASSERT_TRUE(first);
    EXPECT_FALSE(first->has_value());
    EXPECT_FALSE(wait(disk->flush()));
    disk->detached();
    EXPECT_FALSE(wait(disk->close()));
}

}  // namespace
}  // namespace yado::storage
