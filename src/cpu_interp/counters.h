// What a vCPU counts in its slow paths; translated and threaded code counts nothing. vCPU thread; any may read.
#pragma once

#include "base/counter.h"
#include "cpu/stats.h"

namespace yado::cpu_interp {

struct Counters {
    Counter blocks_decoded;
    Counter pages_dropped;     ///< that held decoded code, because their bytes changed
    Counter pages_evicted;     ///< that held decoded code, to make room
    Counter caches_dropped;    ///< times that all decoded code went: extents changed
    Counter walks;             ///< page tables walked for data or code
    Counter page_faults;       ///< that those walks ended in
    Counter spaces_kept;       ///< loads of CR3 that found the PCID's entries
    Counter spaces_new;        ///< that did not
    Counter tlb_flushes;
    Counter interrupts;        ///< delivered, NMIs among them
    Counter exceptions;        ///< delivered, faults and traps

    void append_to(cpu::Stats& out) const;
};

}  // namespace yado::cpu_interp
