// Instructions without an architectural effect here: NOP, PAUSE, prefetches, fences, cache flushes. SDM vol. 2.
#include <sched.h>

#include <atomic>

#include "cpu_interp/integer/operands.h"
#include "cpu_interp/integer/select.h"

namespace yado::cpu_interp {

namespace {

void nop(Core& c, const Insn* i) { return next(c, i); }

/// Spinning: when it goes on, let the other vCPUs' threads run.
void pause(Core& c, const Insn* i) {
    __builtin_ia32_pause();
    if ((++c.pauses & 0xff) == 0) sched_yield();
    return next(c, i);
}

void mfence(Core& c, const Insn* i) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return next(c, i);
}

/// What comes before may be non-temporal stores of translated code, or a load that RDTSC must not overtake.
void sfence(Core& c, const Insn* i) {
    asm volatile("sfence" : : : "memory");
    return next(c, i);
}
void lfence(Core& c, const Insn* i) {
    asm volatile("lfence" : : : "memory");
    return next(c, i);
}

/// Caches are the host's; what remains is the access check of a byte read.
void clflush(Core& c, const Insn* i) {
    c.load<uint8_t>(i, c.address(i, 1, Acc::Read));
    return next(c, i);
}

Handler pick_0fae(const Insn& i) {
    const unsigned group = group_of(i);
    if (i.mem) {
        const bool plain = i.mandatory == Mandatory::None, clflushopt = i.mandatory == Mandatory::P66;
        return group == 7 && (plain || clflushopt) ? clflush : nullptr;
    }
    if (i.mandatory != Mandatory::None) return nullptr;
    if (group == 6) return mfence;
    return group == 5 ? lfence : group == 7 ? sfence : nullptr;
}

}  // namespace

Selected select_hint(const Insn& i) {
    if (i.map == Map::One) {
        if (i.opcode != 0x90 || i.reg != 0) return {};
        return {i.rep ? pause : nop};
    }
    if (i.map != Map::Of) return {};
    if (i.opcode == 0x0d) return {i.mem ? nop : nullptr};          // PREFETCHW
    if (i.opcode >= 0x18 && i.opcode <= 0x1f) return {nop};         // PREFETCHh, ENDBR, the long NOPs
    return {i.opcode == 0xae ? pick_0fae(i) : nullptr};
}

}  // namespace yado::cpu_interp
