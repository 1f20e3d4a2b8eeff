// A disk as the user writes it (`--disk path=...,format=raw,snapshot=on`), opened.
#pragma once

#include <memory>
#include <string>

#include "block/disk_image.h"
#include "io/executor.h"
#include "storage/file/async_io.h"

namespace yado::storage {

struct DiskConfig {
    std::string path;
    std::string format = "raw";  ///< from the configuration, never guessed from what the image holds
    bool readonly = false;
    bool snapshot = false;       ///< writes go to a scratch file and are thrown away; the image is only read
    AioMode aio = AioMode::Auto;
};

/// Opens, locks and stacks. The executor's thread. Errors: as open_host_file's and the format's; Usage (unknown format;
/// readonly and snapshot together).
io::Task<Result<std::unique_ptr<block::DiskImage>>> open_disk(io::Executor& executor, DiskConfig config);

}  // namespace yado::storage
