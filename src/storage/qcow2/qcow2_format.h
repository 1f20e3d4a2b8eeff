// qcow2, QEMU's image format: versions 2 and 3, over a backing image or not, with internal snapshots (snapshots.h).
#pragma once

#include "storage/format.h"

namespace yado::storage {

const Format& qcow2_format();

}  // namespace yado::storage
