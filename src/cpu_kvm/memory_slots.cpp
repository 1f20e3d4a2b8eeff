#include "cpu_kvm/memory_slots.h"

#include <linux/kvm.h>

#include <algorithm>
#include <bit>

#include "cpu_kvm/system.h"

namespace yado::cpu_kvm {

Result<> MemorySlots::set(size_t index, const Slot& slot) {
    kvm_userspace_memory_region region{};
    region.slot = static_cast<uint32_t>(index);
    region.flags = slot.flags;
    region.guest_phys_addr = slot.start.value();
    region.memory_size = slot.used ? slot.size.value() : 0;
    region.userspace_addr = reinterpret_cast<uint64_t>(slot.host);
    if (kvm_ioctl(vm_, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return fail_errno(fmt::format("KVM: guest memory at {:#x}, {} MiB", slot.start.value(), slot.size.value() >> 20));
    slots_[index] = slot;
    return {};
}

Result<> MemorySlots::map(const mem::GuestMemory& memory) {
    std::vector<Slot> wanted;
    for (const auto& e : memory.extents()) {
        uint32_t flags = e.access == mem::Access::ReadOnly ? KVM_MEM_READONLY : 0;
        if (memory.dirty_log() && !flags) flags = KVM_MEM_LOG_DIRTY_PAGES;
        wanted.push_back({e.start, e.size, e.host, flags, true});
    }
    for (size_t i = 0; i < slots_.size(); ++i) {  // first the removals: slots must not overlap
        const auto same = std::ranges::find(wanted, slots_[i]);
        if (same != wanted.end())
            wanted.erase(same);
        else if (slots_[i].used)
            YADO_TRY(set(i, Slot{.start = slots_[i].start, .size = slots_[i].size, .host = slots_[i].host}));
    }
    for (const Slot& slot : wanted) {
        const auto free = std::ranges::find(slots_, false, &Slot::used);
        const auto index = static_cast<size_t>(free - slots_.begin());
        if (free == slots_.end()) slots_.emplace_back();
        YADO_TRY(set(index, slot));
    }
    return {};
}

Result<> MemorySlots::sync_dirty_log(mem::GuestMemory& memory) {
    for (size_t i = 0; i < slots_.size(); ++i) {
        Slot slot = slots_[i];
        if (!slot.used || slot.flags & KVM_MEM_READONLY) continue;
        if (slot.flags & KVM_MEM_LOG_DIRTY_PAGES) YADO_TRY(collect(i, memory));
        slot.flags = memory.dirty_log() ? KVM_MEM_LOG_DIRTY_PAGES : 0;
        if (slot.flags != slots_[i].flags) YADO_TRY(set(i, slot));
    }
    return {};
}

Result<> MemorySlots::collect(size_t index, mem::GuestMemory& memory) {
    const Slot& slot = slots_[index];
    std::vector<uint64_t> bits((slot.size.value() / kPageSize + 63) / 64);
    kvm_dirty_log log{};
    log.slot = static_cast<uint32_t>(index);
    log.dirty_bitmap = bits.data();
    if (kvm_ioctl(vm_, KVM_GET_DIRTY_LOG, &log) < 0) return fail_errno("KVM: dirty log");
    for (size_t word = 0; word < bits.size(); ++word)
        for (uint64_t left = bits[word]; left; left &= left - 1) {
            const uint64_t page = 64 * word + static_cast<uint64_t>(std::countr_zero(left));
            memory.mark_dirty(slot.start + Bytes(page * kPageSize), Bytes(kPageSize));
        }
    return {};
}

size_t MemorySlots::count() const { return static_cast<size_t>(std::ranges::count(slots_, true, &Slot::used)); }

}  // namespace yado::cpu_kvm
