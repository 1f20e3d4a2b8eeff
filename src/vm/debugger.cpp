#include "vm/debugger.h"

#include <algorithm>

#include "cpu/translate.h"

namespace yado::vm {

using api::RunState;

void Debugger::vcpu_stopped(unsigned vcpu, const cpu::DebugStop& stop) {
    wiring_.executor.post([this, vcpu, stop] { settle({vcpu, stop}); });
}

void Debugger::settle(const DebugEvent& event) {
    if (running_ && wiring_.run.debugger_holds()) return tell(event);
    if (!listener_) {  // it left meanwhile: the vCPUs that this stop has held go on
        if (wiring_.run.state() == RunState::Running) wiring_.processors.release();
    } else if (event.stop->reason == cpu::DebugReason::Watchpoint) {
        late_.push_back(event);
    }
}

void Debugger::tell(const DebugEvent& event) {
    running_ = false;
    states_.clear();
    listener_->stopped(event);
}

void Debugger::guest_ended(const api::ExitReport& report) {
    running_ = false;
    if (DebugListener* listener = std::exchange(listener_, nullptr)) listener->ended(report);
}

// --- coming and going -------------------------------------------------------------------------------------------------------

Result<> Debugger::attach(DebugListener& listener) {
    if (listener_) return fail(ErrorKind::Conflict, "another debugger is attached");
    YADO_TRY(wiring_.run.debugger_holds());
    listener_ = &listener;
    running_ = false;
    control_ = {};
    states_.clear();
    wiring_.event("debugger-attached");
    return {};
}

void Debugger::detach(Leave leave) {
    if (!std::exchange(listener_, nullptr)) return;
    const bool run = leave == Leave::Running || (running_ && wiring_.run.state() == RunState::Running);
    running_ = false;
    control_ = {};
    late_.clear();
    if (wiring_.run.debugger_holds()) {
        (void)arm(std::vector(vcpus(), VcpuAction::Continue));  // to take away never fails
        if (run) (void)wiring_.run.debugger_continues();
    }
    wiring_.run.debugger_leaves();
    wiring_.event("debugger-detached");
}

void Debugger::kill() { (void)wiring_.run.stop({.reason = api::StopReason::Stopped, .detail = "killed by the debugger"}); }

// --- running ----------------------------------------------------------------------------------------------------------------

Result<> Debugger::need_stopped(unsigned vcpu) const {
    if (!listener_ || running_ || wiring_.run.state() != RunState::Paused) return fail(ErrorKind::Conflict, "the guest is not stopped for a debugger");
    if (vcpu >= vcpus()) return fail(ErrorKind::OutOfRange, "there is no vCPU {}", vcpu);
    return {};
}

Result<> Debugger::interrupt() {
    if (!listener_ || !running_) return {};
    YADO_TRY(wiring_.run.debugger_holds());
    tell({});
    return {};
}

Result<> Debugger::resume(std::span<const VcpuAction> actions) {
    YADO_TRY(need_stopped());
    if (actions.size() != vcpus() || std::ranges::count(actions, VcpuAction::Stay) == std::ssize(actions))
        return fail(ErrorKind::Usage, "no vCPU would go on");
    if (tell_late(actions)) return {};
    YADO_TRY(arm(actions));
    states_.clear();
    running_ = true;
    return wiring_.run.debugger_continues();
}

/// A watchpoint that was hit before is told as if it were now.
bool Debugger::tell_late(std::span<const VcpuAction> actions) {
    const auto at = std::ranges::find_if(late_, [&](const DebugEvent& e) { return actions[e.vcpu] != VcpuAction::Stay; });
    if (at == late_.end()) return false;
    const DebugEvent event = *at;
    late_.erase(at);
    tell(event);
    return true;
}

Result<> Debugger::arm(std::span<const VcpuAction> actions) {
    for (unsigned n = 0; n < vcpus(); ++n) {
        cpu::DebugControl control = control_;
        control.single_step = actions[n] == VcpuAction::Step;
        YADO_TRY(wiring_.processors.vcpu(n).set_debug(control));
        wiring_.processors.set_staying(n, actions[n] == VcpuAction::Stay);
    }
    return {};
}

// --- state and memory ---------------------------------------------------------------------------------------------------------

Result<cpu::CpuState> Debugger::state(unsigned vcpu) {
    YADO_TRY(need_stopped(vcpu));
    states_.resize(vcpus());
    if (!states_[vcpu]) states_[vcpu] = YADO_TRY(wiring_.processors.vcpu(vcpu).get_state());
    return *states_[vcpu];
}

/// What is not the debugger's to change stays as it goes on by itself: the time stamp counter, the local APIC.
Result<> Debugger::set_state(unsigned vcpu, const cpu::CpuState& state) {
    YADO_TRY(need_stopped(vcpu));
    cpu::CpuState changed = state;
    changed.msrs.erase(cpu::msr::IA32_TSC);
    changed.lapic.reset();
    states_.resize(vcpus());
    states_[vcpu].reset();
    return wiring_.processors.vcpu(vcpu).set_state(changed);
}

template <typename F>
Result<> Debugger::for_each_page(unsigned vcpu, GuestLinearAddr address, size_t size, F&& f) {
    const cpu::CpuState s = YADO_TRY(state(vcpu));
    for (size_t done = 0; done < size;) {
        const GuestLinearAddr at = address + Bytes(done);
        const size_t piece = std::min<size_t>(size - done, kPageSize - (at.value() & kPageMask));
        YADO_TRY(f(YADO_TRY(cpu::translate(s, wiring_.memory, at)), done, piece));
        done += piece;
    }
    return {};
}

Result<> Debugger::read(unsigned vcpu, GuestLinearAddr address, std::span<std::byte> out) {
    return for_each_page(vcpu, address, out.size(), [&](GuestPhysAddr at, size_t from, size_t size) { return wiring_.memory.read(at, out.subspan(from, size)); });
}

Result<> Debugger::write(unsigned vcpu, GuestLinearAddr address, std::span<const std::byte> in) {
    YADO_TRY(for_each_page(vcpu, address, in.size(), [&](GuestPhysAddr at, size_t, size_t size) -> Result<> {
        YADO_TRY(wiring_.memory.range(at, Bytes(size), mem::GuestMemory::Intent::Write));
        return {};
    }));
    return for_each_page(vcpu, address, in.size(), [&](GuestPhysAddr at, size_t from, size_t size) { return wiring_.memory.write(at, in.subspan(from, size)); });
}

Result<> Debugger::read_physical(GuestPhysAddr address, std::span<std::byte> out) {
    YADO_TRY(need_stopped());
    return wiring_.memory.read(address, out);
}

Result<> Debugger::write_physical(GuestPhysAddr address, std::span<const std::byte> in) {
    YADO_TRY(need_stopped());
    return wiring_.memory.write(address, in);
}

// --- breakpoints --------------------------------------------------------------------------------------------------------------

/// The first vCPU tells whether the engine takes it; the others follow when the guest goes on.
Result<> Debugger::try_control(const cpu::DebugControl& control) {
    YADO_TRY(need_stopped());
    YADO_TRY(wiring_.processors.vcpu(0).set_debug(control));
    control_ = control;
    return {};
}

Result<> Debugger::add_breakpoint(GuestLinearAddr address) {
    cpu::DebugControl control = control_;
    const auto at = std::ranges::lower_bound(control.breakpoints, address);
    if (at != control.breakpoints.end() && *at == address) return {};
    if (control.breakpoints.size() >= kMaxBreakpoints) return fail(ErrorKind::OutOfRange, "{} breakpoints are the most", kMaxBreakpoints);
    control.breakpoints.insert(at, address);
    return try_control(control);
}

void Debugger::remove_breakpoint(GuestLinearAddr address) { std::erase(control_.breakpoints, address); }

Result<> Debugger::add_watchpoint(const cpu::Watchpoint& watchpoint) {
    cpu::DebugControl control = control_;
    if (std::ranges::find(control.watchpoints, watchpoint) != control.watchpoints.end()) return {};
    if (watchpoint.size.value() == 0 || watchpoint.size > kMaxWatched)
        return fail(ErrorKind::OutOfRange, "a watchpoint covers 1 to {} bytes", kMaxWatched.value());
    if (control.watchpoints.size() >= kMaxWatchpoints) return fail(ErrorKind::OutOfRange, "{} watchpoints are the most", kMaxWatchpoints);
    control.watchpoints.push_back(watchpoint);
    return try_control(control);
}

void Debugger::remove_watchpoint(const cpu::Watchpoint& watchpoint) { std::erase(control_.watchpoints, watchpoint); }

}  // namespace yado::vm
