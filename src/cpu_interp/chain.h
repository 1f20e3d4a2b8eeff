// How control goes from block to block without a return to the run loop: links within a page, the jump cache across.
// Anything unusual (a request, a miss, a limited code segment) sets rip and returns to the run loop.
#pragma once

#include "cpu_interp/block.h"

namespace yado::cpu_interp {

#ifdef YADO_CHAIN_BLOCKS
inline constexpr bool kChain = true;
#else
inline constexpr bool kChain = false;  // without tail calls a chain would be an endless recursion (CMakeLists.txt)
#endif

inline unsigned jump_slot(uint64_t rip) { return (rip ^ rip >> 12) & (kJumpCacheSize - 1); }

inline bool is_canonical(uint64_t a) { return static_cast<uint64_t>(static_cast<int64_t>(a << 16) >> 16) == a; }

[[gnu::always_inline]] inline void enter(Core& c, Block* b, uint64_t rip) {
    c.block_rip = rip;
    c.block = b;
    c.icount += b->count;
    return b->insn[0].run(c, b->insn);
}

/// The block at rip if control may go there at once, or nullptr.
[[gnu::always_inline]] inline Block* chained(const Core& c, uint64_t rip) {
    if (!kChain) return nullptr;
    const JumpEntry& e = c.jumps[jump_slot(rip)];
    if (e.rip != rip || e.context != c.context || c.requests.load(std::memory_order_relaxed)) [[unlikely]] return nullptr;
    return e.block;
}

/// Leaves the block for rip, which is known to be good.
[[gnu::always_inline]] inline void go(Core& c, uint64_t rip) {
    if (Block* b = chained(c, rip)) [[likely]] return enter(c, b, rip);
    c.rip = rip;
}

/// Leaves the block for a target that was not checked yet: jump cache hits are good by themselves.
[[gnu::always_inline]] inline void go_checked(Core& c, const Insn* i, uint64_t rip) {
    if (Block* b = chained(c, rip)) [[likely]] return enter(c, b, rip);
    c.jump_to(i, rip);
}

void go_direct_slow(Core& c, const Insn* i, const Insn* slot, uint64_t rip);

/// A direct branch with its slot.
[[gnu::always_inline]] inline void go_direct(Core& c, const Insn* i, const Insn* slot, uint64_t rip) {
    Block* b = link_of(slot);
    if (kChain && b && !c.requests.load(std::memory_order_relaxed)) [[likely]] return enter(c, b, rip);
    return go_direct_slow(c, i, slot, rip);
}

}  // namespace yado::cpu_interp
