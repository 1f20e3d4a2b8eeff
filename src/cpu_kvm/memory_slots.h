// Guest RAM as KVM's memory slots, one an extent, and KVM's dirty log. vCPUs are stopped while slots change.
#pragma once

#include <vector>

#include "base/error.h"
#include "mem/guest_memory.h"

namespace yado::cpu_kvm {

class MemorySlots {
  public:
    explicit MemorySlots(int vm) : vm_(vm) {}

    /// Makes the slots equal to the extents; slots that stay are not touched.
    Result<> map(const mem::GuestMemory& memory);
    /// Takes over memory.dirty_log() and marks the pages that vCPUs wrote since the last call.
    Result<> sync_dirty_log(mem::GuestMemory& memory);
    size_t count() const;

  private:
    struct Slot {
        GuestPhysAddr start;
        Bytes size;
        std::byte* host = nullptr;
        uint32_t flags = 0;
        bool used = false;
        friend bool operator==(const Slot&, const Slot&) = default;
    };
    Result<> set(size_t index, const Slot& slot);
    Result<> collect(size_t index, mem::GuestMemory& memory);

    int vm_;
    std::vector<Slot> slots_;
};

}  // namespace yado::cpu_kvm
