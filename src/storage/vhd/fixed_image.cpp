#include "storage/shown.h"
#include "storage/pieces.h"
#include "storage/vhd/images.h"

namespace yado::storage::vhd {
namespace {

using io::or_return;

class FixedImage final : public block::DiskImage, public ChainLink {
  public:
    FixedImage(std::unique_ptr<ImageFile> file, Layout layout) : file_(std::move(file)), footer_(layout.footer), size_(layout.size) {}

    Bytes size() const override { return size_; }
    bool readonly() const override { return file_->readonly(); }
    std::string describe() const override {
        return fmt::format("vhd fixed {}{} ({})", file_->name(), readonly() ? ", read-only" : "", file_->carrier());
    }
    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override {
        co_await or_return(check_inside(*file_, offset, Bytes(total_of(into)), size_));
        co_return co_await file_->readv(offset, into);
    }
    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        co_await or_return(check_inside(*file_, offset, Bytes(total_of(from)), size_));
        co_return co_await file_->writev(offset, from);
    }
    io::Task<Result<>> flush() override { co_return co_await file_->sync(); }
    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) override {
        co_await or_return(check_inside(*file_, offset, length, size_));
        co_return co_await file_->write_zeroes(offset, length, unmap ? ZeroMode::FreeSpace : ZeroMode::KeepSpace);
    }
    io::Task<Result<>> discard(Bytes offset, Bytes length) override {
        co_await or_return(check_inside(*file_, offset, length, size_));
        co_return co_await file_->discard(offset, length);
    }
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override { co_return co_await file_->map(offset, length); }
    io::Task<Result<>> resize(Bytes size) override;
    io::Task<Result<>> close() override { co_return co_await file_->close(); }

    // ChainLink
    ImageFile& file() override { return *file_; }
    std::unique_ptr<block::DiskImage>& below() override { return none_; }
    io::Task<Result<>> settle() override { co_return co_await file_->sync(); }

  private:
    std::unique_ptr<block::DiskImage> none_;
    std::unique_ptr<ImageFile> file_;
    Footer footer_;
    Bytes size_;
};

// The new footer is durable before the old one goes. A crash in between leaves a disk of the new size (larger: with the old footer
// where zeroes should be), or of the old one (smaller: without what was to be cut off).
io::Task<Result<>> FixedImage::resize(Bytes size) {
    if (size == size_) co_return Result<>{};
    if (size.value() == 0 || size.value() % kSector || size.value() > kMostBytes)
        co_return fail(ErrorKind::Usage, "disk {}: {} bytes: a VHD has a multiple of 512, and at most 2040 GiB", file_->name(), size.value());
    Footer footer = footer_;
    footer.set_size(size.value());
    const Bytes old = size_;
    co_await or_return(co_await write_bytes(*file_, size, footer.raw));
    co_await or_return(co_await file_->sync());
    if (size > old) co_await or_return(co_await file_->write_zeroes(old, std::min(Bytes(kFooterSize), size - old), ZeroMode::KeepSpace));
    else co_await or_return(co_await file_->resize(size + Bytes(kFooterSize)));
    footer_ = footer;
    size_ = size;
    co_return co_await file_->sync();
}

}  // namespace

std::unique_ptr<block::DiskImage> make_fixed(std::unique_ptr<ImageFile> file, Layout layout) {
    return std::make_unique<FixedImage>(std::move(file), std::move(layout));
}

}  // namespace yado::storage::vhd
