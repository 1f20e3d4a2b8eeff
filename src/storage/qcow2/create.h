// New qcow2 images.
#pragma once

#include "storage/format.h"

namespace yado::storage::qcow2 {

/// Errors: Usage (a size, cluster size or name that the format cannot have).
io::Task<Result<>> create(ImageFile& file, const CreateOptions& options);

}  // namespace yado::storage::qcow2
