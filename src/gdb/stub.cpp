// The stub: packets to handlers, running and stopping.
#include "gdb/stub.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "gdb/actions.h"

namespace yado::gdb {

using vm::VcpuAction;

namespace {

constexpr unsigned kInterruptSignal = 2, kTrapSignal = 5;

RegisterFile::Vectors vectors_of(const vm::DebugPort& port) { return port.has_avx() ? RegisterFile::Vectors::Avx : RegisterFile::Vectors::Sse; }

}  // namespace

Stub::Stub(vm::DebugPort& port, Send send)
    : port_(port), send_(std::move(send)), registers_(vectors_of(port)), description_(registers_.description()) {}

Stub::~Stub() {
    if (attached_) port_.detach(vm::DebugPort::Leave::AsItIs);
}

Result<> Stub::attach() {
    YADO_TRY(port_.attach(*this));
    attached_ = true;
    return {};
}

/// Longer names first where one begins with another.
std::span<const Stub::Command> Stub::commands() {
    static constexpr Command kCommands[] = {
        {"?", &Stub::tell_why},
        {"g", &Stub::read_registers},
        {"G", &Stub::write_registers},
        {"p", &Stub::read_register},
        {"P", &Stub::write_register},
        {"m", &Stub::read_memory},
        {"M", &Stub::write_memory},
        {"X", &Stub::write_binary},
        {"c", &Stub::go_on},
        {"C", &Stub::go_on_with_signal},
        {"s", &Stub::step},
        {"S", &Stub::step_with_signal},
        {"vCont?", &Stub::list_actions},
        {"vCont", &Stub::act},
        {"vKill", &Stub::kill_process},
        {"Z", &Stub::insert},
        {"z", &Stub::remove},
        {"H", &Stub::choose_thread},
        {"T", &Stub::is_alive},
        {"D", &Stub::detach},
        {"k", &Stub::kill},
        {"qSupported", &Stub::supported},
        {"QStartNoAckMode", &Stub::stop_acknowledging},
        {"qXfer:features:read:target.xml:", &Stub::read_description},
        {"qfThreadInfo", &Stub::first_threads},
        {"qsThreadInfo", &Stub::more_threads},
        {"qThreadExtraInfo,", &Stub::describe_thread},
        {"qC", &Stub::current_thread},
        {"qAttached", &Stub::attached_to},
        {"qSymbol:", &Stub::symbols_wanted},
        {"qRcmd,", &Stub::monitor},
        {"qqemu.PhyMemMode", &Stub::tell_physical},
        {"Qqemu.PhyMemMode:", &Stub::set_physical},
    };
    return kCommands;
}

void Stub::packet(std::string_view payload) {
    if (over_) return;
    for (const Command& c : commands())
        if (payload.starts_with(c.name)) return (this->*c.run)(payload.substr(c.name.size()));
    unsupported();
}

/// The error's number says little to people, but GDB shows no more: as in errno.h.
void Stub::answer(const Result<>& result) {
    if (result) return done();
    switch (result.error().kind()) {
    case ErrorKind::OutOfRange: return send_("E0e");  // EFAULT
    case ErrorKind::Conflict: return send_("E10");    // EBUSY
    case ErrorKind::Corrupt:
    case ErrorKind::Usage: return send_("E16");       // EINVAL
    default: return send_("E05");                     // EIO
    }
}

// --- running ------------------------------------------------------------------------------------------------------------------

void Stub::list_actions(std::string_view) { send_("vCont;c;C;s;S"); }

void Stub::act(std::string_view arguments) {
    const auto actions = parse_actions(arguments, port_.vcpus());
    if (!actions) return malformed();
    resume(*actions);
}

void Stub::go_on(std::string_view address) { resume_at(address, VcpuAction::Continue); }
void Stub::step(std::string_view address) { resume_at(address, VcpuAction::Step); }

/// A signal means nothing to a vCPU.
void Stub::go_on_with_signal(std::string_view arguments) {
    Arguments a(arguments);
    a.until(';');
    go_on(a.rest());
}
void Stub::step_with_signal(std::string_view arguments) {
    Arguments a(arguments);
    a.until(';');
    step(a.rest());
}

void Stub::resume_at(std::string_view address, VcpuAction action) {
    const unsigned vcpu = to_resume_.value_or(chosen_);
    if (!address.empty()) {
        const auto rip = hex_number(address);
        auto state = port_.state(vcpu);
        if (!rip) return malformed();
        if (!state) return answer(std::unexpected(state.error()));
        state->rip = *rip;
        if (const auto set = port_.set_state(vcpu, *state); !set) return answer(set);
    }
    const bool alone = to_resume_ || action == VcpuAction::Step;
    std::vector<VcpuAction> actions(port_.vcpus(), alone ? VcpuAction::Stay : action);
    actions[vcpu] = action;
    resume(actions);
}

/// The answer is the stop that follows.
void Stub::resume(const std::vector<VcpuAction>& actions) {
    if (waiting_) return malformed();
    waiting_ = true;
    if (const auto going = port_.resume(actions); !going) {
        waiting_ = false;
        answer(going);
    }
}

void Stub::interrupt() {
    if (waiting_) (void)port_.interrupt();
}

// --- stopping -----------------------------------------------------------------------------------------------------------------

void Stub::stopped(const vm::DebugEvent& event) {
    last_ = event;
    chosen_ = event.vcpu;
    if (std::exchange(waiting_, false)) send_(stop_reply());
}

void Stub::ended(const api::ExitReport& report) {
    attached_ = false;
    over_ = true;
    if (std::exchange(waiting_, false)) send_(fmt::format("W{:02x}", api::exit_status(report)));
}

void Stub::tell_why(std::string_view) {
    if (waiting_) return malformed();
    send_(stop_reply());
}

std::string Stub::stop_reply() const {
    const unsigned signal = last_.stop ? kTrapSignal : kInterruptSignal;
    return fmt::format("T{:02x}thread:{:x};{}", signal, last_.vcpu + 1, last_.stop ? reason_of(*last_.stop) : "");
}

std::string Stub::reason_of(const cpu::DebugStop& stop) const {
    if (stop.reason == cpu::DebugReason::Watchpoint) {
        static constexpr std::string_view kWords[] = {"watch", "rwatch", "awatch"};  // by cpu::WatchKind
        const auto at = std::ranges::find_if(watches_, [&](const cpu::Watchpoint& w) { return stop.address.value() - w.address.value() < w.size.value(); });
        const auto kind = at == watches_.end() ? cpu::WatchKind::Write : at->kind;
        return fmt::format("{}:{:x};", kWords[std::to_underlying(kind)], stop.address.value());
    }
    const auto at = code_breaks_.find(stop.address.value());
    if (stop.reason == cpu::DebugReason::Step || !tells_breaks_ || at == code_breaks_.end()) return "";
    return at->second & 2 ? "hwbreak:;" : "swbreak:;";
}

// --- leaving ------------------------------------------------------------------------------------------------------------------

void Stub::detach(std::string_view) {
    attached_ = false;
    over_ = true;
    port_.detach(vm::DebugPort::Leave::Running);
    done();
}

void Stub::kill(std::string_view) {
    over_ = true;
    port_.kill();  // ended() follows
}

void Stub::kill_process(std::string_view arguments) {
    kill(arguments);
    done();
}

}  // namespace yado::gdb
