// The paravirtual clock of KVM (Linux Documentation/virt/kvm/x86/msr.rst, cpuid.rst).
#pragma once

#include "cpu_interp/core.h"

namespace yado::cpu_interp {

/// Writes the per-vCPU time structure to where MSR_KVM_SYSTEM_TIME says, if it is enabled.
void kvmclock_publish(Core& c);
/// Writes the wall clock at system time 0 to `address`.
void kvmclock_write_wall_clock(Core& c, uint64_t address);

/// tsc to ns: ns = (shift < 0 ? tsc >> -shift : tsc << shift) * mul >> 32.
struct ClockScale {
    uint32_t mul;
    int8_t shift;
};
ClockScale clock_scale(uint64_t hz);
uint64_t scale_to_ns(uint64_t tsc, ClockScale scale);

}  // namespace yado::cpu_interp
