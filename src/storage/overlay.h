// snapshot=on: a throw-away layer over an image. Writes go to an unlinked sparse file, at the same offsets; a map says
// which 4 KiB blocks are there. Blocks of that size are what guests write, so that little is ever copied up.
#pragma once

#include <memory>
#include <string>

#include "block/disk_image.h"
#include "io/executor.h"
#include "base/fd.h"
#include "storage/file/async_io.h"

namespace yado::storage {

/// Where scratch files go: $TMPDIR, else beside the image, else /var/tmp, else /tmp. Errors: Failed (none can be written).
Result<Fd> open_scratch(const std::string& image_path);

/// A writable image over `base`, which is only read, and taken only on success. `scratch` is an empty file that nobody
/// else names.
Result<std::unique_ptr<block::DiskImage>> make_overlay(io::Executor& executor, std::unique_ptr<block::DiskImage>& base,
                                                       Fd scratch, AioMode aio = AioMode::Auto);

}  // namespace yado::storage
