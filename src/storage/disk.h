// A disk as the user writes it (`--disk path=...,format=raw,snapshot=on`), opened.
#pragma once

#include <memory>
#include <string>

#include "block/disk_image.h"
#include "io/executor.h"
#include "storage/async_io.h"

namespace yado::storage {

struct DiskConfig {
    std::string path;
    std::string format = "raw";  ///< from the configuration, never guessed from what the image holds
    bool readonly = false;
    bool snapshot = false;       ///< writes go to a scratch file and are thrown away; the image is only read
    AioMode aio = AioMode::Auto;
};

/// Opens, locks and stacks. Errors: as open_raw's; Usage (unknown format; readonly and snapshot together).
Result<std::unique_ptr<block::DiskImage>> open_disk(io::Executor& executor, const DiskConfig& config);

}  // namespace yado::storage
