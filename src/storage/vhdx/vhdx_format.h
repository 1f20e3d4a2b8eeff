// VHDX, Hyper-V's format: fixed and dynamic. Differencing images are described and checked, not opened.
#pragma once

#include "storage/format.h"

namespace yado::storage {

const Format& vhdx_format();

}  // namespace yado::storage
