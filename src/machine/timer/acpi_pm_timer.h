// The ACPI power management timer: 3.579545 MHz, 24 or 32 bits (ACPI 6.5, 4.8.3.3). A function of the time; ../lpc uses
// it.
#pragma once

#include <cstdint>

#include "base/clock.h"

namespace yado::machine {

inline constexpr uint64_t kPmTimerHz = 3'579'545;

class AcpiPmTimer {
  public:
    enum class Width : uint8_t { Bits24 = 24, Bits32 = 32 };
    explicit constexpr AcpiPmTimer(Width width) : bits_(static_cast<unsigned>(width)) {}

    uint32_t value(Nanoseconds now) const {
        return static_cast<uint32_t>(ticks_at(now, kPmTimerHz) & ((1ull << bits_) - 1));
    }
    /// Times that the most significant bit changed until `now` (each sets TMR_STS).
    uint64_t carries(Nanoseconds now) const { return ticks_at(now, kPmTimerHz) >> (bits_ - 1); }
    /// When it changes next.
    Nanoseconds next_carry(Nanoseconds now) const {
        return time_of_tick((carries(now) + 1) << (bits_ - 1), kPmTimerHz);
    }

  private:
    unsigned bits_;
};

}  // namespace yado::machine
