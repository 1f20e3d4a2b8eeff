#include "io/executor.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>

#include "base/check.h"

namespace yado::io {

namespace {
constexpr uint64_t kEventKey = 0, kTimerKey = 1;

void add_to_epoll(int epoll, int fd, uint32_t events, uint64_t key) {
    epoll_event event{.events = events, .data = {.u64 = key}};
    YADO_CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}
}  // namespace

/// A timer in the executor's deadline map. `firing_` lets the destructor wait for a callback on the executor's thread.
class Executor::ExecutorTimer final : public Timer {
  public:
    ExecutorTimer(Executor& e, std::function<void()> callback) : executor_(e), callback_(std::move(callback)) {}
    ~ExecutorTimer() override {
        ExecutorTimer::cancel();
        if (executor_.on_thread()) return;
        std::unique_lock lock(mutex_);
        idle_.wait(lock, [&] { return !firing_; });
    }
    void arm(Nanoseconds deadline) override {
        auto timers = executor_.timers_.lock();
        erase(*timers);
        timers->due.emplace(deadline.count(), this);
        if (deadline.count() < timers->programmed) executor_.program(*timers);
    }
    void cancel() override { erase(*executor_.timers_.lock()); }
    std::optional<Nanoseconds> take_over() override {
        auto timers = executor_.timers_.lock();
        const std::optional<Nanoseconds> deadline = erase(*timers);
        if (deadline && timers->programmed < timers->earliest()) executor_.program(*timers);
        return deadline;
    }

    void begin() {  // under timers_
        const std::lock_guard lock(mutex_);
        firing_ = true;
    }
    void fire() {
        callback_();
        const std::lock_guard lock(mutex_);
        firing_ = false;
        idle_.notify_all();
    }

  private:
    std::optional<Nanoseconds> erase(Timers& timers) {
        const auto own = std::ranges::find(timers.due, this, [](const auto& entry) { return entry.second; });
        if (own == timers.due.end()) return std::nullopt;
        const Nanoseconds deadline(own->first);
        timers.due.erase(own);
        return deadline;
    }
    Executor& executor_;
    std::function<void()> callback_;
    std::mutex mutex_;
    std::condition_variable idle_;
    bool firing_ = false;
};

Executor::Executor()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      timerfd_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) {
    YADO_CHECK(epoll_ && event_ && timerfd_);
    add_to_epoll(epoll_.get(), event_.get(), EPOLLIN, kEventKey);
    add_to_epoll(epoll_.get(), timerfd_.get(), EPOLLIN, kTimerKey);
}

Executor::~Executor() = default;

void Executor::run() {
    while (!stop_.load()) run_once(Nanoseconds(-1));
    stop_ = false;
}

void Executor::run_once(Nanoseconds wait) {
    thread_ = std::this_thread::get_id();
    epoll_event events[32];
    const int ms = wait.count() < 0 ? -1 : static_cast<int>((wait.count() + 999'999) / 1'000'000);
    const int n = epoll_wait(epoll_.get(), events, 32, ms);
    uint64_t drained = 0;
    for (int i = 0; i < n; ++i) {
        const uint64_t key = events[i].data.u64;
        if (key == kEventKey) {
            [[maybe_unused]] const ssize_t r = ::read(event_.get(), &drained, sizeof drained);
        } else if (key == kTimerKey) {
            [[maybe_unused]] const ssize_t r = ::read(timerfd_.get(), &drained, sizeof drained);
            run_timers();
        } else if (const auto it = watches_.find(key); it != watches_.end()) {
            it->second.busy = true;
            it->second.callback(events[i].events);
            it->second.busy = false;
            if (it->second.gone) watches_.erase(it);
        }
    }
    run_posted();
}

void Executor::stop() {
    stop_ = true;
    wake();
}

void Executor::wake() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(event_.get(), &one, sizeof one);
}

void Executor::post(Function f) {
    bool first;
    {
        auto posted = posted_.lock();
        first = posted->empty();
        posted->push_back(std::move(f));
    }
    if (first) wake();
}

void Executor::run_posted() {
    std::vector<Function> batch;
    std::swap(batch, *posted_.lock());
    for (Function& f : batch) f();
}

std::unique_ptr<Timer> Executor::make_timer(std::function<void()> callback) {
    return std::make_unique<ExecutorTimer>(*this, std::move(callback));
}

/// Makes the descriptor expire at the earliest deadline. One that is only put off needs no call: what fires too early looks again.
void Executor::program(Timers& timers) {
    timers.programmed = timers.earliest();
    const int64_t at = timers.due.empty() ? 0 : std::max<int64_t>(timers.programmed, 1);  // 0 disarms
    const itimerspec spec{.it_interval = {}, .it_value = {at / 1'000'000'000, at % 1'000'000'000}};
    timerfd_settime(timerfd_.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
}

void Executor::run_timers() {
    while (true) {
        ExecutorTimer* timer = nullptr;
        {
            auto timers = timers_.lock();
            if (timers->due.empty()) {
                timers->programmed = kNever;
                return;
            }
            const auto [deadline, first] = *timers->due.begin();
            if (deadline > clock_.now().count()) return program(*timers);
            timers->due.erase(timers->due.begin());
            timer = first;
            timer->begin();
        }
        timer->fire();
    }
}

Result<Executor::Watch> Executor::watch(int fd, uint32_t events, std::move_only_function<void(uint32_t)> callback) {
    const uint64_t key = next_key_++;
    epoll_event event{.events = events, .data = {.u64 = key}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) return fail_errno("epoll_ctl");
    watches_.emplace(key, Watched{std::move(callback)});
    Watch w;
    w.executor_ = this;
    w.fd_ = fd;
    w.key_ = key;
    return w;
}

Executor::Watch& Executor::Watch::operator=(Watch&& o) noexcept {
    std::swap(executor_, o.executor_);
    std::swap(fd_, o.fd_);
    std::swap(key_, o.key_);
    return *this;
}

Executor::Watch::~Watch() {
    if (!executor_) return;
    epoll_ctl(executor_->epoll_.get(), EPOLL_CTL_DEL, fd_, nullptr);
    const auto it = executor_->watches_.find(key_);
    if (it == executor_->watches_.end()) return;
    if (it->second.busy) {
        it->second.gone = true;
    } else {
        executor_->watches_.erase(it);
    }
}

void Executor::Watch::set_events(uint32_t events) {
    epoll_event event{.events = events, .data = {.u64 = key_}};
    epoll_ctl(executor_->epoll_.get(), EPOLL_CTL_MOD, fd_, &event);
}

ExecutorThread::ExecutorThread(const char* name)
    : thread_([this, name] {
          pthread_setname_np(pthread_self(), name);
          executor_.run();
      }) {}

ExecutorThread::~ExecutorThread() {
    executor_.stop();
}

}  // namespace yado::io
