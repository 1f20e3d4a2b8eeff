#include "machine/timer/machine_time.h"

#include <optional>

#include "machine/timer/timer.pb.h"

namespace yado::machine {

namespace {
thread_local const MachineTime* in_callback_of = nullptr;
}

/// A timer of the host's queue, `offset_` away from the machine's time.
class MachineTime::ShiftedTimer final : public io::Timer {
  public:
    ShiftedTimer(MachineTime& time, std::function<void()> callback) : time_(time), callback_(std::move(callback)) {
        const std::lock_guard lock(time_.mutex_);
        time_.timers_.insert(this);
        host_ = time_.wiring_.host.make_timer([this] { fire(); });
    }
    ~ShiftedTimer() override {
        {
            const std::lock_guard lock(time_.mutex_);
            time_.timers_.erase(this);
            deadline.reset();
        }
        host_.reset();  // waits for fire() on another thread, so not under the lock
    }
    void arm(Nanoseconds at) override {
        const std::lock_guard lock(time_.mutex_);
        deadline = at;
        start();
    }
    void cancel() override {
        const std::lock_guard lock(time_.mutex_);
        deadline.reset();
        host_->cancel();
    }
    /// A vCPU that waits itself is kicked before the machine stops, and then arms anew.
    std::optional<Nanoseconds> take_over() override {
        const std::lock_guard lock(time_.mutex_);
        const std::optional<Nanoseconds> at = deadline ? host_->take_over() : std::nullopt;
        if (at) deadline.reset();
        return at;
    }
    /// Under mutex_.
    void start() {
        if (deadline && time_.running_.load()) host_->arm(*deadline + Nanoseconds(time_.offset_.load()));
    }
    void stop() { host_->cancel(); }

    std::optional<Nanoseconds> deadline;  ///< in machine time; under mutex_

  private:
    void fire() {
        if (!time_.begin_callback(*this)) return;
        callback_();
        time_.end_callback();
    }
    MachineTime& time_;
    std::function<void()> callback_;
    std::unique_ptr<io::Timer> host_;
};

MachineTime::MachineTime(Wiring wiring) : wiring_(wiring) {}
MachineTime::~MachineTime() = default;

std::unique_ptr<io::Timer> MachineTime::make_timer(std::function<void()> callback) {
    return std::make_unique<ShiftedTimer>(*this, std::move(callback));
}

Nanoseconds MachineTime::now() const {
    if (!running_.load(std::memory_order_acquire)) return Nanoseconds(stopped_at_.load());  // release in pause()
    return wiring_.host.clock().now() - Nanoseconds(offset_.load());
}

/// False if the deadline was moved, cancelled, or the machine stopped while the callback was on its way.
bool MachineTime::begin_callback(ShiftedTimer& timer) {
    const std::lock_guard lock(mutex_);
    if (!running_.load() || !timer.deadline || now() < *timer.deadline) return false;
    timer.deadline.reset();
    ++callbacks_;
    in_callback_of = this;
    return true;
}

void MachineTime::end_callback() {
    const std::lock_guard lock(mutex_);
    in_callback_of = nullptr;
    --callbacks_;
    quiet_.notify_all();
}

void MachineTime::pause() {
    std::unique_lock lock(mutex_);
    if (!running_.load()) return;
    stopped_at_.store(now().count());
    running_.store(false, std::memory_order_release);
    for (ShiftedTimer* timer : timers_) timer->stop();
    const int mine = in_callback_of == this ? 1 : 0;
    quiet_.wait(lock, [&] { return callbacks_ <= mine; });
}

void MachineTime::resume() {
    const std::lock_guard lock(mutex_);
    if (running_.load()) return;
    offset_.store(wiring_.host.clock().now().count() - stopped_at_.load());
    running_.store(true, std::memory_order_release);
    for (ShiftedTimer* timer : timers_) timer->start();
}

Result<state::Record> MachineTime::save() const {
    pb::MachineTime m;
    m.set_now(now().count());
    return state::make_record(*this, m);
}

Result<> MachineTime::load(const state::Record& record) {
    pb::MachineTime m;
    YADO_TRY(state::parse_record(record, m));
    constexpr int64_t kMax = int64_t(1) << 61;  // 73 years
    if (m.now() < 0 || m.now() > kMax) return fail(ErrorKind::Corrupt, "saved state of {}: no time", record.name);
    const std::lock_guard lock(mutex_);
    if (running_.load()) return fail(ErrorKind::Conflict, "saved state of {}: the machine is running", record.name);
    stopped_at_.store(m.now());
    return {};
}

}  // namespace yado::machine
