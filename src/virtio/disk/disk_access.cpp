#include "virtio/disk/disk_access.h"

#include "base/log.h"

namespace yado::virtio {

namespace {
uint64_t sum(std::span<const iovec> pieces) {
    uint64_t bytes = 0;
    for (const iovec& piece : pieces) bytes += piece.iov_len;
    return bytes;
}
}  // namespace

DiskAccess::DiskAccess(block::DiskImage& image, block::Attachment* attachment, std::string id)
    : image_(image), attachment_(attachment), id_(std::move(id)), sectors_(image.size().value() / kSector) {}

bool DiskAccess::inside(uint64_t sector, uint64_t bytes) const {
    const uint64_t all = sectors();
    return sector <= all && bytes / kSector <= all - sector;
}

void DiskAccess::resized() { sectors_.store(image_.size().value() / kSector, std::memory_order_relaxed); }

io::Task<Result<>> DiskAccess::read(uint64_t sector, std::span<const iovec> into) {
    Result<> done = co_await image_.readv(Sectors(sector).bytes(), into);
    ++counters.reads;
    counters.bytes_read += sum(into);
    co_return reported(std::move(done));
}

io::Task<Result<>> DiskAccess::write(uint64_t sector, std::span<const iovec> from) {
    Result<> done = co_await image_.writev(Sectors(sector).bytes(), from);
    ++counters.writes;
    counters.bytes_written += sum(from);
    co_return reported(std::move(done));
}

io::Task<Result<>> DiskAccess::flush() {
    ++counters.flushes;
    Result<> done = co_await image_.flush();
    co_return reported(std::move(done));
}

io::Task<Result<>> DiskAccess::write_zeroes(uint64_t sector, uint64_t count, bool unmap) {
    Result<> done = co_await image_.write_zeroes(Sectors(sector).bytes(), Sectors(count).bytes(), unmap);
    co_return reported(std::move(done));
}

io::Task<Result<>> DiskAccess::discard(uint64_t sector, uint64_t count) {
    Result<> done = co_await image_.discard(Sectors(sector).bytes(), Sectors(count).bytes());
    co_return reported(std::move(done));
}

void DiskAccess::attached(std::function<void(size_t)> resting) {
    if (attachment_) attachment_->attached(std::move(resting));
}
void DiskAccess::pausing() {
    if (attachment_) attachment_->pausing();
}
void DiskAccess::resumed() {
    if (attachment_) attachment_->resumed();
}
void DiskAccess::detached() {
    if (attachment_) attachment_->detached();
}

Result<> DiskAccess::reported(Result<> result) const {
    if (!result) YADO_LOG_LIMITED(Warning, "disk {}: {}", id_, result.error().message());
    return result;
}

}  // namespace yado::virtio
