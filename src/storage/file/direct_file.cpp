#include "storage/file/direct_file.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>

#include "storage/aligned.h"
#include "storage/pieces.h"
#include "storage/range_lock.h"

#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x00002000U
#endif

namespace yado::storage {
namespace {

using io::or_return;

class DirectFile final : public ImageFile {
  public:
    DirectFile(std::unique_ptr<ImageFile> file, DirectAlignment alignment)
        : file_(std::move(file)), alignment_(alignment), size_(file_->size().value()) {}

    const std::string& name() const override { return file_->name(); }
    bool readonly() const override { return file_->readonly(); }
    Bytes size() const override { return Bytes(size_); }
    const char* carrier() const override { return file_->carrier(); }

    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override {
        const uint64_t start = offset.value(), length = total_of(into);
        if (start > size_ || length > size_ - start) co_return fail(ErrorKind::Failed, "disk {}: read: the file is shorter", name());
        if (fits(start, into)) co_return co_await file_->readv(offset, into);
        const uint64_t first = down(start), end = up(start + length);
        AlignedBuffer bounce(end - first, alignment_.memory);
        co_await or_return(co_await read_bytes(*file_, Bytes(first), bounce.bytes()));
        scatter(bounce.bytes().subspan(start - first, length), into);
        co_return Result<>{};
    }

    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        const uint64_t start = offset.value(), end = start + total_of(from);
        if (start == end) co_return Result<>{};
        const RangeLock::Held held = co_await lock_.take(blocks(start, end));
        if (fits(start, from)) {
            co_await or_return(co_await file_->writev(offset, from));
            size_ = std::max(size_, end);
            co_return Result<>{};
        }
        co_return co_await write_bounced(start, end, from);
    }

    io::Task<Result<>> sync() override { co_return co_await file_->sync(); }

    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, ZeroMode mode) override {
        const uint64_t start = offset.value(), end = start + length.value();
        const uint64_t first = std::min(up(start), end), last = std::max(down(end), first);
        co_await or_return(co_await zero_edge(start, first));
        if (first < last) {
            const RangeLock::Held held = co_await lock_.take(blocks(first, last));
            co_await or_return(co_await file_->write_zeroes(Bytes(first), Bytes(last - first), mode));
        }
        co_return co_await zero_edge(last, end);
    }
    io::Task<Result<>> discard(Bytes offset, Bytes length) override {
        const uint64_t first = up(offset.value()), last = down((offset + length).value());
        if (first >= last) co_return Result<>{};
        const RangeLock::Held held = co_await lock_.take(blocks(first, last));
        co_return co_await file_->discard(Bytes(first), Bytes(last - first));
    }
    io::Task<Result<>> resize(Bytes size) override {
        const RangeLock::Held held = co_await lock_.take({0, kEnd});
        co_await or_return(co_await file_->resize(size));
        size_ = size.value();
        co_return Result<>{};
    }
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override { co_return co_await file_->map(offset, length); }
    void end_writing() override { file_->end_writing(); }
    Result<> relock(LockUse use) override { return file_->relock(use); }
    void renamed(std::string name) override { file_->renamed(std::move(name)); }
    io::Task<Result<>> close() override { co_return co_await file_->close(); }

  private:
    static constexpr uint64_t kEnd = ~0ull;

    uint64_t down(uint64_t at) const { return at & ~(uint64_t{alignment_.offset} - 1); }
    uint64_t up(uint64_t at) const { return down(at + alignment_.offset - 1); }
    bool fits(uint64_t start, std::span<const iovec> pieces) const {
        if (start != down(start)) return false;
        for (const iovec& v : pieces)
            if (reinterpret_cast<uintptr_t>(v.iov_base) % alignment_.memory || v.iov_len != down(v.iov_len)) return false;
        return true;
    }
    /// Whoever may move the end of the file excludes all that is behind.
    RangeLock::Range blocks(uint64_t start, uint64_t end) const {
        const uint64_t last = up(end) > size_ ? kEnd : up(end) / alignment_.offset;
        return {start / alignment_.offset, last};
    }

    /// Under the lock.
    io::Task<Result<>> write_bounced(uint64_t start, uint64_t end, std::span<const iovec> from) {
        const uint64_t first = down(start), last = up(end);
        AlignedBuffer bounce(last - first, alignment_.memory);
        if (first < start) co_await or_return(co_await fetch(first, bounce.bytes().first(alignment_.offset)));
        const bool whole_tail = last == end || (first < start && last - first == alignment_.offset);
        if (!whole_tail) co_await or_return(co_await fetch(last - alignment_.offset, bounce.bytes().last(alignment_.offset)));
        gather(from, bounce.bytes().subspan(start - first, end - start));
        co_await or_return(co_await write_bytes(*file_, Bytes(first), bounce.bytes()));
        size_ = std::max(size_, end);
        if (last > size_) co_await or_return(co_await file_->resize(Bytes(size_)));
        co_return Result<>{};
    }
    io::Task<Result<>> fetch(uint64_t at, std::span<std::byte> block) {
        if (at >= size_) co_return Result<>{};  // the buffer is zeroes
        co_return co_await read_bytes(*file_, Bytes(at), block);
    }
    io::Task<Result<>> zero_edge(uint64_t start, uint64_t end) {
        if (start >= end) co_return Result<>{};
        const std::vector<std::byte> zeroes(end - start);  // less than two blocks
        co_return co_await write_bytes(*this, Bytes(start), zeroes);
    }

    std::unique_ptr<ImageFile> file_;
    const DirectAlignment alignment_;
    uint64_t size_;  // file_'s own may be rounded up while a write is in flight
    RangeLock lock_;
};

}  // namespace

Result<DirectAlignment> use_direct(int fd, const std::string& name) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
        return fail(ErrorKind::Failed, "disk {}: this file system has no O_DIRECT, which cache=none needs; use cache=writeback", name);
    struct statx st{};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) != 0 || !(st.stx_mask & STATX_DIOALIGN)) return DirectAlignment{};
    if (!std::has_single_bit(st.stx_dio_mem_align) || !std::has_single_bit(st.stx_dio_offset_align)) return DirectAlignment{};
    return DirectAlignment{st.stx_dio_mem_align, std::max<uint32_t>(512, st.stx_dio_offset_align)};
}

std::unique_ptr<ImageFile> make_direct_file(std::unique_ptr<ImageFile> file, DirectAlignment alignment) {
    return std::make_unique<DirectFile>(std::move(file), alignment);
}

}  // namespace yado::storage
