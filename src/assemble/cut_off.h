// A disk's image as long as its cable is in: afterwards every request fails, and the image below is its owner's alone once those in
// flight have ended. A driver then sees its requests fail before the device goes, and has none left that nobody would answer.
// Executor's thread.
#pragma once

#include <cerrno>

#include "block/disk_image.h"
#include "io/task.h"

namespace yado::assemble {

class CutOff final : public block::DiskImage {
  public:
    /// `image` outlives the last request.
    explicit CutOff(block::DiskImage& image) : image_(image) {}

    void cut() { cut_ = true; }
    struct Activity {
        uint64_t asked = 0;      ///< requests ever
        uint64_t in_flight = 0;
        friend bool operator==(const Activity&, const Activity&) = default;
    };
    Activity activity() const { return activity_; }

    Bytes size() const override { return image_.size(); }
    bool readonly() const override { return image_.readonly(); }
    std::string describe() const override { return image_.describe(); }
    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override { return pass(image_.readv(offset, into)); }
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override { return pass(image_.writev(offset, from)); }
    io::Task<Result<>> flush() override { return pass(image_.flush()); }
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) override { return pass(image_.write_zeroes(offset, length, unmap)); }
    io::Task<Result<>> discard(Bytes offset, Bytes length) override { return pass(image_.discard(offset, length)); }
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override { return image_.map(offset, length); }
    io::Task<Result<>> resize(Bytes size) override { return image_.resize(size); }
    io::Task<Result<>> close() override { return image_.close(); }

  private:
    /// A task that has not begun does nothing when it is dropped.
    io::Task<Result<>> pass(io::Task<Result<>> request) {
        ++activity_.asked;
        if (cut_) co_return std::unexpected(errno_error(EIO, "pulled out"));
        ++activity_.in_flight;
        Result<> done = co_await std::move(request);
        --activity_.in_flight;
        co_return done;
    }

    block::DiskImage& image_;
    bool cut_ = false;
    Activity activity_;
};

}  // namespace yado::assemble
