#include "storage/live/switch_image.h"

namespace yado::storage {

using io::or_return;

io::Task<Result<>> SwitchImage::readv(Bytes offset, std::span<const iovec> into) {
    const auto pass = co_await transfers_.enter();
    co_return co_await image_->readv(offset, into);
}
io::Task<Result<>> SwitchImage::writev(Bytes offset, std::span<const iovec> from) {
    const auto pass = co_await transfers_.enter();
    co_return co_await image_->writev(offset, from);
}
io::Task<Result<>> SwitchImage::flush() {
    const auto pass = co_await flushes_.enter();
    if (!owing_.empty()) co_await or_return(co_await settle());
    co_return co_await image_->flush();
}
io::Task<Result<>> SwitchImage::write_zeroes(Bytes offset, Bytes length, bool unmap) {
    const auto pass = co_await transfers_.enter();
    co_return co_await image_->write_zeroes(offset, length, unmap);
}
io::Task<Result<>> SwitchImage::discard(Bytes offset, Bytes length) {
    const auto pass = co_await transfers_.enter();
    co_return co_await image_->discard(offset, length);
}
io::Task<Result<block::Extent>> SwitchImage::map(Bytes offset, Bytes length) {
    const auto pass = co_await transfers_.enter();
    co_return co_await image_->map(offset, length);
}
io::Task<Result<>> SwitchImage::resize(Bytes size) {
    const auto pass = co_await transfers_.enter();
    co_return co_await image_->resize(size);
}

// A flush may take long, and what it covers was written before: transfers need not wait for it.
io::Task<> SwitchImage::halt(Halt what) {
    co_await transfers_.halt();
    if (what == Halt::Everything) co_await flushes_.halt();
}
void SwitchImage::go() {
    transfers_.go();
    if (flushes_.halted()) flushes_.go();
}

io::Task<Result<>> SwitchImage::settle() {
    const RangeLock::Range whole{0, 1};
    const RangeLock::Held held = co_await settling_.take(whole);
    while (!owing_.empty()) {
        co_await or_return(co_await owing_.front()->become_base());
        owing_.erase(owing_.begin());
    }
    co_return Result<>{};
}

}  // namespace yado::storage
