#include "io/timer.h"

namespace yado::io {

class ManualTimers::ManualTimer final : public Timer {
  public:
    ManualTimer(ManualTimers& q, std::function<void()> callback) : queue_(q), callback_(std::move(callback)) {}
    ~ManualTimer() override { ManualTimer::cancel(); }
    void arm(Nanoseconds deadline) override {
        cancel();
        queue_.due_.emplace(deadline.count(), this);
    }
    void cancel() override {
        std::erase_if(queue_.due_, [&](const auto& entry) { return entry.second == this; });
    }
    void fire() { callback_(); }

  private:
    ManualTimers& queue_;
    std::function<void()> callback_;
};

std::unique_ptr<Timer> ManualTimers::make_timer(std::function<void()> callback) {
    return std::make_unique<ManualTimer>(*this, std::move(callback));
}

void ManualTimers::advance(Nanoseconds by) {
    const Nanoseconds end = clock_.now() + by;
    while (!due_.empty() && due_.begin()->first <= end.count()) {
        const auto [deadline, timer] = *due_.begin();
        due_.erase(due_.begin());
        if (deadline > clock_.now().count()) clock_.advance(Nanoseconds(deadline) - clock_.now());
        timer->fire();
    }
    if (end > clock_.now()) clock_.advance(end - clock_.now());
}

}  // namespace yado::io
