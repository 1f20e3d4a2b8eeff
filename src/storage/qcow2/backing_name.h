// Which image a closed qcow2 image says that it is a clone of.
#pragma once

#include <optional>

#include "storage/format.h"

namespace yado::storage::qcow2 {

/// Writes another name and format into the header, or none. The header's one sector is written last: a crash leaves the old
/// claim or the new one. Errors: Usage (the name), Failed (no room in the header).
io::Task<Result<>> set_backing_name(ImageFile& file, const std::optional<CreateOptions::Parent>& parent);

}  // namespace yado::storage::qcow2
