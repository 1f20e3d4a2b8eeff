// cpu::CpuState to and from a Core.
#pragma once

#include "base/error.h"
#include "cpu/state.h"
#include "cpu_interp/system/system.h"

namespace yado::cpu_interp {

class Core;

/// fpu_leave must be possible: called between instructions.
cpu::CpuState export_state(Core& c);
/// Errors: Corrupt (values that no CPU can hold; the Core is unchanged).
Result<> import_state(Core& c, const cpu::CpuState& state,
                      ParavirtualClock clock = ParavirtualClock::Publish);

}  // namespace yado::cpu_interp
