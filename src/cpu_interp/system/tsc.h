// One guest's time stamp counters: guest TSC = host TSC + offset, the same offset for all vCPUs unless the guest wants
// otherwise. Software that sets all counters to one value means to synchronize them, but sets them one after another.
#pragma once

#include <x86intrin.h>

#include <cstdint>
#include <mutex>

namespace yado::cpu_interp {

/// Shared by the vCPUs of one guest. Any thread.
class TscSync {
  public:
    /// The offset for a counter that shall read `value` now. A value within a second of what the last offset gives is
    /// taken as an attempt to synchronize and gets that offset.
    uint64_t offset_for(uint64_t value, uint64_t hz) {
        const std::lock_guard lock(mutex_);
        const uint64_t offset = value - __rdtsc();
        const int64_t apart = static_cast<int64_t>(offset - offset_);
        if (set_ && static_cast<uint64_t>(apart < 0 ? -apart : apart) < hz) return offset_;
        // Right after a synchronized start (value 0) the others ask for 0 too: the last value asked for counts as well.
        if (set_ && value == value_ && __rdtsc() - at_ < hz) return offset_;
        set_ = true;
        offset_ = offset;
        value_ = value;
        at_ = __rdtsc();
        return offset_;
    }

  private:
    std::mutex mutex_;
    bool set_ = false;
    uint64_t offset_ = 0, value_ = 0, at_ = 0;
};

}  // namespace yado::cpu_interp
