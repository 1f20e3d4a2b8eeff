// A request taken from a queue: pieces of guest memory, readable ones first, all checked. It must go back through
// VirtQueue::complete() (or be dropped with a failed queue); while it lives its session cannot end. Executor's thread.
#pragma once

#include <sys/uio.h>

#include "io/gate.h"
#include "virtio/queue/ring.h"

namespace yado::virtio {

class Chain {
  public:
    Chain(ParsedChain parsed, io::Gate::Pass pass) : parsed_(std::move(parsed)), pass_(std::move(pass)) {}
    Chain(Chain&&) noexcept = default;

    std::span<const mem::GuestRange> readable() const { return std::span(parsed_.pieces).first(parsed_.readable); }
    std::span<const mem::GuestRange> writable() const { return std::span(parsed_.pieces).subspan(parsed_.readable); }
    uint64_t readable_size() const { return parsed_.readable_bytes; }
    uint64_t writable_size() const { return parsed_.writable_bytes; }

  private:
    friend class VirtQueue;
    ParsedChain parsed_;
    io::Gate::Pass pass_;
};

/// Walks one side of a chain from the front: copies bytes, or lends pieces for I/O in place.
class ChainCursor {
  public:
    ChainCursor(mem::GuestMemory& memory, std::span<const mem::GuestRange> pieces) : memory_(memory), rest_(pieces) {}

    /// Copies up to out.size() bytes out, returns how many there were.
    size_t read(std::span<std::byte> out);
    /// Copies up to in.size() bytes in (and marks them written), returns how many found room.
    size_t write(std::span<const std::byte> in);
    /// The next `count` bytes, in place; the cursor moves past them. Shorter at the end of the chain.
    std::vector<iovec> lend(uint64_t count);
    void skip(uint64_t count);

    template <typename T>
    bool read_object(T& out) {
        return read(std::as_writable_bytes(std::span(&out, 1))) == sizeof(T);
    }

  private:
    template <typename F>
    size_t each(uint64_t count, F&& f);
    mem::GuestMemory& memory_;
    std::span<const mem::GuestRange> rest_;
    uint64_t offset_ = 0;  // into rest_.front()
};

/// Marks the first `count` bytes of pieces that a device wrote in place.
void mark_written(mem::GuestMemory& memory, std::span<const mem::GuestRange> pieces, uint64_t count);

}  // namespace yado::virtio
