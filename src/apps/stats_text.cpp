#include "apps/stats_text.h"

#include <fmt/core.h>

#include <algorithm>

namespace yado::apps {

namespace {

constexpr size_t kMostRows = 24;

std::string value_text(uint64_t value, std::string_view unit) {
    if (unit == "ns") return fmt::format("{:.3f} s", static_cast<double>(value) * 1e-9);
    return unit.empty() ? fmt::format("{}", value) : fmt::format("{} {}", value, unit);
}

/// `whole` is 0 where a share says nothing.
std::string row_text(std::string_view name, uint64_t value, std::string_view unit, uint64_t whole) {
    std::string row = fmt::format("    {:<24} {:>20}", name, value_text(value, unit));
    if (whole != 0) row += fmt::format("  {:5.1f} %", 100.0 * static_cast<double>(value) / static_cast<double>(whole));
    return row + "\n";
}

std::string group_text(const api::CounterGroup& group) {
    std::vector<std::pair<std::string, uint64_t>> rows(group.counters.begin(), group.counters.end());
    std::ranges::stable_sort(rows, std::greater(), &std::pair<std::string, uint64_t>::second);
    uint64_t sum = 0, shown = 0;
    for (const auto& [name, value] : rows) sum += value;
    const uint64_t whole = group.parts ? sum : 0;
    std::string text = fmt::format("  {}\n", group.name);
    for (size_t n = 0; n < std::min(rows.size(), kMostRows); ++n) {
        text += row_text(rows[n].first, rows[n].second, group.unit, whole);
        shown += rows[n].second;
    }
    if (rows.size() > kMostRows) text += row_text(fmt::format("({} more)", rows.size() - kMostRows), sum - shown, group.unit, whole);
    return text;
}

}  // namespace

std::string stats_text(const api::EngineStats& stats) {
    std::string text;
    for (const api::VcpuStats& vcpu : stats.vcpus) {
        text += fmt::format("{} vcpu{}\n", stats.engine, vcpu.vcpu);
        for (const api::CounterGroup& group : vcpu.groups) text += group_text(group);
    }
    return text;
}

}  // namespace yado::apps
