// Raw images: a file or block device whose bytes are the disk's.
//
// Opened on any thread before it is used; all else on the executor's thread, close() last.
#pragma once

#include <memory>

#include "block/disk_image.h"
#include "storage/file/image_file.h"
#include "storage/format.h"

namespace yado::storage {

/// Errors, each a line that names the file: Failed (empty; size not a multiple of 512).
Result<std::unique_ptr<block::DiskImage>> open_raw(std::unique_ptr<ImageFile> file);

const Format& raw_format();

}  // namespace yado::storage
