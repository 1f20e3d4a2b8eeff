// What the translator counts, for `yado info` and --engine-stats: outside of translated code only. vCPU thread; any may read.
#pragma once

#include <array>

#include "base/counter.h"
#include "cpu/stats.h"
#include "cpu_bt/instruction_counts.h"
#include "cpu_interp/core.h"

namespace yado::cpu_bt {

/// Why translated code was left.
enum class Way : uint8_t {
    Request,       ///< an interrupt or another thread wants the vCPU
    Fault,         ///< page faults found by a walk, and what an interpreted instruction raised
    Elsewhere,     ///< an instruction interpreted in the middle of a block has set RIP
    Follow,        ///< a direct jump in the page that is not linked
    Untranslated,  ///< the jump cache knows the target; it has no translation
    Instruction,   ///< in front of an instruction: it is the interpreter's, or its target is not in the jump cache
};
inline constexpr unsigned kWays = 6;

struct TierStats {
    Counter translated;      ///< blocks
    Counter refused;         ///< blocks whose first instruction is the interpreter's and ends them
    Counter traces;          ///< translations over several blocks
    Counter links;           ///< jumps led to the next block's translation
    Counter careful;         ///< rests of lines translated once more without groups
    Counter setbacks;        ///< checks for a group of accesses that failed though the one access could be served
    Counter evictions;       ///< times that the cache was full and its oldest generation went
    Counter code_bytes;      ///< of the cache, in use: replaced, not added up
    std::array<Counter, kWays> left;
    std::array<Counter, 3> tlb_misses;            ///< accesses that the TLB did not serve, by TlbFill
    InstructionCounts interpreted;                ///< run by the interpreter in the middle of translated code
    InstructionCounts left_at;                    ///< instructions behind Way::Instruction

    void left_by(Way way) { ++left[static_cast<unsigned>(way)]; }
    void missed(cpu_interp::TlbFill done) { ++tlb_misses[static_cast<unsigned>(done)]; }
    void append_to(cpu::Stats& out) const;
};

}  // namespace yado::cpu_bt
