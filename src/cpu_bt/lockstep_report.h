// A difference between translator and interpreter, for people.
#pragma once

#include <string>

#include "cpu_bt/lockstep_state.h"
#include "cpu_interp/block.h"

namespace yado::cpu_bt {

/// The block with its instructions (those compared are marked), the registers, flags and bytes that differ, and all registers
/// before it. The first line says what it is; no line ends the text.
std::string report_of(Core& core, const cpu_interp::Block& block, unsigned compared, const Difference& difference);

}  // namespace yado::cpu_bt
