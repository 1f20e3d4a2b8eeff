#include "storage/operations/walk.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "storage/aligned.h"
#include "storage/shown.h"

namespace yado::storage {
namespace {

using io::or_return;
using block::Extent;

/// Mapped at once: a sparse terabyte is skipped in few steps.
constexpr Bytes kLookAhead = 1_GiB;

class Walker {
  public:
    Walker(Bytes size, ChunkWork& work, const Control& control) : size_(size), work_(work), control_(control) {
        for (unsigned n = 0; n < std::max(1u, control.in_flight); ++n) free_.push_back(std::make_unique<AlignedBuffer>(kChunk.value(), 4096));
        buffers_ = free_.size();
    }

    io::Task<Result<>> run() {
        while (at_ < size_ && !error_) {
            const auto extent = co_await work_.look(at_, std::min(size_ - at_, kLookAhead));
            if (!extent) error_ = extent.error();
            else co_await start(*extent);
        }
        while (free_.size() < buffers_) co_await one_free();
        if (error_) co_return std::unexpected(*error_);
        co_return Result<>{};
    }

  private:
    io::Task<> start(Extent extent) {
        if (extent.kind == Extent::Kind::Absent) {
            at_ = at_ + extent.length;
            advance(extent.length);
            co_return;
        }
        const Bytes end = at_ + extent.length;
        while (at_ < end && !error_) {
            if (free_.empty()) co_await one_free();
            if (control_.cancelled && control_.cancelled()) error_ = Error(ErrorKind::Failed, "interrupted");
            if (error_) co_return;
            const bool data = extent.kind == Extent::Kind::Data;
            extent.length = data ? std::min(end - at_, kChunk) : end - at_;
            spawn_chunk(at_, extent);
            at_ = at_ + extent.length;
        }
    }

    void spawn_chunk(Bytes at, Extent extent) {
        auto buffer = std::move(free_.back());
        free_.pop_back();
        const auto room = buffer->bytes().first(extent.kind == Extent::Kind::Data ? extent.length.value() : 0);
        io::spawn(work_.chunk(at, extent, room), [this, extent, buffer = std::move(buffer)](Result<> done) mutable {
            if (!done && !error_) error_ = done.error();
            free_.push_back(std::move(buffer));
            advance(extent.length);
            if (freed_) std::exchange(freed_, nullptr)->complete(true);
        });
    }

    io::Task<> one_free() {
        io::Completion<bool> freed;
        freed_ = &freed;
        co_await freed;
    }

    void advance(Bytes length) {
        done_ = done_ + length;
        if (control_.progress && !error_) control_.progress(done_, size_);
    }

    const Bytes size_;
    ChunkWork& work_;
    const Control& control_;
    Bytes at_, done_;
    std::vector<std::unique_ptr<AlignedBuffer>> free_;
    size_t buffers_ = 0;
    io::Completion<bool>* freed_ = nullptr;
    std::optional<Error> error_;
};

}  // namespace

io::Task<Result<>> walk(Bytes size, ChunkWork& work, const Control& control) {
    Walker walker(size, work, control);
    co_return co_await walker.run();
}

io::Task<Result<std::optional<Bytes>>> search(Bytes size, SearchWork& work, const Control& control) {
    const auto walked = co_await walk(size, work, control);
    if (!walked && !work.found()) co_return std::unexpected(walked.error());
    co_return work.found();
}

io::Task<Result<>> read_shown(block::DiskImage& image, Bytes at, std::span<std::byte> into) {
    const iovec piece{into.data(), into.size()};
    co_return co_await read_shown(&image, at, std::span(&piece, 1));
}

bool is_zero(std::span<const std::byte> bytes) {
    constexpr size_t kProbe = 16;  // most blocks that are not zero show it at once
    const size_t probe = std::min(kProbe, bytes.size());
    if (std::ranges::any_of(bytes.first(probe), [](std::byte b) { return b != std::byte{0}; })) return false;
    return bytes.size() <= probe || std::memcmp(bytes.data(), bytes.data() + probe, bytes.size() - probe) == 0;
}

}  // namespace yado::storage
