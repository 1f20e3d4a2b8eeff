// A disk in memory: what was asked of it is counted, requests can be held until let go, and made to fail.
#pragma once

#include <cstring>
#include <deque>
#include <optional>
#include <vector>

#include "block/disk_image.h"

namespace yado::fakes {

class MemoryDisk final : public block::DiskImage {
  public:
    explicit MemoryDisk(Bytes size, bool readonly = false) : data(size.value()), readonly_(readonly) {}

    Bytes size() const override { return Bytes(data.size()); }
    bool readonly() const override { return readonly_; }
    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override {
        co_await turn();
        if (fails()) co_return failure();
        size_t at = offset.value();
        for (const iovec& v : into) {
            std::memcpy(v.iov_base, data.data() + at, v.iov_len);
            at += v.iov_len;
        }
        co_return Result<>{};
    }
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        co_await turn();
        if (fails()) co_return failure();
        size_t at = offset.value();
        for (const iovec& v : from) {
            std::memcpy(data.data() + at, v.iov_base, v.iov_len);
            at += v.iov_len;
        }
        co_return Result<>{};
    }
    io::Task<Result<>> flush() override {
        co_await turn();
        ++flushes;
        if (fails()) co_return failure();
        co_return Result<>{};
    }
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) override {
        co_await turn();
        if (fails()) co_return failure();
        std::memset(data.data() + offset.value(), 0, length.value());
        unmapped = unmap;
        co_return Result<>{};
    }
    io::Task<Result<>> discard(Bytes offset, Bytes length) override {
        co_await turn();
        if (fails()) co_return failure();
        discards.emplace_back(offset.value(), length.value());
        co_return Result<>{};
    }
    io::Task<Result<>> close() override { co_return Result<>{}; }
    std::string describe() const override { return "memory"; }

    /// Lets the oldest held request go on.
    void let_go() {
        const auto h = waiting.front();
        waiting.pop_front();
        h.resume();
    }

    std::vector<uint8_t> data;
    unsigned flushes = 0;
    bool hold = false, fail_next = false, unmapped = false;
    std::optional<Error> fail_with;  ///< every request fails so while this is there
    std::vector<std::pair<uint64_t, uint64_t>> discards;
    std::deque<std::coroutine_handle<>> waiting;

  private:
    struct Turn {
        MemoryDisk& disk;
        bool await_ready() const { return !disk.hold; }
        void await_suspend(std::coroutine_handle<> h) { disk.waiting.push_back(h); }
        void await_resume() const {}
    };
    Turn turn() { return {*this}; }
    bool fails() const { return fail_next || fail_with; }
    Result<> failure() {
        if (fail_with) return std::unexpected(*fail_with);
        fail_next = false;
        return fail(ErrorKind::Failed, "made to fail");
    }
    bool readonly_;
};

}  // namespace yado::fakes
