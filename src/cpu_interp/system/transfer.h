// Far control transfers, shared by JMP, CALL, RET, IRET, gates and task switches.
#pragma once

#include "cpu_interp/system/descriptor.h"

namespace yado::cpu_interp {

enum class TaskCause : uint8_t { Jump, Call, Iret, Interrupt };

/// Switches to the task whose TSS `selector` names (SDM vol. 3, 7.3). return_rip: what the old task resumes at.
/// Leaves c.rip at the new task's instruction. error: pushed on the new stack, for gates of exceptions.
void task_switch(Core& c, const Insn* i, uint16_t selector, TaskCause cause, uint64_t return_rip,
                 const uint32_t* error = nullptr);
/// Checks a task gate (already known to be one) and returns the TSS selector in it.
uint16_t task_gate_target(Core& c, const Insn* i, const Descriptor& gate, uint16_t selector, uint32_t ext);

/// SS and SP of privilege `cpl` from the current TSS (SDM vol. 3, 7.2.1, 7.7). In 64-bit TSSs only RSP.
struct InnerStack {
    uint16_t ss = 0;
    uint64_t sp = 0;
};
InnerStack inner_stack(Core& c, const Insn* i, unsigned cpl, uint32_t ext = 0);
/// 8-byte entry of a 64-bit TSS at `offset` (RSPn, ISTn).
uint64_t tss64_stack(Core& c, const Insn* i, unsigned offset, uint32_t ext = 0);

/// Delivers through the IVT or IDT once; a fault on the way throws and leaves registers as they were. Vectors of
/// software interrupts are checked for DPL and IOPL. c.rip must be what is to be saved; i may be nullptr.
void enter_event(Core& c, const Insn* i, Core::EventKind kind, uint8_t vector, bool has_error, uint32_t error,
                 uint64_t return_rip);

}  // namespace yado::cpu_interp
