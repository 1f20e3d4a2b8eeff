// Which blocks run one after the other from a hot one: the line of its second translation.
#pragma once

#include "cpu/cpu_model.h"
#include "cpu_bt/step.h"
#include "cpu_interp/block_cache.h"

namespace yado::cpu_bt {

/// Follows direct jumps inside the page of `head`; a loop back to it is unrolled. False: `head` would stand alone.
bool find_line(cpu_interp::BlockCache& blocks, cpu_interp::Block& head, const cpu::CpuModel& model, Line& line);

}  // namespace yado::cpu_bt
