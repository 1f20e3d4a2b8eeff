// Where the image under a running guest can be exchanged for another: requests stop for a moment, and go on with the new one.
//
// An image that has just become a base still owes the disk what was written to it: a flush settles it first.
//
// Executor's thread.
#pragma once

#include <memory>
#include <vector>

#include "block/disk_image.h"
#include "storage/format.h"
#include "storage/live/traffic.h"
#include "storage/range_lock.h"

namespace yado::storage {

class SwitchImage final : public block::DiskImage {
  public:
    explicit SwitchImage(std::unique_ptr<block::DiskImage> image) : image_(std::move(image)) {}

    Bytes size() const override { return image_->size(); }
    bool readonly() const override { return image_->readonly(); }
    std::string describe() const override { return image_->describe(); }
    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override;
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override;
    io::Task<Result<>> flush() override;
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) override;
    io::Task<Result<>> discard(Bytes offset, Bytes length) override;
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override;
    io::Task<Result<>> resize(Bytes size) override;
    io::Task<Result<>> close() override { return image_->close(); }

    enum class Halt : uint8_t {
        Transfers,   ///< flushes run on: the image that they began on must stay
        Everything,
    };
    /// Returns when no request is under way; those that come wait for go(). One at a time.
    io::Task<> halt(Halt what);
    void go();
    /// While halted.
    std::unique_ptr<block::DiskImage>& image() { return image_; }

    /// Nothing is written to the image any more, and what was written has to be durable before a flush is answered.
    void owe(ChainLink& base) { owing_.push_back(&base); }
    /// Does that now, and lets others read what is settled. Errors: as flush(); it stays owed.
    io::Task<Result<>> settle();

  private:
    std::unique_ptr<block::DiskImage> image_;
    Traffic transfers_, flushes_;
    std::vector<ChainLink*> owing_;
    RangeLock settling_;
};

}  // namespace yado::storage
