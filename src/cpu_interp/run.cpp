#include "cpu_interp/run.h"

#include "cpu_interp/block_cache.h"
#include "cpu_interp/chain.h"
#include "cpu_interp/external_debug.h"
#include "cpu_interp/system/system.h"
#include "cpu_interp/system/system_state.h"
#include "cpu_interp/tier.h"

namespace yado::cpu_interp {

namespace rf = cpu::rflags;

namespace {

/// Runs f; a guest fault becomes a value, RIP then that of the faulting instruction.
template <typename F>
MaybeFault catching(Core& c, bool* retry_alone, F f) {
    MaybeFault fault;
    c.fault_insn = nullptr;
    try {
        f();
    } catch (const GuestFault& g) {
        fault = g;
    } catch (const RetryAlone&) {
        *retry_alone = true;  // code_store has set RIP
    }
    if (std::exchange(c.faulted, false)) fault = c.caught;
    if (const Insn* i = c.fault_insn; fault && i && c.block) {
        c.rip = c.rip_of(i);
        c.take_back(i);
    }
    c.alone = true;
    c.block = nullptr;
    return fault;
}

/// What jump-cache entries must agree with. Outside 64-bit mode CS.base counts, too.
void refresh_context(Core& c) {
    if (limited(c)) {
        c.context = 0;
        return;
    }
    if (c.code_mode != CodeMode::Bits64 && c.seg[cpu::CS].base != c.chain_base) {
        c.chain_base = c.seg[cpu::CS].base;
        c.forget_jumps();
    }
    const uint64_t id = c.mmu == Mmu::User ? c.system->generation : c.system->kernel_epoch;
    c.context = c.jump_epoch % kJumpEpochs << 44 | id << 4 | static_cast<uint64_t>(c.code_mode) << 2 | static_cast<uint64_t>(c.mmu);
}

const void* native_entry(const Core& c, const Block& b) {
    if (b.native || !c.tier) return b.native;
    return c.tier->untranslated();
}

/// In a page with a breakpoint of a debugger outside no block is entered, nor remembered: its code runs instruction by instruction.
bool breakpoints_near(const Core& c, uint64_t rip) { return c.debug && c.debug->breaks_in_page(linear_of_rip(c, rip)); }

void remember(Core& c, uint64_t rip, Block* b) {
    refresh_context(c);  // finding the block may have flushed
    if (c.context == 0) return;
    c.jumps[jump_slot(rip)] = {rip, c.context, b, native_entry(c, *b)};
    note_code(c, linear_of_rip(c, rip));
}

Block* next_block(Core& c) {
    refresh_context(c);
    const JumpEntry& e = c.jumps[jump_slot(c.rip)];
    if (c.context != 0 && e.rip == c.rip && e.context == c.context) return e.block;
    if (breakpoints_near(c, c.rip)) return nullptr;
    Block* b = c.blocks->find(c.rip);
    if (b) remember(c, c.rip, b);
    return b;
}

/// Inside the handlers' exceptions' reach; the loop ends for anything unusual.
void run_until_unusual(Core& c, bool* run_alone) {
    while (!c.faulted && !unusual(c)) {
        c.alone = true;  // a fetch stores accessed bits: no block is running
        c.block = nullptr;
        Block* b = next_block(c);
        if (!b) {
            *run_alone = true;
            return;
        }
        c.sysflags &= ~rf::RF;
        c.alone = false;
        enter(c, b, c.rip);
    }
}

bool debugging(const Core& c) { return (c.sysflags & (rf::TF | rf::RF)) | (c.dr7 & 0xff) | c.debug_hits; }

}  // namespace

void note_code(Core& c, uint64_t linear) {
    SystemState& s = *c.system;
    if (c.mmu == Mmu::User) return s.user_code.set(linear);
    s.kernel_code.set(linear);
    s.low_kernel_code |= !(linear >> 63);
    s.nonglobal_kernel_code |= !s.fetch[linear >> 12 & (kFetchSize - 1)].global;
}

bool find_jump(Core& c, uint64_t rip) {
    if (c.requests.load(std::memory_order_relaxed) || c.code_mode != CodeMode::Bits64 || !is_canonical(rip)) return false;
    if (breakpoints_near(c, rip)) return false;
    uint32_t error = 0;
    const auto page = c.fetch_quietly(rip, &error);
    if (!page || !page->host) return false;
    const auto mode = static_cast<uint8_t>(static_cast<uint8_t>(CodeMode::Bits64) | static_cast<uint8_t>(c.mmu) << kModeMmuShift);
    Block* b = c.blocks->known(page_down(page->gpa) | (rip & kPageMask), mode);
    if (b) remember(c, rip, b);
    return b && c.context != 0;
}

bool unusual(const Core& c) {
    return c.requests.load(std::memory_order_relaxed) != 0 || c.activity != cpu::Activity::Running || c.sti_shadow ||
           c.mov_ss_shadow || (c.sysflags & rf::TF) || (c.dr7 & 0xff) || c.debug_hits ||
           (c.interrupt_waiting && c.sysflags & rf::IF) || (c.nmi_waiting && !c.nmi_blocked);
}

MaybeFault run_blocks(Core& c, bool* run_alone) {
    return catching(c, run_alone, [&] { run_until_unusual(c, run_alone); });
}

MaybeFault run_single(Core& c) {
    c.sti_shadow = c.mov_ss_shadow = false;
    c.rep_unfinished = false;
    c.alone = true;
    bool ignored = false;
    return catching(c, &ignored, [&] {
        c.block = nullptr;
        Block* b = c.blocks->alone(c.rip);
        c.context = 0;  // nothing chains to what follows
        enter(c, b, c.rip);
    });
}

MaybeFault run_block(Core& c) {
    bool ignored = false;
    return catching(c, &ignored, [&] {
        c.alone = true;
        c.block = nullptr;
        Block* b = c.blocks->find(c.rip);
        if (!b) b = c.blocks->alone(c.rip);
        c.context = 0;  // nothing chains to what follows
        c.sysflags &= ~rf::RF;
        c.alone = false;
        c.rep_unfinished = false;
        enter(c, b, c.rip);
    });
}

bool deliver_fault(Core& c, const GuestFault& fault) {
    return c.deliver(Core::EventKind::Fault, static_cast<uint8_t>(fault.vector), fault.has_error, fault.error);
}

bool step(Core& c) {
    constexpr auto kDb = static_cast<uint8_t>(Vec::DB);
    const uint64_t flags = c.sysflags;
    const bool debug = debugging(c);
    if (c.debug_hits && debug_trap_due(c, 0)) return c.deliver(Core::EventKind::Trap, kDb, false, 0);  // of SYSRET
    if (c.dr7 & 0xff && instruction_breakpoint(c)) return c.deliver(Core::EventKind::Fault, kDb, false, 0);
    if (const MaybeFault fault = run_single(c)) return deliver_fault(c, *fault);
    if ((debug || debugging(c)) && debug_trap_due(c, flags)) return c.deliver(Core::EventKind::Trap, kDb, false, 0);
    return true;
}

}  // namespace yado::cpu_interp
