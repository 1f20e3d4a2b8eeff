#include "storage/overlay.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "storage/file/host_file.h"
#include "storage/file/path.h"
#include "storage/pieces.h"
#include "storage/range_lock.h"
#include "storage/raw/raw_image.h"

namespace yado::storage {
namespace {

using io::or_return;

constexpr uint64_t kBlock = 4096;

/// Which blocks the layer holds: one bit each, in leaves that exist only where something was written.
class BlockMap {
  public:
    explicit BlockMap(uint64_t blocks) : leaves_((blocks + kLeafBits - 1) / kLeafBits) {}
    bool has(uint64_t block) const {
        const auto& leaf = leaves_[block / kLeafBits];
        return leaf && (*leaf)[block % kLeafBits / 64] >> block % 64 & 1;
    }
    void add(uint64_t first, uint64_t end) {
        for (uint64_t b = first; b < end; ++b) {
            auto& leaf = leaves_[b / kLeafBits];
            if (!leaf) leaf = std::make_unique<Leaf>();
            (*leaf)[b % kLeafBits / 64] |= 1ull << b % 64;
        }
    }
    /// One past the last block from `first` on, below `end`, that is alike.
    uint64_t run_end(uint64_t first, uint64_t end) const {
        const bool present = has(first);
        while (first < end && has(first) == present) ++first;
        return first;
    }

  private:
    static constexpr uint64_t kLeafBits = 32768;
    using Leaf = std::array<uint64_t, kLeafBits / 64>;
    std::vector<std::unique_ptr<Leaf>> leaves_;
};

class Overlay final : public block::DiskImage {
  public:
    Overlay(std::unique_ptr<block::DiskImage> base, std::unique_ptr<block::DiskImage> layer)
        : base_(std::move(base)), layer_(std::move(layer)), map_((base_->size().value() + kBlock - 1) / kBlock) {}

    Bytes size() const override { return base_->size(); }
    bool readonly() const override { return false; }
    std::string describe() const override { return "snapshot of " + base_->describe(); }

    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override {
        const uint64_t start = offset.value(), end = start + total_of(into);
        if (end > size().value()) co_return outside(start);
        for (uint64_t at = start; at < end;) {
            const uint64_t block = at / kBlock;
            const uint64_t stop = std::min(end, map_.run_end(block, (end + kBlock - 1) / kBlock) * kBlock);
            const std::vector<iovec> part = slice(into, at - start, stop - at);
            block::DiskImage& from = map_.has(block) ? *layer_ : *base_;
            co_await or_return(co_await from.readv(Bytes(at), part));
            at = stop;
        }
        co_return Result<>{};
    }

    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        const uint64_t start = offset.value(), end = start + total_of(from);
        if (end > size().value()) co_return outside(start);
        if (start == end) co_return Result<>{};
        const RangeLock::Held held = co_await lock_.take(blocks(start, end));
        co_await or_return(co_await copy_up_edges(start, end));
        co_await or_return(co_await layer_->writev(offset, from));
        add(start, end);
        co_return Result<>{};
    }

    // What is thrown away at the end need not be made durable.
    io::Task<Result<>> flush() override { co_return Result<>{}; }

    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool) override {
        const uint64_t start = offset.value();
        if (offset > size() || length > size() - offset) co_return outside(start);
        const uint64_t end = start + length.value();
        if (start == end) co_return Result<>{};
        const RangeLock::Held held = co_await lock_.take(blocks(start, end));
        co_await or_return(co_await copy_up_edges(start, end));
        co_await or_return(co_await layer_->write_zeroes(offset, length, true));
        add(start, end);
        co_return Result<>{};
    }

    io::Task<Result<>> discard(Bytes offset, Bytes length) override {
        if (offset > size() || length > size() - offset) co_return outside(offset.value());
        const uint64_t start = (offset.value() + kBlock - 1) / kBlock * kBlock;
        const uint64_t end = (offset + length).value() / kBlock * kBlock;
        if (start >= end) co_return Result<>{};
        co_return co_await write_zeroes(Bytes(start), Bytes(end - start), true);
    }

    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override {
        const uint64_t start = offset.value(), end = start + length.value(), block = start / kBlock;
        const uint64_t stop = std::min(end, map_.run_end(block, (end + kBlock - 1) / kBlock) * kBlock);
        co_return co_await (map_.has(block) ? *layer_ : *base_).map(offset, Bytes(stop - start));
    }

    io::Task<Result<>> close() override {
        auto layer = co_await layer_->close();
        auto base = co_await base_->close();
        (void)layer;  // its contents are gone by intention
        co_return base;
    }

  private:
    static RangeLock::Range blocks(uint64_t start, uint64_t end) { return {start / kBlock, (end + kBlock - 1) / kBlock}; }
    void add(uint64_t start, uint64_t end) {
        const auto [first, last] = blocks(start, end);
        map_.add(first, last);
    }
    std::unexpected<Error> outside(uint64_t at) const {
        return fail(ErrorKind::OutOfRange, "{}: access at {} lies outside it", describe(), at);
    }

    /// Brings the blocks that [start, end) covers in part into the layer.
    io::Task<Result<>> copy_up_edges(uint64_t start, uint64_t end) {
        if (start % kBlock) co_await or_return(co_await copy_up(start / kBlock));
        const bool tail = end % kBlock && end != size().value();
        if (tail && !(start % kBlock && start / kBlock == end / kBlock)) co_await or_return(co_await copy_up(end / kBlock));
        co_return Result<>{};
    }

    io::Task<Result<>> copy_up(uint64_t block) {
        if (map_.has(block)) co_return Result<>{};
        std::array<std::byte, kBlock> data;
        const uint64_t at = block * kBlock;
        const iovec piece{data.data(), std::min(kBlock, size().value() - at)};
        const std::span<const iovec> pieces(&piece, 1);
        co_await or_return(co_await base_->readv(Bytes(at), pieces));
        co_await or_return(co_await layer_->writev(Bytes(at), pieces));
        map_.add(block, block + 1);
        co_return Result<>{};
    }

    std::unique_ptr<block::DiskImage> base_, layer_;
    BlockMap map_;
    RangeLock lock_;
};

Fd scratch_in(const std::string& directory) {
    Fd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600));
    if (fd || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
    std::string path = directory + "/.yado-scratch-XXXXXX";
    fd = Fd(mkostemp(path.data(), O_CLOEXEC));
    if (fd) unlink(path.c_str());
    return fd;
}

}  // namespace

Result<Fd> open_scratch(const std::string& image_path) {
    std::vector<std::string> directories;
    if (const char* tmp = getenv("TMPDIR"); tmp && *tmp) directories.emplace_back(tmp);
    directories.push_back(folder_of(image_path));
    directories.insert(directories.end(), {"/var/tmp", "/tmp"});
    for (const std::string& directory : directories)
        if (Fd fd = scratch_in(directory)) return fd;
    return fail(ErrorKind::Failed, "disk {}: no place for the snapshot's scratch file; set TMPDIR to a folder that can be written", image_path);
}

Result<std::unique_ptr<block::DiskImage>> make_overlay(io::Executor& executor, std::unique_ptr<block::DiskImage>& base,
                                                       Fd scratch, AioMode aio) {
    auto layer = YADO_TRY(open_raw(YADO_TRY(adopt_scratch_file(executor, std::move(scratch), base->size(), aio))));
    return std::make_unique<Overlay>(std::move(base), std::move(layer));
}

}  // namespace yado::storage
