// When a periodic timer fires next. Periods that passed while the host was late are skipped, and a guest cannot make
// the host's timer thread spin: shorter periods than kShortestInterval are thinned out.
#pragma once

#include <algorithm>

#include "base/clock.h"

namespace yado::machine {

inline constexpr Nanoseconds kShortestInterval{50'000};

/// The first point of the grid last + k * period (k >= 1) after `now`, at least kShortestInterval away if the period is
/// shorter than that. period > 0.
constexpr Nanoseconds next_period(Nanoseconds last, Nanoseconds period, Nanoseconds now) {
    const Nanoseconds after = std::max(last, now + (period < kShortestInterval ? kShortestInterval : Nanoseconds(0)));
    return last + period * ((after - last) / period + 1);
}

}  // namespace yado::machine
