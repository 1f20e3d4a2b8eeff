// limit-iops=, limit-bps=, burst=: requests wait until the disk's allowance covers them, first come, first served.
//
// Virtual scheduling (as the GCRA of ATM Forum TM 4.1, 4.4.2): each limit has a time at which all that was let through is paid
// for. A request is let through when that is not in the future, and moves it by its cost. While the disk is idle it falls behind
// the clock by at most what may be saved up, so that a burst passes at once.
//
// Executor's thread.
#pragma once

#include <deque>
#include <memory>

#include "base/units.h"
#include "io/task.h"
#include "io/timer.h"

namespace yado::storage {

struct Limits {
    uint64_t operations = 0;  ///< a second; 0: as many as come
    Bytes bytes;              ///< a second; 0: as many as come
    Nanoseconds burst{0};     ///< how long an idle disk saves up
    bool any() const { return operations > 0 || bytes.value() > 0; }
    friend bool operator==(const Limits&, const Limits&) = default;
};

/// Saved up whatever `burst` says, so that a timer that fires late costs nothing.
inline constexpr Nanoseconds kLeastBurst = std::chrono::milliseconds(100);

class Throttle {
  public:
    Throttle(io::TimerQueue& timers, Limits limits);
    Throttle(const Throttle&) = delete;
    ~Throttle();

    bool idle() const { return open_ || !limits_.any(); }
    /// Returns when a request that moves so many bytes may go on.
    io::Task<> admit(Bytes length);
    /// From now on; what waits is judged by the new limits.
    void change(Limits limits);
    const Limits& limits() const { return limits_; }
    /// Whoever waits, and all that come, pass until shut() without being counted: their device is about to stop.
    void open();
    void shut() { open_ = false; }

    struct Counters {
        uint64_t delayed = 0;  ///< requests that had to wait
        Nanoseconds waited{0};
    };
    const Counters& counters() const { return counters_; }

  private:
    struct Waiting {
        Bytes length;
        io::Completion<bool> turn;
    };
    Nanoseconds due() const { return std::max(operations_paid_, bytes_paid_); }
    void charge(Bytes length, Nanoseconds now);
    void let_through();
    void arm();

    io::TimerQueue& timers_;
    Limits limits_;
    bool open_ = false;
    Nanoseconds operations_paid_{0}, bytes_paid_{0};  ///< on the timers' clock
    std::deque<Waiting*> waiting_;
    Counters counters_;
    std::unique_ptr<io::Timer> timer_;
};

}  // namespace yado::storage
