#pragma once

#include <cstdint>

namespace yado::cpu_bt {

/// How exactly translated code keeps the arithmetic flags.
enum class FlagMode : uint8_t {
    Live,    ///< flags that are dead in program order may be wrong in the frame of a fault or an interrupt
    Strict,  ///< saved in front of everything that can fault: for comparisons with another engine
};

}  // namespace yado::cpu_bt
