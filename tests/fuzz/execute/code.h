// Random code and random registers: pure noise, noise with the shape of instructions, and loops that get hot.
#pragma once

#include "cpu/oracle/random.h"
#include "machine.h"

namespace yado::execute {

/// The case's registers, flags, control bits, data and code, all from `random`. `base` is the machine's.
Case make_case(oracle::Random& random, const Machine& machine);

}  // namespace yado::execute
