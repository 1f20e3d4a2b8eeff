// writeback-limit= and writeback-age=: when the host is asked to write back, and when a write waits for that.
#include "storage/file/writeback_file.h"

#include <gtest/gtest.h>

#include "fakes/model_file.h"

namespace yado::storage {
namespace {

/// A file whose write-back takes until the test says so.
class SlowFile final : public ImageFile {
  public:
    const std::string& name() const override { return below.name(); }
    bool readonly() const override { return false; }
    Bytes size() const override { return below.size(); }
    const char* carrier() const override { return "slow"; }
    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override { return below.readv(offset, into); }
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override { return below.writev(offset, from); }
    io::Task<Result<>> sync() override { return below.sync(); }
    io::Task<Result<>> write_out() override {
        ++*begun;
        pending->push_back(std::make_unique<io::Completion<Result<>>>());
        io::Completion<Result<>>& mine = *pending->back();
        Result<> done = co_await mine;
        co_return done;
    }
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, ZeroMode mode) override { return below.write_zeroes(offset, length, mode); }
    io::Task<Result<>> discard(Bytes offset, Bytes length) override { return below.discard(offset, length); }
    io::Task<Result<>> resize(Bytes size) override { return below.resize(size); }
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override { return below.map(offset, length); }
    io::Task<Result<>> close() override { return below.close(); }

    fakes::ModelFile below;
    unsigned* begun = nullptr;
    std::vector<std::unique_ptr<io::Completion<Result<>>>>* pending = nullptr;
};

class WritebackFile : public testing::Test {
  protected:
    void make(WritebackPolicy policy) {
        auto slow = std::make_unique<SlowFile>();
        slow->begun = &begun;
        slow->pending = &pending;
        file = limit_writeback(std::move(slow), policy, timers);
    }
    void write(size_t bytes) {
        ++started;
        io::spawn(one(bytes));
    }
    io::Task<> one(size_t bytes) {
        const std::vector<std::byte> data(bytes);
        const Result<> r = co_await write_bytes(*file, Bytes(0), data);
        EXPECT_TRUE(r.has_value());
        ++ended;
    }
    void write_back_ends(Result<> how = {}) {
        ASSERT_FALSE(pending.empty());
        const auto first = std::move(pending.front());
        pending.erase(pending.begin());
        first->complete(std::move(how));
    }
    void close() {
        bool closed = false;
        io::spawn(file->close(), [&](Result<>) { closed = true; });
        while (!closed) write_back_ends();
    }

    io::ManualTimers timers;
    unsigned begun = 0, started = 0, ended = 0;
    std::vector<std::unique_ptr<io::Completion<Result<>>>> pending;
    std::unique_ptr<ImageFile> file;
};

TEST_F(WritebackFile, AtHalfTheLimitTheHostIsAskedAndAtTheLimitAWriteWaits) {
    make({.limit = Bytes(1 << 20)});
    write(400 << 10);
    EXPECT_EQ(begun, 0u);
    write(200 << 10);
    EXPECT_EQ(begun, 1u);
    write(300 << 10);
    write(200 << 10);  // finds 900 KiB
    EXPECT_EQ(ended, 4u);
    write(4096);
    write(4096);
    EXPECT_EQ(ended, 4u);
    write_back_ends();
    EXPECT_EQ(ended, 6u);
    EXPECT_EQ(begun, 1u) << "500 KiB and what came then: less than half";
    write(64 << 10);
    EXPECT_EQ(begun, 2u);
    close();
}

TEST_F(WritebackFile, WhatWaitedForItsAgeIsSent) {
    make({.age = std::chrono::seconds(5)});
    write(4096);
    timers.advance(std::chrono::seconds(4));
    write(4096);
    EXPECT_EQ(begun, 0u);
    timers.advance(std::chrono::seconds(1));
    EXPECT_EQ(begun, 1u);
    write_back_ends();
    timers.advance(std::chrono::seconds(60));
    EXPECT_EQ(begun, 1u) << "nothing waits";
    write(4096);
    timers.advance(std::chrono::seconds(5));
    EXPECT_EQ(begun, 2u);
    close();
}

TEST_F(WritebackFile, ASyncEmptiesIt) {
    make({.limit = Bytes(1 << 20)});
    write(500 << 10);
    io::spawn(file->sync(), [](Result<> r) { EXPECT_TRUE(r.has_value()); });
    write(500 << 10);
    EXPECT_EQ(begun, 0u);
    close();
}

TEST_F(WritebackFile, AFailureHoldsNothingUp) {
    make({.limit = Bytes(1 << 20)});
    write(2 << 20);
    write(4096);
    EXPECT_EQ(ended, 1u);
    write_back_ends(fail(ErrorKind::Failed, "disk a: write back"));
    EXPECT_EQ(ended, 2u);
    write(2 << 20);
    write(2 << 20);
    EXPECT_EQ(ended, 4u);
    EXPECT_EQ(begun, 1u);
    close();
}

TEST_F(WritebackFile, ClosingWaitsForWhatIsOnItsWay) {
    make({.limit = Bytes(1 << 20)});
    write(1 << 20);
    bool closed = false;
    io::spawn(file->close(), [&](Result<>) { closed = true; });
    EXPECT_FALSE(closed);
    write_back_ends();
    EXPECT_TRUE(closed);
}

}  // namespace
}  // namespace yado::storage
