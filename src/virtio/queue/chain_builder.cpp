#include <algorithm>

#include "virtio/queue/ring.h"

namespace yado::virtio {

Result<> ChainBuilder::add(uint64_t addr, uint32_t len, bool writable) {
    if (len == 0) return fail(ErrorKind::Corrupt, "a descriptor of no bytes");
    if (!writable && chain_.writable_bytes > 0) return fail(ErrorKind::Corrupt, "a readable descriptor after a writable one");
    uint64_t& sum = writable ? chain_.writable_bytes : chain_.readable_bytes;
    sum += len;
    if (sum > UINT32_MAX) return fail(ErrorKind::Corrupt, "a chain of more than 4 GiB");
    return add_piece(GuestPhysAddr(addr), Bytes(len), writable);
}

Result<> ChainBuilder::add_piece(GuestPhysAddr addr, Bytes size, bool writable) {
    using Intent = mem::GuestMemory::Intent;
    const Intent intent = writable ? Intent::Write : Intent::Read;
    // A buffer may run through extents that touch: one checked piece for each.
    while (size.value() > 0) {
        const auto extent = std::ranges::find_if(memory_.extents(), [&](const mem::GuestMemory::Extent& e) {
            return addr.value() - e.start.value() < e.size.value();
        });
        if (extent == memory_.extents().end())
            return fail(ErrorKind::OutOfRange, "a descriptor at {:#x} outside of RAM", addr.value());
        const Bytes here = std::min(size, extent->start + extent->size - addr);
        if (chain_.pieces.size() == kMaxPieces) return fail(ErrorKind::Corrupt, "a chain of more than {} pieces", kMaxPieces);
        chain_.pieces.push_back(YADO_TRY(memory_.range(addr, here, intent)));
        if (!writable) ++chain_.readable;
        addr = addr + here;
        size = size - here;
    }
    return {};
}

}  // namespace yado::virtio
