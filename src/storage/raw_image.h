// Raw images: a file or block device whose bytes are the disk's.
//
// Opened on any thread before it is used; all else on the executor's thread, close() last.
#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "block/disk_image.h"
#include "io/executor.h"
#include "storage/async_io.h"

namespace yado::storage {

struct RawConfig {
    std::string path;  ///< also the name in errors and in describe()
    bool readonly = false;
    AioMode aio = AioMode::Auto;
};

/// Opens and locks an image. Errors, each a line that names the path: NotFound, Denied, Conflict (locked; by which
/// process), Failed (a directory, not a file or block device, empty, size not a multiple of 512).
Result<std::unique_ptr<block::DiskImage>> open_raw(io::Executor& executor, const RawConfig& config);

/// The same on a descriptor that somebody opened for us; config.path is its name.
Result<std::unique_ptr<block::DiskImage>> adopt_raw(io::Executor& executor, Fd fd, const RawConfig& config);

/// An unlinked, sparse scratch file as an image: not locked, gone when closed.
Result<std::unique_ptr<block::DiskImage>> adopt_scratch(io::Executor& executor, Fd fd, Bytes size, AioMode aio);

}  // namespace yado::storage
