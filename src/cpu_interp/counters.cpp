#include "cpu_interp/counters.h"

namespace yado::cpu_interp {

void Counters::append_to(cpu::Stats& out) const {
    out.push_back({"code", cpu::StatKind::Values, "", {{"blocks_decoded", blocks_decoded.get()}, {"pages_invalidated", pages_dropped.get()},
                                {"pages_evicted", pages_evicted.get()}, {"caches_dropped", caches_dropped.get()}}});
    out.push_back({"paging", cpu::StatKind::Values, "", {{"walks", walks.get()}, {"page_faults", page_faults.get()}, {"tlb_flushes", tlb_flushes.get()},
                                  {"pcid_switches_kept", spaces_kept.get()}, {"pcid_switches_new", spaces_new.get()}}});
    out.push_back({"events", cpu::StatKind::Values, "", {{"interrupts", interrupts.get()}, {"exceptions", exceptions.get()}}});
}

}  // namespace yado::cpu_interp
