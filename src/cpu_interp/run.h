// Executing: single instructions and chained blocks, with guest faults as values. What Vcpu::run and Stepper are made of.
// Thread: the vCPU's own.
#pragma once

#include <optional>

#include "cpu_interp/core.h"

namespace yado::cpu_interp {

/// A fault left c.rip at the faulting instruction; c.cr2 is set for #PF.
using MaybeFault = std::optional<GuestFault>;

/// True if the next instruction needs more than the fast loop: a request, debugging, an interrupt shadow, a halt.
bool unusual(const Core& c);

/// Enters the block at a canonical RIP of 64-bit code into the jump cache, if it is decoded and may be gone to at once.
bool find_jump(Core& c, uint64_t rip);

/// So that invalidations of this page's translation find what is remembered under Core::context.
void note_code(Core& c, uint64_t linear);

/// Runs blocks until something unusual comes up or the next instruction has to run alone (*alone is then set).
MaybeFault run_blocks(Core& c, bool* run_alone);

/// Runs one instruction (one iteration or more of a REP instruction: c.rep_unfinished), clearing interrupt shadows.
MaybeFault run_single(Core& c);

/// Runs the block at RIP, and no other that could be chained to it. With a tier this is its code once it has translated it.
MaybeFault run_block(Core& c);

/// One instruction with everything around it: breakpoints before, traps after, faults delivered. false: triple fault.
bool step(Core& c);

/// Delivers a fault through the guest's IDT. false: triple fault.
bool deliver_fault(Core& c, const GuestFault& fault);

}  // namespace yado::cpu_interp
