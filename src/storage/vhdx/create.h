// New VHDX files.
#pragma once

#include "storage/format.h"

namespace yado::storage::vhdx {

io::Task<Result<>> create_image(ImageFile& file, const CreateOptions& options);

}  // namespace yado::storage::vhdx
