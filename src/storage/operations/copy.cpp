#include "storage/operations/copy.h"

#include <algorithm>

namespace yado::storage {
namespace {

using block::Extent;
using io::or_return;

io::Task<Result<>> write_piece(block::DiskImage& to, Bytes at, std::span<std::byte> bytes) {
    const iovec piece{bytes.data(), bytes.size()};
    co_return co_await to.writev(at, {&piece, 1});
}

class CopyShown final : public ChunkWork {
  public:
    CopyShown(std::span<const Layer> from, block::DiskImage& to, Bytes unit) : from_(from), to_(to), unit_(unit), size_(from[0].image->size()) {}

    /// In whole steps, so that no two chunks meet inside a cluster, and not many of them where holes are small.
    io::Task<Result<Extent>> look(Bytes at, Bytes length) override {
        Extent found = co_await or_return(co_await map_through(from_, at, length));
        const Bytes left = size_ - at;
        const uint64_t step = std::max(kLeastStep, unit_).value();
        if (found.kind == Extent::Kind::Zero) {
            found.kind = Extent::Kind::Absent;
            if (found.length == left) co_return found;
            found.length = Bytes(found.length.value() / step * step);
            if (found.length.value() > 0) co_return found;
            found.length = Bytes(1);
        }
        found.kind = Extent::Kind::Data;
        found.length = std::min(left, Bytes((found.length.value() + step - 1) / step * step));
        co_return found;
    }

    io::Task<Result<>> chunk(Bytes at, Extent, std::span<std::byte> buffer) override {
        const iovec piece{buffer.data(), buffer.size()};
        co_await or_return(co_await from_[0].image->readv(at, {&piece, 1}));
        for (size_t begin = 0; begin < buffer.size();) {
            const bool zero = zero_at(buffer, begin);
            size_t end = begin;
            while (end < buffer.size() && zero_at(buffer, end) == zero) end = std::min<size_t>(buffer.size(), end + unit_.value());
            if (!zero) co_await or_return(co_await write_piece(to_, at + Bytes(begin), buffer.subspan(begin, end - begin)));
            begin = end;
        }
        co_return Result<>{};
    }

  private:
    static constexpr Bytes kLeastStep = 64_KiB;
    bool zero_at(std::span<const std::byte> buffer, size_t at) const {
        return is_zero(buffer.subspan(at, std::min<size_t>(unit_.value(), buffer.size() - at)));
    }

    std::span<const Layer> from_;
    block::DiskImage& to_;
    const Bytes unit_, size_;
};

class CopyOwn final : public ChunkWork {
  public:
    CopyOwn(block::DiskImage& from, block::DiskImage& to) : from_(from), to_(to) {}
    io::Task<Result<Extent>> look(Bytes at, Bytes length) override { return from_.map(at, length); }
    io::Task<Result<>> chunk(Bytes at, Extent extent, std::span<std::byte> buffer) override {
        if (extent.kind == Extent::Kind::Zero) co_return co_await to_.write_zeroes(at, extent.length, true);
        const iovec piece{buffer.data(), buffer.size()};
        co_await or_return(co_await from_.readv(at, {&piece, 1}));
        co_return co_await to_.writev(at, {&piece, 1});
    }

  private:
    block::DiskImage& from_;
    block::DiskImage& to_;
};

/// The first byte that is not zero.
class FindData final : public SearchWork {
  public:
    FindData(std::span<const Layer> layers, Bytes begin) : layers_(layers), begin_(begin) {}
    io::Task<Result<Extent>> look(Bytes at, Bytes length) override {
        Extent found = co_await or_return(co_await map_through(layers_, begin_ + at, length));
        if (found.kind == Extent::Kind::Zero) found.kind = Extent::Kind::Absent;
        co_return found;
    }
    io::Task<Result<>> chunk(Bytes at, Extent, std::span<std::byte> buffer) override {
        co_await or_return(co_await read_shown(*layers_[0].image, begin_ + at, buffer));
        const auto data = std::ranges::find_if(buffer, [](std::byte b) { return b != std::byte{0}; });
        if (data == buffer.end()) co_return Result<>{};
        co_return found_at(begin_ + at + Bytes(static_cast<uint64_t>(data - buffer.begin())));
    }

  private:
    std::span<const Layer> layers_;
    const Bytes begin_;
};

constexpr Bytes kBlock = 4_KiB;

}  // namespace

io::Task<Result<>> copy_shown(std::span<const Layer> from, block::DiskImage& to, std::optional<Bytes> unit, const Control& control) {
    CopyShown work(from, to, std::clamp(unit.value_or(kBlock), kBlock, kChunk));
    co_return co_await walk(from[0].image->size(), work, control);
}

io::Task<Result<>> copy_own(block::DiskImage& from, block::DiskImage& to, const Control& control) {
    CopyOwn work(from, to);
    co_return co_await walk(from.size(), work, control);
}

io::Task<Result<std::optional<Bytes>>> first_data(std::span<const Layer> layers, Bytes begin) {
    FindData work(layers, begin);
    const Control control;
    co_return co_await search(layers[0].image->size() - begin, work, control);
}

}  // namespace yado::storage
