#include "storage/raw/raw_image.h"

#include "storage/pieces.h"
#include "storage/shown.h"

namespace yado::storage {
namespace {

using io::or_return;

Result<> check_size(const ImageFile& file) {
    const uint64_t size = file.size().value();
    const std::string& name = file.name();
    if (size == 0) return fail(ErrorKind::Failed, "disk {}: empty; make it with `yado disk create {} --size 8G`", name, name);
    if (size % 512)
        return fail(ErrorKind::Failed, "disk {}: {} bytes is not a multiple of 512; a raw image is whole sectors (is it another format?)",
                    name, size);
    return {};
}

class RawImage final : public block::DiskImage, public ChainLink {
  public:
    explicit RawImage(std::unique_ptr<ImageFile> file) : file_(std::move(file)), size_(file_->size()) {}

    Bytes size() const override { return size_; }
    bool readonly() const override { return file_->readonly(); }
    std::string describe() const override {
        return fmt::format("raw {}{} ({})", file_->name(), readonly() ? ", read-only" : "", file_->carrier());
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
    io::Task<Result<>> resize(Bytes size) override {
        auto resized = co_await file_->resize(size);
        if (resized) size_ = size;
        co_return resized;
    }
    io::Task<Result<>> close() override { co_return co_await file_->close(); }

    // ChainLink
    ImageFile& file() override { return *file_; }
    std::unique_ptr<block::DiskImage>& below() override { return none_; }
    io::Task<Result<>> settle() override { co_return co_await file_->sync(); }

  private:
    std::unique_ptr<block::DiskImage> none_;
    std::unique_ptr<ImageFile> file_;
    Bytes size_;
};

/// Bytes without a header: nothing to check but the size.
class RawFormat final : public Format {
  public:
    std::string_view name() const override { return "raw"; }

    io::Task<Result<>> create(ImageFile& file, const CreateOptions& options) const override {
        if (options.parent) co_return fail(ErrorKind::Usage, "disk {}: a raw image cannot be a clone; use qcow2 or vhd", file.name());
        if (options.size.value() == 0 || options.size.value() % 512)
            co_return fail(ErrorKind::Usage, "disk {}: size {}: must be a multiple of 512, and not 0", file.name(), options.size.value());
        co_await or_return(co_await file.resize(options.size));
        if (options.preallocated) co_await or_return(co_await file.write_zeroes(Bytes(0), options.size, ZeroMode::KeepSpace));
        co_return co_await file.sync();
    }
    io::Task<Result<ImageInfo>> info(ImageFile& file) const override {
        co_await or_return(check_size(file));
        co_return ImageInfo{.format = "raw", .variant = {}, .size = file.size()};
    }
    io::Task<Result<CheckReport>> check(ImageFile& file, Repair) const override {
        co_await or_return(check_size(file));
        co_return CheckReport{};
    }

  private:
    io::Task<Result<std::unique_ptr<block::DiskImage>>> do_open(std::unique_ptr<ImageFile>& file, OpenOptions& options) const override {
        if (options.backing) co_return fail(ErrorKind::Usage, "disk {}: a raw image has nothing below it", file->name());
        co_await or_return(check_size(*file));
        co_return open_raw(std::move(file));
    }
};

}  // namespace

const Format& raw_format() {
    static const RawFormat format;
    return format;
}

Result<std::unique_ptr<block::DiskImage>> open_raw(std::unique_ptr<ImageFile> file) {
    YADO_TRY(check_size(*file));
    return std::make_unique<RawImage>(std::move(file));
}

}  // namespace yado::storage
