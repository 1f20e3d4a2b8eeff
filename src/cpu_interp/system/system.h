// What the run loop and the engine need of system/ beyond Core's own member functions.
#pragma once

#include <cstdint>

#include "cpu/state.h"

namespace yado::cpu_interp {

class Core;
struct Insn;

/// The registers that system/ owns: MSRs (IA32_TSC among them). Everything else is in Core's public members.
void system_export(const Core& c, cpu::CpuState& state);
/// Back in; also loads the PAE page directory pointers and flushes the TLB. Call after Core's control registers and
/// segments are set; calls update_mode(). Keep: another engine runs the guest and owns its clock page (Stepper).
enum class ParavirtualClock : uint8_t { Publish, Keep };
void system_import(Core& c, const cpu::CpuState& state, ParavirtualClock clock = ParavirtualClock::Publish);

/// Guest time stamp counter now.
uint64_t guest_tsc(const Core& c);

// --- debugging (SDM vol. 3, chapter 17): used by the run loop while TF is set or DR7 enables something ------------------
/// BS, among the bits of Core::debug_hits.
inline constexpr uint64_t kDr6SingleStep = 1u << 14;
/// Before an instruction at c.rip: true if an instruction breakpoint is armed there (and RF is clear): DR6 is set, the
/// caller delivers a #DB fault.
bool instruction_breakpoint(Core& c);
/// After an instruction has completed (without a fault): clears the RF it ran with, and is true if a #DB trap is due (single
/// step by flags_at_start.TF, data and I/O breakpoints, debug_hits): DR6 is set, the caller delivers a #DB trap. After
/// MOV SS or POP SS (c.mov_ss_shadow) it is held back until the next instruction. flags_at_start: c.sysflags before it ran.
bool debug_trap_due(Core& c, uint64_t flags_at_start);

/// MSR access as RDMSR and WRMSR do it, without the CPL check; false: #GP.
bool read_msr(Core& c, uint32_t number, uint64_t* value);
bool write_msr(Core& c, uint32_t number, uint64_t value);

/// Drops every write permission (a dirty log starts or was harvested); tlb_flush_all does it too.
void tlb_drop_all_writes(Core& c);

}  // namespace yado::cpu_interp
