#include "vm/run_control.h"

#include "base/log.h"

namespace yado::vm {

const char* name_of(RunState state) {
    static constexpr const char* kNames[] = {"created", "running", "paused", "stopped"};
    return kNames[static_cast<int>(state)];
}

const char* name_of(StopReason reason) {
    static constexpr const char* kNames[] = {"power-off", "reset", "triple-fault", "panic", "debug-exit", "engine-failure", "forced"};
    return kNames[static_cast<int>(reason)];
}

Result<> RunControl::start() {
    if (state_ != RunState::Created) return fail(ErrorKind::Conflict, "the guest was started already");
    return restart();
}

Result<> RunControl::restart() {
    wiring_.inventory.reset();
    YADO_TRY(wiring_.boot());
    wiring_.inventory.resume();
    state_ = RunState::Running;
    wiring_.processors.release();
    wiring_.event("running", "");
    return {};
}

/// vCPUs stopped, devices quiet.
void RunControl::freeze() {
    wiring_.processors.stop();
    wiring_.inventory.pause();
}

Result<> RunControl::pause() {
    if (state_ == RunState::Paused) return {};
    if (state_ != RunState::Running) return fail(ErrorKind::Conflict, "the guest is {}, not running", name_of(state_));
    freeze();
    state_ = RunState::Paused;
    wiring_.event("paused", "");
    return {};
}

Result<> RunControl::resume() {
    if (state_ == RunState::Running) return {};
    if (state_ != RunState::Paused) return fail(ErrorKind::Conflict, "the guest is {}, not paused", name_of(state_));
    wiring_.inventory.resume();
    state_ = RunState::Running;
    wiring_.processors.release();
    wiring_.event("running", "");
    return {};
}

Result<> RunControl::reset() {
    if (state_ != RunState::Running && state_ != RunState::Paused)
        return fail(ErrorKind::Conflict, "the guest is {}", name_of(state_));
    if (wiring_.stop_on_reset) return stop({StopReason::Reset, ""});
    if (state_ == RunState::Running) freeze();
    wiring_.event("reset", "");
    if (auto restarted = restart(); !restarted) {
        (void)stop({StopReason::EngineFailure, restarted.error().message()});
        return restarted;
    }
    return {};
}

Result<> RunControl::stop(Stopped why) {
    if (state_ == RunState::Stopped) return {};
    if (state_ == RunState::Running) freeze();
    const std::string reason = name_of(why.reason);
    const std::string detail = why.detail;
    *stopped_.lock() = std::move(why);
    state_ = RunState::Stopped;
    wiring_.event("stopped", detail.empty() ? reason : reason + ": " + detail);
    return {};
}

void RunControl::guest_wants_reset() {
    wiring_.processors.hold();
    wiring_.executor.post([this] {
        if (const auto done = reset(); !done) YADO_LOG(Warning, "reset: {}", done.error().message());
    });
}

void RunControl::guest_stops(Stopped why) {
    wiring_.processors.hold();
    wiring_.executor.post([this, why = std::move(why)]() mutable { (void)stop(std::move(why)); });
}

}  // namespace yado::vm
