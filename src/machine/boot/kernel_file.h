// Reading kernels and initrds: only regular files, whole, once (what is checked is what is used).
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/units.h"

namespace yado::machine::boot {

/// The bytes of a regular file of 1 byte to `limit`. `what` ("kernel", "initrd") names it in errors.
/// Errors: NotFound, Denied, Failed (a directory, FIFO or device; empty; larger than limit).
Result<std::vector<std::byte>> read_file(const std::string& path, std::string_view what, Bytes limit);

}  // namespace yado::machine::boot
