// A translator for comparisons with another engine: blocks are translated at once, run one at a time, flags exact at faults.
#pragma once

#include <memory>

#include "base/error.h"

namespace yado::cpu_interp {
class Core;
class Tier;
}  // namespace yado::cpu_interp

namespace yado::cpu_bt {

Result<std::unique_ptr<cpu_interp::Tier>> make_test_tier(cpu_interp::Core& core);

}  // namespace yado::cpu_bt
