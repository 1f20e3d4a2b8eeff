// One thread, one epoll loop: descriptors, posted functions, timers. All callbacks and coroutines of an executor run on
// its thread. post(), and arming and cancelling timers, may be done from any thread.
#pragma once

#include <atomic>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/guarded.h"
#include "io/timer.h"

namespace yado::io {

class Executor final : public TimerQueue {
  public:
    using Function = std::move_only_function<void()>;

    Executor();
    ~Executor() override;
    Executor(const Executor&) = delete;

    /// Runs the loop on the calling thread until stop().
    void run();
    /// Runs what is ready now (waiting at most `wait`) and returns: for tests and for drivers with their own loop.
    void run_once(Nanoseconds wait);
    /// Makes run() return after the callbacks in progress. Any thread.
    void stop();
    bool on_thread() const { return thread_.load() == std::this_thread::get_id(); }

    /// Runs `f` on the executor's thread, in posting order. Any thread, under any lock below LockRank::Executor.
    void post(Function f);

    /// Calls back on the executor's thread whenever the descriptor is ready for `events` (EPOLLIN, EPOLLOUT), until the
    /// watch is destroyed. Executor's thread only; destroying a watch inside its own callback is allowed.
    class Watch {
      public:
        Watch() = default;
        Watch(Watch&& o) noexcept : executor_(std::exchange(o.executor_, nullptr)), fd_(o.fd_), key_(o.key_) {}
        Watch& operator=(Watch&& o) noexcept;
        ~Watch();
        void set_events(uint32_t events);
        explicit operator bool() const { return executor_ != nullptr; }

      private:
        friend class Executor;
        Executor* executor_ = nullptr;
        int fd_ = -1;
        uint64_t key_ = 0;
    };
    Result<Watch> watch(int fd, uint32_t events, std::move_only_function<void(uint32_t)> callback);

    // TimerQueue
    const Clock& clock() const override { return clock_; }
    std::unique_ptr<Timer> make_timer(std::function<void()> callback) override;

  private:
    class ExecutorTimer;
    static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
    struct Timers {
        std::multimap<int64_t, ExecutorTimer*> due;  // by deadline
        int64_t programmed = kNever;                 // when the descriptor expires; never later than earliest()
        int64_t earliest() const { return due.empty() ? kNever : due.begin()->first; }
    };
    void wake();
    void run_posted();
    void run_timers();
    void program(Timers& timers);

    SystemClock clock_;
    Fd epoll_, event_, timerfd_;
    std::atomic<bool> stop_{false};
    std::atomic<std::thread::id> thread_{};
    Guarded<std::vector<Function>, LockRank::Executor> posted_;
    Guarded<Timers, LockRank::Executor> timers_;
    struct Watched {
        std::move_only_function<void(uint32_t)> callback;
        bool busy = false;
        bool gone = false;
    };
    std::map<uint64_t, Watched> watches_;
    uint64_t next_key_ = 16;
};

/// An executor on a thread of its own; the destructor stops and joins it.
class ExecutorThread {
  public:
    explicit ExecutorThread(const char* name);
    ~ExecutorThread();
    Executor& executor() { return executor_; }

  private:
    Executor executor_;
    std::jthread thread_;
};

}  // namespace yado::io
