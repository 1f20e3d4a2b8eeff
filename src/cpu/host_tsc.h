// The host's time-stamp counter.
#pragma once

#include <cstdint>

namespace yado::cpu {

/// Its frequency in Hz: CPUID 15H or the hypervisor's leaf 40000010H where they tell, else measured against
/// CLOCK_MONOTONIC_RAW for 4 ms (good to some 10 ppm). The first call measures, later ones remember.
uint64_t host_tsc_hz();

}  // namespace yado::cpu
