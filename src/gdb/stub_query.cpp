// The stub: what GDB asks about us, threads, and `monitor` commands.
#include <fmt/core.h>

#include "gdb/actions.h"
#include "gdb/packet.h"
#include "gdb/stub.h"

namespace yado::gdb {

namespace {

constexpr const char* kMonitorHelp =
    "physical on|off   memory commands take physical addresses, or linear ones\n"
    "physical          which of the two they take\n"
    "help              this list\n";

std::string_view activity_word(cpu::Activity activity) {
    switch (activity) {
    case cpu::Activity::Running: return "running";
    case cpu::Activity::Halted: return "halted";
    case cpu::Activity::WaitForSipi: return "waits to be started";
    }
    return "?";
}

/// True if a list "a+;b-;c=1" holds the item.
bool lists(std::string_view list, std::string_view item) {
    Arguments a(list);
    while (!a.empty())
        if (a.until(';') == item) return true;
    return false;
}

}  // namespace

void Stub::supported(std::string_view arguments) {
    if (arguments.starts_with(':')) arguments.remove_prefix(1);
    tells_breaks_ = lists(arguments, "swbreak+") && lists(arguments, "hwbreak+");
    send_(fmt::format("PacketSize={:x};QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+", kMaxPayload));
}

void Stub::stop_acknowledging(std::string_view) {
    done();
    acknowledges_ = false;
}

void Stub::read_description(std::string_view arguments) {
    Arguments a(arguments);
    const auto offset = a.number();
    if (!offset || !a.skip(",")) return malformed();
    const auto length = a.number();
    if (!length || !a.empty() || *offset > description_.size()) return malformed();
    const std::string_view rest = std::string_view(description_).substr(*offset);
    const std::string_view piece = rest.substr(0, std::min<uint64_t>(*length, kMaxPayload / 4));
    send_((piece.size() == rest.size() ? "l" : "m") + escape(piece));
}

// --- threads ------------------------------------------------------------------------------------------------------------------

void Stub::first_threads(std::string_view) {
    std::string list = "m";
    for (unsigned n = 1; n <= port_.vcpus(); ++n) list += fmt::format("{}{:x}", n == 1 ? "" : ",", n);
    send_(list);
}

void Stub::more_threads(std::string_view) { send_("l"); }
void Stub::current_thread(std::string_view) { send_(fmt::format("QC{:x}", chosen_ + 1)); }

void Stub::describe_thread(std::string_view arguments) {
    const auto thread = parse_thread(arguments, port_.vcpus());
    if (!thread || thread->kind != ThreadId::Kind::One) return malformed();
    const auto state = port_.state(thread->vcpu);
    if (!state) return answer(std::unexpected(state.error()));
    send_(to_hex(fmt::format("vCPU {}, {}", thread->vcpu, activity_word(state->activity))));
}

void Stub::is_alive(std::string_view arguments) {
    const auto thread = parse_thread(arguments, port_.vcpus());
    if (!thread || thread->kind != ThreadId::Kind::One) return malformed();
    done();
}

void Stub::choose_thread(std::string_view arguments) {
    Arguments a(arguments);
    const bool for_running = a.skip("c");
    if (!for_running && !a.skip("g")) return malformed();
    const auto thread = parse_thread(a.rest(), port_.vcpus());
    if (!thread) return malformed();
    const bool one = thread->kind == ThreadId::Kind::One;
    if (for_running) to_resume_ = one ? std::optional(thread->vcpu) : std::nullopt;
    else if (one) chosen_ = thread->vcpu;
    done();
}

// --- odds and ends --------------------------------------------------------------------------------------------------------------

/// To a guest that was there before, so that GDB lets it go at its end.
void Stub::attached_to(std::string_view) { send_("1"); }
void Stub::symbols_wanted(std::string_view) { done(); }

void Stub::tell_physical(std::string_view) { send_(physical_ ? "1" : "0"); }

void Stub::set_physical(std::string_view arguments) {
    if (arguments != "0" && arguments != "1") return malformed();
    physical_ = arguments == "1";
    done();
}

void Stub::monitor(std::string_view arguments) {
    const auto bytes = hex_bytes(arguments);
    if (!bytes) return malformed();
    const std::string_view command(reinterpret_cast<const char*>(bytes->data()), bytes->size());
    if (command == "physical on" || command == "physical off") {
        physical_ = command == "physical on";
        return done();
    }
    if (command == "physical") return send_(to_hex(physical_ ? std::string_view("on\n") : std::string_view("off\n")));
    if (command == "help") return send_(to_hex(std::string_view(kMonitorHelp)));
    send_(to_hex(std::string_view("unknown; monitor help lists the commands\n")));
}

}  // namespace yado::gdb
