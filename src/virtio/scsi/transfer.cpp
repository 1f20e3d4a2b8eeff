#include "virtio/scsi/transfer.h"

namespace yado::virtio {

Transfer::Transfer(mem::GuestMemory& memory, const Chain& chain, uint64_t out_at, uint64_t in_at)
    : memory_(memory),
      chain_(chain),
      out_(memory, chain.readable()),
      in_(memory, chain.writable()),
      in_at_(in_at),
      out_size_(chain.readable_size() - out_at),
      in_size_(chain.writable_size() - in_at) {
    out_.skip(out_at);
    in_.skip(in_at);
}

void Transfer::send(std::span<const uint8_t> bytes) { sent_ += in_.write(std::as_bytes(bytes)); }

void Transfer::arrived(uint64_t bytes, const Result<>& read) {
    mark_written(memory_, chain_.writable(), in_at_ + sent_ + bytes);  // a failed read may have written part of it
    if (read) sent_ += bytes;
}

size_t Transfer::receive(std::span<uint8_t> bytes) {
    const size_t count = out_.read(std::as_writable_bytes(bytes));
    received_ += count;
    return count;
}

}  // namespace yado::virtio
