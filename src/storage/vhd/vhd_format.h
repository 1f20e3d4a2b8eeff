// VHD, the format of Virtual PC, and of Hyper-V before VHDX: fixed, dynamic and differencing.
#pragma once

#include "storage/format.h"

namespace yado::storage {

const Format& vhd_format();

}  // namespace yado::storage
