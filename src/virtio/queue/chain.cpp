#include "virtio/queue/chain.h"

#include <algorithm>
#include <cstring>

namespace yado::virtio {

template <typename F>
size_t ChainCursor::each(uint64_t count, F&& f) {
    size_t done = 0;
    while (done < count && !rest_.empty()) {
        const auto bytes = memory_.bytes(rest_.front()).subspan(offset_);
        const size_t n = std::min<uint64_t>(count - done, bytes.size());
        f(bytes.first(n), done, rest_.front().start() + Bytes(offset_));
        done += n;
        offset_ += n;
        if (n == bytes.size()) {
            rest_ = rest_.subspan(1);
            offset_ = 0;
        }
    }
    return done;
}

size_t ChainCursor::read(std::span<std::byte> out) {
    return each(out.size(), [&](std::span<std::byte> piece, size_t at, GuestPhysAddr) {
        std::memcpy(out.data() + at, piece.data(), piece.size());
    });
}

size_t ChainCursor::write(std::span<const std::byte> in) {
    return each(in.size(), [&](std::span<std::byte> piece, size_t at, GuestPhysAddr addr) {
        std::memcpy(piece.data(), in.data() + at, piece.size());
        memory_.note_write(addr, Bytes(piece.size()));
    });
}

std::vector<iovec> ChainCursor::lend(uint64_t count) {
    std::vector<iovec> pieces;
    pieces.reserve(rest_.size());
    each(count, [&](std::span<std::byte> piece, size_t, GuestPhysAddr) { pieces.push_back({piece.data(), piece.size()}); });
    return pieces;
}

void ChainCursor::skip(uint64_t count) {
    each(count, [](std::span<std::byte>, size_t, GuestPhysAddr) {});
}

void mark_written(mem::GuestMemory& memory, std::span<const mem::GuestRange> pieces, uint64_t count) {
    for (const mem::GuestRange& piece : pieces) {
        if (count == 0) return;
        const uint64_t n = std::min(count, piece.size().value());
        memory.note_write(piece.start(), Bytes(n));
        count -= n;
    }
}

}  // namespace yado::virtio
