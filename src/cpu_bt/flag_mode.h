#pragma once

#include <cstdint>

namespace yado::cpu_bt {

/// How exactly translated code keeps the arithmetic flags.
enum class FlagMode : uint8_t {
    Live,    ///< flags that are dead in program order may be wrong in the frame of a fault or an interrupt
    Strict,  ///< saved in front of everything that can fault: for comparisons with another engine
};

/// What a translation is for.
enum class Purpose : uint8_t {
    Run,
    Compare,  ///< with the interpreter (lockstep_tier.h): stores are logged, translated code ends in front of what would be interpreted
};

}  // namespace yado::cpu_bt
