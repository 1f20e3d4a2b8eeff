// The paravirtual clock that all vCPUs of a guest read (kvmclock), where an engine keeps one beside the TSC.
#pragma once

#include "base/clock.h"
#include "base/error.h"

namespace yado::cpu {

/// While vCPUs are stopped; any one thread.
class GuestClock {
  public:
    virtual ~GuestClock() = default;
    /// What the guest would read now. Errors: Failed.
    virtual Result<Nanoseconds> now() const = 0;
    /// It goes on from there at once. Errors: Failed.
    virtual Result<> set(Nanoseconds now) = 0;
};

}  // namespace yado::cpu
