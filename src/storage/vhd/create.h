// New VHDs.
#pragma once

#include "storage/format.h"

namespace yado::storage::vhd {

io::Task<Result<>> create_image(ImageFile& file, const CreateOptions& options);

}  // namespace yado::storage::vhd
