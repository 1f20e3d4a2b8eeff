// Core's own members that are neither memory nor system: its parts, the rendezvous, code pages' side of stores.
#include "cpu_interp/core.h"

#include <algorithm>

#include "cpu_interp/block_cache.h"
#include "cpu_interp/chain.h"
#include "cpu_interp/external_debug.h"
#include "cpu_interp/fpu/fpu.h"
#include "cpu_interp/shared.h"
#include "cpu_interp/system/system_state.h"
#include "cpu_interp/tier.h"

namespace yado::cpu_interp {

Core::Core(const cpu::VcpuWiring& w, Shared& s)
    : wiring(w),
      shared(s),
      fpu(std::make_unique<Fpu>()),
      blocks(std::make_unique<BlockCache>(*this)),
      system(std::make_unique<SystemState>(w)) {
    native.fpu = fpu.get();
    native.system = system.get();
    shared.add(*this);
}

Core::~Core() { shared.remove(*this); }

void Core::stop_the_world(const std::function<void()>& f) { shared.stop_others(*this, f); }

void Core::take_back(const Insn* i) {
    if (i >= block->insn && i < block->end()) icount -= static_cast<uint64_t>(block->end() - i);
}

void Core::code_store(const Insn* i, uint64_t gpa, unsigned size) {
    if (block && gpa < block->gpa + block->bytes && block->gpa < gpa + size) run_alone(i);
}

void Core::run_alone(const Insn* i) {
    if (alone || !block || !i || i < block->insn || i >= block->end()) return;
    take_back(i);
    rip = rip_of(i);
    throw RetryAlone{};
}

void Core::fail(std::string reason) {
    if (failure.empty()) failure = std::move(reason);
    request(kReqFailed);
}

void Core::forget_jumps() {
    if (++jump_epoch % kJumpEpochs == 0) std::ranges::fill(jumps, JumpEntry{});
    context = 0;  // the run loop computes it anew
}

uint64_t Core::address_slow(const Insn* i, unsigned size, Acc acc) {
    const uint64_t ea = effective(i);
    if (code_mode != CodeMode::Bits64) return segmented(i, i->seg, ea, size, acc);
    return i->seg >= cpu::FS ? seg[i->seg].base + ea : ea;
}

}  // namespace yado::cpu_interp
