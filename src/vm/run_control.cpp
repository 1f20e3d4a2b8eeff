#include "vm/run_control.h"

#include "base/log.h"

namespace yado::vm {

using api::ExitReport;
using api::RunState;
using api::StopReason;

namespace {

std::string_view event_of(StopReason reason) {
    switch (reason) {
    case StopReason::PoweredOff: return "powered-off";
    case StopReason::Crashed: return "crashed";
    case StopReason::None:
    case StopReason::Rebooted:
    case StopReason::Stopped:
    case StopReason::DebugExit:
    case StopReason::Failed: break;
    }
    return "stopped";
}

}  // namespace

Result<> RunControl::start(Then then) {
    if (std::exchange(started_, true)) return fail(ErrorKind::Conflict, "the guest was started already");
    if (state_ == RunState::Stopped) return {};
    return restart(then);
}

Result<> RunControl::restart(Then then) {
    const bool first = state_ == RunState::Starting;
    wiring_.inventory.reset();
    pause_reason_.lock()->clear();
    YADO_TRY(wiring_.boot());
    if (then == Then::Run) thaw();
    else state_ = RunState::Paused;
    wiring_.event(first ? "started" : "reset", first && then == Then::StayPaused ? "paused" : "");
    return {};
}

/// vCPUs stopped, devices quiet.
void RunControl::freeze() {
    wiring_.processors.stop();
    wiring_.inventory.pause();
}

void RunControl::thaw() {
    pause_reason_.lock()->clear();
    wiring_.inventory.resume();
    state_ = RunState::Running;
    wiring_.processors.release();
}

Result<> RunControl::pause() {
    if (state_ == RunState::Paused) return {};
    if (state_ != RunState::Running) return fail(ErrorKind::Conflict, "the guest is {}, not running", api::to_string(state_));
    freeze();
    state_ = RunState::Paused;
    wiring_.event("paused", "");
    return {};
}

Result<> RunControl::resume() {
    if (state_ == RunState::Running) return {};
    if (state_ != RunState::Paused) return fail(ErrorKind::Conflict, "the guest is {}, not paused", api::to_string(state_));
    if (held_by_debugger_) return fail(ErrorKind::Conflict, "a debugger holds the guest; continue or detach there");
    thaw();
    wiring_.event("resumed", "");
    return {};
}

Result<> RunControl::reset() {
    if (state_ != RunState::Running && state_ != RunState::Paused)
        return fail(ErrorKind::Conflict, "the guest is {}", api::to_string(state_));
    if (wiring_.stop_on_reset) return stop({.reason = StopReason::Rebooted});
    const Then then = state_ == RunState::Paused ? Then::StayPaused : Then::Run;
    if (state_ == RunState::Running) freeze();
    if (auto restarted = restart(then); !restarted) {
        (void)stop({.reason = StopReason::Failed, .detail = restarted.error().message()});
        return restarted;
    }
    return {};
}

Result<> RunControl::change_machine(const std::function<Result<>(Devices)>& change) {
    if (state_ != RunState::Running && state_ != RunState::Paused) return fail(ErrorKind::Conflict, "the guest is {}", api::to_string(state_));
    if (state_ == RunState::Paused) return change(Devices::Quiet);
    wiring_.processors.stop();
    auto changed = change(Devices::Running);
    wiring_.processors.release();
    return changed;
}

Result<> RunControl::debugger_holds() {
    if (state_ != RunState::Running && state_ != RunState::Paused)
        return fail(ErrorKind::Conflict, "the guest is {}", api::to_string(state_));
    if (state_ == RunState::Running) freeze();
    state_ = RunState::Paused;
    held_by_debugger_ = true;
    return {};
}

Result<> RunControl::debugger_continues() {
    if (state_ != RunState::Paused) return fail(ErrorKind::Conflict, "the guest is {}, not paused", api::to_string(state_));
    held_by_debugger_ = false;
    thaw();
    return {};
}

Result<> RunControl::stop(ExitReport why) {
    if (state_ == RunState::Stopped) return {};
    if (state_ == RunState::Running) freeze();
    *stopped_.lock() = why;
    state_ = RunState::Stopped;
    wiring_.event(event_of(why.reason), why.detail.empty() ? std::string(api::to_string(why.reason)) : why.detail);
    return {};
}

void RunControl::guest_wants_reset() {
    wiring_.processors.hold();
    wiring_.executor.post([this] {
        if (const auto done = reset(); !done) YADO_LOG(Warning, "reset: {}", done.error().message());
    });
}

void RunControl::guest_changes_machine(std::function<void(Devices)> change) {
    wiring_.processors.hold();
    wiring_.executor.post([this, change = std::move(change)] {
        (void)change_machine([&](Devices devices) -> Result<> {
            change(devices);
            return {};
        });
    });
}

void RunControl::pause_for(const std::string& reason) {
    if (state_ != RunState::Running && state_ != RunState::Paused) return;
    const bool ran = state_ == RunState::Running;
    if (ran) freeze();
    state_ = RunState::Paused;
    *pause_reason_.lock() = reason;
    if (ran) wiring_.event("paused", reason);
}

void RunControl::host_pauses(std::string_view kind, std::string reason) {
    wiring_.processors.hold();
    wiring_.executor.post([this, kind = std::string(kind), reason = std::move(reason)] {
        wiring_.event(kind, reason);
        pause_for(reason);
    });
}

void RunControl::guest_stops(ExitReport why) {
    wiring_.processors.hold();
    wiring_.executor.post([this, why = std::move(why)]() mutable { (void)stop(std::move(why)); });
}

}  // namespace yado::vm
