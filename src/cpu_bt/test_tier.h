// A translator for tests: blocks are translated the first time that they run.
#pragma once

#include <memory>

#include "base/error.h"
#include "cpu_bt/flag_mode.h"

namespace yado::cpu_interp {
class Core;
class Tier;
}  // namespace yado::cpu_interp

namespace yado::cpu_bt {

/// Whether a block's direct jumps lead into the next block, or back to the run loop.
enum class Linking : uint8_t { Off, On };

Result<std::unique_ptr<cpu_interp::Tier>> make_test_tier(cpu_interp::Core& core, FlagMode flags, Linking linking);

}  // namespace yado::cpu_bt
