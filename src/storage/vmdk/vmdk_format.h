// VMDK, VMware's format, for import: one file, sparse or stream-optimized, and only read.
#pragma once

#include "storage/format.h"

namespace yado::storage {

const Format& vmdk_format();

}  // namespace yado::storage
