#include "storage/live/hold_image.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace yado::storage {
namespace {

class HoldImage final : public block::DiskImage {
  public:
    HoldImage(std::unique_ptr<block::DiskImage> image, HeldRequests& held) : image_(std::move(image)), held_(held) {}

    Bytes size() const override { return image_->size(); }
    bool readonly() const override { return image_->readonly(); }
    std::string describe() const override { return image_->describe(); }

    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override {
        while (true) {
            Result<> done = co_await image_->readv(offset, into);
            const bool again = co_await mended(done);
            if (!again) co_return done;
        }
    }
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        while (true) {
            Result<> done = co_await image_->writev(offset, from);
            const bool again = co_await mended(done);
            if (!again) co_return done;
        }
    }
    io::Task<Result<>> flush() override {
        while (true) {
            Result<> done = co_await image_->flush();
            const bool again = co_await mended(done);
            if (!again) co_return done;
        }
    }
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) override {
        while (true) {
            Result<> done = co_await image_->write_zeroes(offset, length, unmap);
            const bool again = co_await mended(done);
            if (!again) co_return done;
        }
    }
    io::Task<Result<>> discard(Bytes offset, Bytes length) override {
        while (true) {
            Result<> done = co_await image_->discard(offset, length);
            const bool again = co_await mended(done);
            if (!again) co_return done;
        }
    }
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override { return image_->map(offset, length); }
    io::Task<Result<>> resize(Bytes size) override { return image_->resize(size); }
    io::Task<Result<>> close() override { return image_->close(); }

  private:
    /// True: issue the request again. Keeps it back until then.
    io::Task<bool> mended(const Result<>& done) {
        if (done || !can_be_mended(done.error())) co_return false;
        const bool lasting = done.error().lasting();
        if (lasting && std::exchange(lasting_told_, true)) co_return false;
        Error error = done.error();
        const HeldRequests::Then then = co_await held_.wait(std::move(error));
        co_return then == HeldRequests::Then::Retry && !lasting;
    }

    std::unique_ptr<block::DiskImage> image_;
    HeldRequests& held_;
    bool lasting_told_ = false;
};

}  // namespace

bool can_be_mended(const Error& error) {
    constexpr std::array kNumbers = {ENOSPC, EDQUOT, EFBIG, EIO};
    return std::ranges::find(kNumbers, error.number()) != kNumbers.end();
}

std::unique_ptr<block::DiskImage> hold_on_error(std::unique_ptr<block::DiskImage> image, HeldRequests& held) {
    return std::make_unique<HoldImage>(std::move(image), held);
}

}  // namespace yado::storage
