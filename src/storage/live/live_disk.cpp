#include "storage/live/live_disk.h"

#include "storage/live/hold_image.h"

namespace yado::storage {

using io::or_return;

io::Task<Result<std::unique_ptr<LiveDisk>>> LiveDisk::open(io::Executor& executor, LiveConfig config) {
    std::unique_ptr<LiveDisk> disk(new LiveDisk(std::move(config.kept_back)));
    DiskConfig below = std::move(config.disk);
    disk->image_ = co_await or_return(co_await open_disk(executor, std::move(below)));
    if (config.on_error == OnError::Pause) disk->image_ = hold_on_error(std::move(disk->image_), disk->held_);
    co_return std::move(disk);
}

}  // namespace yado::storage
