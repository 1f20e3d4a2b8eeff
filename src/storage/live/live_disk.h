// A disk of a running guest: the image that --disk names, and over it what may be done to it while the guest runs.
//
//     device --> requests that failed are kept back --> what open_disk() made
//
// Executor's thread.
#pragma once

#include <functional>
#include <memory>

#include "block/attachment.h"
#include "storage/disk.h"
#include "storage/live/held_requests.h"

namespace yado::storage {

enum class OnError : uint8_t {
    Pause,   ///< a request that the host failed for want of space or by an I/O error is kept back; somebody pauses the guest
    Report,  ///< the guest is told
};

struct LiveConfig {
    DiskConfig disk;
    OnError on_error = OnError::Pause;
    HeldRequests::Tell kept_back;  ///< a request is kept back: the guest is to be paused
};

class LiveDisk final : public block::DiskImage, public block::Attachment {
  public:
    /// Errors: as open_disk's.
    static io::Task<Result<std::unique_ptr<LiveDisk>>> open(io::Executor& executor, LiveConfig config);

    // block::DiskImage
    Bytes size() const override { return image_->size(); }
    bool readonly() const override { return image_->readonly(); }
    std::string describe() const override { return image_->describe(); }
    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override { return image_->readv(offset, into); }
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override { return image_->writev(offset, from); }
    io::Task<Result<>> flush() override { return image_->flush(); }
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) override { return image_->write_zeroes(offset, length, unmap); }
    io::Task<Result<>> discard(Bytes offset, Bytes length) override { return image_->discard(offset, length); }
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override { return image_->map(offset, length); }
    io::Task<Result<>> resize(Bytes size) override { return image_->resize(size); }
    io::Task<Result<>> close() override { return image_->close(); }

    // block::Attachment
    void attached(std::function<void(size_t)> resting) override { held_.begin(std::move(resting)); }
    void pausing() override {}
    void resumed() override { held_.retry(); }
    void detached() override { held_.end(); }

  private:
    explicit LiveDisk(HeldRequests::Tell kept_back) : held_(std::move(kept_back)) {}

    HeldRequests held_;  ///< outlives image_
    std::unique_ptr<block::DiskImage> image_;
};

}  // namespace yado::storage
