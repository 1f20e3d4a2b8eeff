// Where a linear address is in physical memory, for a debugger: page tables are read only. SDM vol. 3, chapter 4.
#pragma once

#include "base/error.h"
#include "cpu/state.h"
#include "mem/guest_memory.h"

namespace yado::cpu {

/// Walks the page tables that `state` names, at most five levels, whatever rights an access would need; sets no accessed or
/// dirty bits. Errors: OutOfRange (nothing is mapped there, or the address is none of this mode). Any thread.
Result<GuestPhysAddr> translate(const CpuState& state, const mem::GuestMemory& memory, GuestLinearAddr linear);

}  // namespace yado::cpu
