// The injectable clock. Everything that asks for time takes a Clock&: tests pass a ManualClock.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace yado {

using Nanoseconds = std::chrono::nanoseconds;

class Clock {
  public:
    virtual ~Clock() = default;
    /// Monotonic time since an arbitrary start. Any thread.
    virtual Nanoseconds now() const = 0;
    /// Wall-clock time since 1970-01-01 UTC. Any thread.
    virtual Nanoseconds wall() const = 0;
};

/// CLOCK_MONOTONIC and CLOCK_REALTIME.
class SystemClock final : public Clock {
  public:
    Nanoseconds now() const override;
    Nanoseconds wall() const override;
};

/// Moves only when told; both readings advance together. For tests.
class ManualClock final : public Clock {
  public:
    Nanoseconds now() const override { return Nanoseconds(now_.load()); }
    Nanoseconds wall() const override { return Nanoseconds(wall_base_.load() + now_.load()); }
    void advance(Nanoseconds by) { now_ += by.count(); }
    void set_wall(Nanoseconds since_epoch) { wall_base_ = since_epoch.count() - now_.load(); }

  private:
    std::atomic<int64_t> now_{0};
    std::atomic<int64_t> wall_base_{0};
};

/// Counts `hz` ticks a second of a clock reading without overflow: floor(t * hz / 1e9).
constexpr uint64_t ticks_at(Nanoseconds t, uint64_t hz) {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(t.count()) * hz / 1'000'000'000u);
}
/// The first instant at which ticks_at(t, hz) >= ticks.
constexpr Nanoseconds time_of_tick(uint64_t ticks, uint64_t hz) {
    return Nanoseconds(static_cast<int64_t>((static_cast<unsigned __int128>(ticks) * 1'000'000'000u + hz - 1) / hz));
}

}  // namespace yado
