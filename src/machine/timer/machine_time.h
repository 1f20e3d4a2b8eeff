// The time that the machine's devices see: the host's monotonic time with the pauses cut out.
//
// Every timer device takes this as its TimerQueue. While stopped the clock stands still and no callback starts, so a
// device needs no pause() of its own, and deadlines are saved as plain times: a loaded machine goes on at the saved
// time. Any thread. pause() returns when no callback runs any more (one that calls pause() itself excepted).
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>

#include "bus/device.h"
#include "io/timer.h"

namespace yado::machine {

class MachineTime final : public io::TimerQueue, public bus::Device {
  public:
    struct Wiring {
        io::TimerQueue& host;
    };
    /// Starts stopped, at 0. resume() lets it run.
    explicit MachineTime(Wiring wiring);
    ~MachineTime() override;

    // io::TimerQueue
    const Clock& clock() const override { return clock_; }
    std::unique_ptr<io::Timer> make_timer(std::function<void()> callback) override;

    // bus::Device
    std::string id() const override { return "time"; }
    std::string kind() const override { return "machine-time"; }
    void reset() override {}  // time goes on over a reset
    void pause() override;
    void resume() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    class ShiftedTimer;
    class ShiftedClock final : public Clock {
      public:
        explicit ShiftedClock(const MachineTime& time) : time_(time) {}
        Nanoseconds now() const override { return time_.now(); }
        Nanoseconds wall() const override { return time_.wiring_.host.clock().wall(); }

      private:
        const MachineTime& time_;
    };
    Nanoseconds now() const;
    bool begin_callback(ShiftedTimer& timer);
    void end_callback();

    Wiring wiring_;
    ShiftedClock clock_{*this};
    // Atomics so that devices read the time without a lock: running: host now - offset_; stopped: stopped_at_.
    std::atomic<bool> running_{false};
    std::atomic<int64_t> offset_{0}, stopped_at_{0};
    // A leaf in the order of locks but for the executor's: a plain mutex, held for bookkeeping and arming only.
    mutable std::mutex mutex_;
    std::condition_variable quiet_;
    std::set<ShiftedTimer*> timers_;
    int callbacks_ = 0;
};

}  // namespace yado::machine
