// Timers as devices see them. The real ones live on an Executor; tests drive ManualTimers and a ManualClock.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "base/clock.h"

namespace yado::io {

/// One deadline. arm() replaces any earlier deadline. The callback runs once a deadline passes, on the queue's thread,
/// with no lock held. A cancel() or arm() may race with a callback that has just begun: devices compare the time with
/// their own state under their own lock. The destructor waits for a callback in progress on another thread.
class Timer {
  public:
    virtual ~Timer() = default;
    /// Fires at `deadline` of the queue's clock().now(); one in the past fires at once. Any thread.
    virtual void arm(Nanoseconds deadline) = 0;
    virtual void cancel() = 0;
    /// Cancels, and returns the deadline, a reading of CLOCK_MONOTONIC, to a caller that will wait for it itself. nullopt: not
    /// armed, or a queue with another clock, and nothing changed. Any thread.
    virtual std::optional<Nanoseconds> take_over() { return std::nullopt; }
};

class TimerQueue {
  public:
    virtual ~TimerQueue() = default;
    virtual const Clock& clock() const = 0;
    virtual std::unique_ptr<Timer> make_timer(std::function<void()> callback) = 0;
};

/// For tests: time moves by advance(), which fires what falls due, in order, on the calling thread.
class ManualTimers final : public TimerQueue {
  public:
    const Clock& clock() const override { return clock_; }
    ManualClock& manual_clock() { return clock_; }
    std::unique_ptr<Timer> make_timer(std::function<void()> callback) override;
    void advance(Nanoseconds by);
    /// Deadlines that are armed now.
    size_t armed() const { return due_.size(); }

  private:
    class ManualTimer;
    ManualClock clock_;
    std::multimap<int64_t, ManualTimer*> due_;
};

}  // namespace yado::io
