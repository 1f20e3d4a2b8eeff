// The data of one command, either way, in the pieces of guest memory that the driver gave for it. Executor's thread.
#pragma once

#include "virtio/queue/chain.h"

namespace yado::virtio {

class Transfer {
  public:
    /// What lies behind the first `out_at` readable and `in_at` writable bytes of the chain, which has as many.
    Transfer(mem::GuestMemory& memory, const Chain& chain, uint64_t out_at, uint64_t in_at);

    /// Room that the driver gave; not what is left of it.
    uint64_t out_size() const { return out_size_; }
    uint64_t in_size() const { return in_size_; }
    /// Bytes that went over, either way.
    uint64_t moved() const { return sent_ + received_; }
    uint64_t sent() const { return sent_; }

    /// To the driver: copied, in order. What finds no room is left out.
    void send(std::span<const uint8_t> bytes);
    /// The next `bytes`, to be read into in place; arrived() once that was tried.
    std::vector<iovec> lend_in(uint64_t bytes) { return in_.lend(bytes); }
    void arrived(uint64_t bytes, const Result<>& read);
    /// From the driver: copied; how many there were.
    size_t receive(std::span<uint8_t> bytes);
    /// The next `bytes`, to be written from in place; left() once that is done.
    std::vector<iovec> lend_out(uint64_t bytes) { return out_.lend(bytes); }
    void left(uint64_t bytes) { received_ += bytes; }

  private:
    mem::GuestMemory& memory_;
    const Chain& chain_;
    ChainCursor out_, in_;
    uint64_t in_at_, out_size_, in_size_, sent_ = 0, received_ = 0;
};

}  // namespace yado::virtio
