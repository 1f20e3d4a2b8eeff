// The x87, SSE and AVX registers in a state's XSAVE image. A component whose bit in XSTATE_BV is clear holds its initial
// values, whatever its bytes are. SDM vol. 1, 10.5.1 and 13.4.
#pragma once

#include <cstddef>

#include "cpu/state.h"

namespace yado::gdb {

inline constexpr size_t kSt0 = 32, kXmm0 = 160, kYmmHigh0 = 576;  ///< 16 bytes a register
inline constexpr size_t kFcw = 0, kFsw = 2, kFtw = 4, kFop = 6, kFip = 8, kFcs = 12, kFdp = 16, kFds = 20, kMxcsr = 24;

/// The image with the component's initial values written out, so that its bytes are true.
cpu::XsaveArea with_component(const cpu::XsaveArea& area, uint64_t component);
void make_present(cpu::XsaveArea& area, uint64_t component);

/// The x87 tag word as FSTENV stores it: two bits a register.
uint16_t full_tags(const cpu::XsaveArea& area);
/// As FXSAVE stores it: one bit a register that is not empty.
uint8_t abridged_tags(uint16_t full);

}  // namespace yado::gdb
