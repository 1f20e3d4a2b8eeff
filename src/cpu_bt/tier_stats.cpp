#include "cpu_bt/tier_stats.h"

namespace yado::cpu_bt {

namespace {
constexpr const char* kWayNames[kWays] = {"request", "fault", "elsewhere", "follow", "untranslated_target", "instruction"};
}

void TierStats::append_to(cpu::Stats& out) const {
    out.push_back({"translator", cpu::StatKind::Values, "", {{"blocks_translated", translated.get()}, {"blocks_refused", refused.get()}, {"links", links.get()},
                                      {"setbacks", setbacks.get()}, {"careful_lines", careful.get()}, {"evictions", evictions.get()}}});
    out.push_back({"tlb_misses", cpu::StatKind::Parts, "", {{"filled", tlb_misses[0].get()}, {"refused", tlb_misses[1].get()}, {"faults", tlb_misses[2].get()}}});
    cpu::StatGroup ways{"left_by", cpu::StatKind::Parts, "", {}};
    for (unsigned way = 0; way < kWays; ++way) ways.values[kWayNames[way]] = left[way].get();
    out.push_back(std::move(ways));
    out.push_back({"left_at", cpu::StatKind::Parts, "", left_at.by_mnemonic()});
    out.push_back({"interpreted", cpu::StatKind::Parts, "", interpreted.by_mnemonic()});
}

}  // namespace yado::cpu_bt
