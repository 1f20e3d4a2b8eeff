// writeback-limit= and writeback-age=: how much a guest may have waiting in the host's page cache, and how long. What is
// above is sent to the disk without being asked for, so that neither the host's own limits are reached, which stop every
// process that writes, nor a flush finds minutes of writing in front of it.
//
//     written, waiting --half of the limit, or the age--> on its way to the disk --> forgotten
//
// Bytes are counted as they are written: a page that is written twice counts twice.
#pragma once

#include <chrono>
#include <memory>

#include "io/timer.h"
#include "storage/file/image_file.h"

namespace yado::storage {

struct WritebackPolicy {
    Bytes limit;                    ///< a write that finds so much waiting waits itself; 0: no limit
    std::chrono::seconds age{0};    ///< what has waited for so long is sent; 0: when the host's kernel does
    bool any() const { return limit.value() > 0 || age.count() > 0; }
};

/// `timers` call on the file's executor.
std::unique_ptr<ImageFile> limit_writeback(std::unique_ptr<ImageFile> file, WritebackPolicy policy, io::TimerQueue& timers);

}  // namespace yado::storage
