#include "storage/live/live_disk.h"

#include "storage/live/hold_image.h"
#include "storage/live/live_parts.h"
#include "storage/pieces.h"

namespace yado::storage {

using io::or_return;

LiveDisk::LiveDisk(io::Executor& executor, LiveConfig config)
    : executor_(executor), config_(std::move(config)), throttle_(executor, config_.limits), held_(config_.kept_back) {}

LiveDisk::~LiveDisk() = default;

io::Task<Result<std::unique_ptr<LiveDisk>>> LiveDisk::open(io::Executor& executor, LiveConfig config) {
    DiskConfig below = config.disk;
    DiskLayers opened = co_await or_return(co_await open_layers(executor, std::move(below)));
    std::unique_ptr<LiveDisk> disk(new LiveDisk(executor, std::move(config)));
    disk->layers_ = std::move(opened.layers);
    auto exchanged = std::make_unique<SwitchImage>(std::move(opened.image));
    disk->switch_ = exchanged.get();
    disk->image_ = with_policy_of(disk->config_.disk, std::move(exchanged));
    if (disk->config_.on_error == OnError::Pause) disk->image_ = hold_on_error(std::move(disk->image_), disk->held_);
    co_return std::move(disk);
}

io::Task<Result<>> LiveDisk::readv(Bytes offset, std::span<const iovec> into) {
    const Bytes length(total_of(into));
    if (!throttle_.idle()) co_await throttle_.admit(length);
    co_return co_await image_->readv(offset, into);
}
io::Task<Result<>> LiveDisk::writev(Bytes offset, std::span<const iovec> from) {
    const Bytes length(total_of(from));
    if (!throttle_.idle()) co_await throttle_.admit(length);
    co_return co_await image_->writev(offset, from);
}
// Zeroes and discards move no data: each is one operation.
io::Task<Result<>> LiveDisk::write_zeroes(Bytes offset, Bytes length, bool unmap) {
    const Bytes none(0);
    if (!throttle_.idle()) co_await throttle_.admit(none);
    co_return co_await image_->write_zeroes(offset, length, unmap);
}
io::Task<Result<>> LiveDisk::discard(Bytes offset, Bytes length) {
    const Bytes none(0);
    if (!throttle_.idle()) co_await throttle_.admit(none);
    co_return co_await image_->discard(offset, length);
}

void LiveDisk::attached(std::function<void(size_t)> resting) {
    throttle_.shut();
    held_.begin(std::move(resting));
}
void LiveDisk::resumed() {
    throttle_.shut();
    held_.retry();
}
void LiveDisk::detached() {
    throttle_.open();
    held_.end();
}

io::Task<Result<>> LiveDisk::close() {
    closing_ = true;
    throttle_.open();
    co_await operations_.close();
    co_return co_await image_->close();
}

}  // namespace yado::storage
