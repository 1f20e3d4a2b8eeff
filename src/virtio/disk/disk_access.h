// The disk behind a device, whatever commands the device speaks: bounds, counters, one warning for what the host fails, and
// what the disk is told of the device's life. Executor's thread; size and bounds any.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "block/attachment.h"
#include "block/disk_image.h"

namespace yado::virtio {

struct DiskCounters {
    uint64_t reads = 0, writes = 0, flushes = 0, discards = 0, errors = 0, bytes_read = 0, bytes_written = 0;
};

/// A request's range is inside() before it is issued; the devices answer what is not in their own terms.
class DiskAccess {
  public:
    static constexpr uint64_t kSector = 512;
    /// What one request may clear; longer ones are refused by the devices.
    static constexpr uint32_t kMaxClearSectors = (1u << 30) / kSector;
    static constexpr size_t kMaxSerial = 20;

    /// Both outlive this. `attachment` may be nullptr.
    DiskAccess(block::DiskImage& image, block::Attachment* attachment, std::string id);

    const std::string& id() const { return id_; }
    std::string describe() const { return image_.describe(); }
    bool readonly() const { return image_.readonly(); }
    uint64_t sectors() const { return sectors_.load(std::memory_order_relaxed); }
    bool inside(uint64_t sector, uint64_t bytes) const;
    /// The image has grown or shrunk.
    void resized();

    io::Task<Result<>> read(uint64_t sector, std::span<const iovec> into);
    io::Task<Result<>> write(uint64_t sector, std::span<const iovec> from);
    io::Task<Result<>> flush();
    io::Task<Result<>> write_zeroes(uint64_t sector, uint64_t count, bool unmap);
    io::Task<Result<>> discard(uint64_t sector, uint64_t count);

    void attached(std::function<void(size_t)> resting);
    void pausing();
    void resumed();
    void detached();

    DiskCounters counters;

  private:
    Result<> reported(Result<> result) const;

    block::DiskImage& image_;
    block::Attachment* attachment_;
    std::string id_;
    std::atomic<uint64_t> sectors_;
};

}  // namespace yado::virtio
