#include "bus/address_space.h"

#include <algorithm>
#include <bit>
#include <mutex>

#include "base/bytes.h"

namespace yado::bus {

Result<> AddressSpace::attach(uint64_t start, uint64_t size, IoHandler& handler, std::string owner) {
    uint64_t end = 0;
    if (size == 0 || __builtin_add_overflow(start, size, &end) || end > limit_)
        return fail(ErrorKind::OutOfRange, "{}: {} asks for {:#x}+{:#x}, outside the {} space", owner, owner, start, size, name_);
    const std::unique_lock lock(mutex_);
    const auto at = std::ranges::lower_bound(map_, start, {}, &Mapping::start);
    const auto overlaps = [&](const Mapping& m) { return start < m.start + m.size && m.start < end; };
    if (at != map_.end() && overlaps(*at))
        return fail(ErrorKind::Conflict, "{}: {:#x}+{:#x} overlaps {}", owner, start, size, at->owner);
    if (at != map_.begin() && overlaps(*std::prev(at)))
        return fail(ErrorKind::Conflict, "{}: {:#x}+{:#x} overlaps {}", owner, start, size, std::prev(at)->owner);
    map_.insert(at, Mapping{start, size, &handler, std::move(owner)});
    return {};
}

void AddressSpace::detach(uint64_t start, IoHandler& handler) {
    const std::unique_lock lock(mutex_);
    std::erase_if(map_, [&](const Mapping& m) { return m.start == start && m.handler == &handler; });
}

AddressSpace::Hit AddressSpace::find(uint64_t address, unsigned size) const {
    const std::shared_lock lock(mutex_);
    auto at = std::ranges::upper_bound(map_, address, {}, &Mapping::start);
    if (at == map_.begin()) return {nullptr, 0};
    --at;
    const uint64_t offset = address - at->start;
    if (offset >= at->size || size > at->size - offset) return {nullptr, 0};
    return {at->handler, offset};
}

uint64_t AddressSpace::read(uint64_t address, unsigned size) {
    if (!std::has_single_bit(size)) {
        uint64_t value = 0;
        for (unsigned i = 0; i < size; ++i) value |= (read(address + i, 1) & 0xff) << (8 * i);
        return value;
    }
    const Hit hit = find(address, size);
    return (hit.handler ? hit.handler->read(hit.offset, size) : ~0ull) & mask_of_size(size);
}

void AddressSpace::write(uint64_t address, unsigned size, uint64_t value) {
    if (!std::has_single_bit(size)) {
        for (unsigned i = 0; i < size; ++i) write(address + i, 1, value >> (8 * i) & 0xff);
        return;
    }
    const Hit hit = find(address, size);
    if (hit.handler) hit.handler->write(hit.offset, size, value & mask_of_size(size));
}

bool AddressSpace::claimed(uint64_t address) const { return find(address, 1).handler != nullptr; }

std::vector<AddressSpace::Mapping> AddressSpace::mappings() const {
    const std::shared_lock lock(mutex_);
    return map_;
}

}  // namespace yado::bus
