#include "storage/policy_image.h"

namespace yado::storage {
namespace {

using io::or_return;

class PolicyImage final : public block::DiskImage {
  public:
    PolicyImage(std::unique_ptr<block::DiskImage> image, ImagePolicy policy) : image_(std::move(image)), policy_(policy) {}

    Bytes size() const override { return image_->size(); }
    bool readonly() const override { return image_->readonly(); }
    std::string describe() const override { return image_->describe(); }

    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override { return image_->readv(offset, into); }
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        co_await or_return(co_await image_->writev(offset, from));
        co_return co_await written();
    }
    io::Task<Result<>> flush() override { return image_->flush(); }
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) override {
        co_await or_return(co_await image_->write_zeroes(offset, length, unmap && policy_.discard));
        co_return co_await written();
    }
    io::Task<Result<>> discard(Bytes offset, Bytes length) override {
        if (!policy_.discard) co_return Result<>{};
        co_await or_return(co_await image_->discard(offset, length));
        co_return co_await written();
    }
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override { return image_->map(offset, length); }
    io::Task<Result<>> resize(Bytes size) override { return image_->resize(size); }
    io::Task<Result<>> close() override { return image_->close(); }

  private:
    io::Task<Result<>> written() {
        if (policy_.flush_writes) co_return co_await image_->flush();
        co_return Result<>{};
    }

    std::unique_ptr<block::DiskImage> image_;
    const ImagePolicy policy_;
};

}  // namespace

std::unique_ptr<block::DiskImage> with_policy(std::unique_ptr<block::DiskImage> image, ImagePolicy policy) {
    if (!policy.flush_writes && policy.discard) return image;
    return std::make_unique<PolicyImage>(std::move(image), policy);
}

}  // namespace yado::storage
