#include "gdb/actions.h"

#include "gdb/text.h"

namespace yado::gdb {

namespace {

using vm::VcpuAction;

/// "c", "s", and with a signal, which no vCPU can be given: "C05", "S05".
std::optional<VcpuAction> parse_action(std::string_view text) {
    if (text == "c" || (text.starts_with('C') && hex_number(text.substr(1)))) return VcpuAction::Continue;
    if (text == "s" || (text.starts_with('S') && hex_number(text.substr(1)))) return VcpuAction::Step;
    return {};
}

/// Gives the action to the threads that have none yet.
void give(std::vector<std::optional<VcpuAction>>& all, const ThreadId& thread, VcpuAction action) {
    if (thread.kind == ThreadId::Kind::All) {
        for (auto& a : all) a = a.value_or(action);
    } else {
        auto& a = all[thread.vcpu];  // any: the first
        a = a.value_or(action);
    }
}

}  // namespace

std::optional<ThreadId> parse_thread(std::string_view text, unsigned vcpus) {
    if (text == "-1") return ThreadId{ThreadId::Kind::All, 0};
    const auto number = hex_number(text);
    if (!number || *number > vcpus) return {};
    if (*number == 0) return ThreadId{ThreadId::Kind::Any, 0};
    return ThreadId{ThreadId::Kind::One, static_cast<unsigned>(*number - 1)};
}

std::optional<std::vector<VcpuAction>> parse_actions(std::string_view text, unsigned vcpus) {
    std::vector<std::optional<VcpuAction>> all(vcpus);
    Arguments arguments(text);
    if (!arguments.skip(";")) return {};
    while (!arguments.empty()) {
        const std::string_view item = arguments.until(';');
        const size_t colon = item.find(':');
        const auto action = parse_action(item.substr(0, colon));
        const auto thread = colon == item.npos ? ThreadId{ThreadId::Kind::All, 0} : parse_thread(item.substr(colon + 1), vcpus);
        if (!action || !thread) return {};
        give(all, *thread, *action);
    }
    std::vector<VcpuAction> out;
    for (const auto& a : all) out.push_back(a.value_or(VcpuAction::Stay));
    return out;
}

}  // namespace yado::gdb
