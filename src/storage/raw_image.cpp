#include "storage/raw_image.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "base/failpoint.h"
#include "io/gate.h"
#include "storage/image_lock.h"

namespace yado::storage {
namespace {

using io::or_return;
using Kind = FileOp::Kind;

/// What is left of a scatter list; copies it only if a transfer ends in the middle of a piece.
class Remaining {
  public:
    explicit Remaining(std::span<const iovec> all) : left_(all) {}
    bool empty() const { return left_.empty(); }
    std::span<const iovec> next() const { return left_.first(std::min<size_t>(left_.size(), IOV_MAX)); }
    void advance(uint64_t n) {
        while (!left_.empty() && n >= left_.front().iov_len) {
            n -= left_.front().iov_len;
            left_ = left_.subspan(1);
        }
        if (n == 0) return;
        std::vector<iovec> rest(left_.begin(), left_.end());
        rest.front().iov_base = static_cast<char*>(rest.front().iov_base) + n;
        rest.front().iov_len -= n;
        copy_ = std::move(rest);
        left_ = copy_;
    }

  private:
    std::span<const iovec> left_;
    std::vector<iovec> copy_;
};

uint64_t total_of(std::span<const iovec> pieces) {
    uint64_t sum = 0;
    for (const iovec& v : pieces) sum += v.iov_len;
    return sum;
}

constexpr size_t kZeroBytes = 64 << 10;
alignas(4096) const std::byte kZeroes[kZeroBytes] = {};

class RawImage final : public block::DiskImage {
  public:
    RawImage(Fd fd, std::string name, Bytes size, bool readonly, std::unique_ptr<AsyncIo> io)
        : fd_(std::move(fd)), name_(std::move(name)), size_(size), readonly_(readonly), io_(std::move(io)) {}

    Bytes size() const override { return size_; }
    bool readonly() const override { return readonly_; }
    std::string describe() const override {
        return fmt::format("raw {}{} ({})", name_, readonly_ ? ", read-only" : "", io_->name());
    }

    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override {
        if (auto e = YADO_FAILPOINT("storage.read")) co_return std::unexpected(*e);
        co_return co_await transfer(Kind::Readv, offset, into);
    }

    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        if (auto e = YADO_FAILPOINT("storage.write")) co_return std::unexpected(*e);
        if (readonly_) co_return denied();
        co_return co_await transfer(Kind::Writev, offset, from);
    }

    // After a failed fsync the kernel forgets which data was lost, so every later one fails too.
    io::Task<Result<>> flush() override {
        const auto pass = co_await or_return(gate_.enter());
        if (readonly_) co_return Result<>{};
        if (auto e = YADO_FAILPOINT("storage.flush")) flush_error_ = *e;
        if (flush_error_) co_return std::unexpected(*flush_error_);
        const FileOp op{.kind = Kind::DataSync, .fd = fd_.get()};
        const int64_t n = co_await io_->run(op);
        if (n < 0) flush_error_ = error(n, "flush");
        if (flush_error_) co_return std::unexpected(*flush_error_);
        co_return Result<>{};
    }

    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) override {
        if (readonly_) co_return denied();
        if (!inside(offset, length)) co_return outside(offset, length);
        const auto pass = co_await or_return(gate_.enter());
        const int mode = unmap ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
        bool& refused = unmap ? no_punch_ : no_zero_range_;
        if (!refused && length.value() > 0) {
            const FileOp op{.kind = Kind::Fallocate, .fd = fd_.get(), .offset = offset.value(), .length = length.value(), .mode = mode};
            const int64_t n = co_await io_->run(op);
            if (n >= 0) co_return Result<>{};
            if (n != -EOPNOTSUPP && n != -ENOSYS) co_return std::unexpected(error(n, "write zeroes"));
            refused = true;
        }
        co_return co_await write_zero_bytes(offset, length);
    }

    io::Task<Result<>> discard(Bytes offset, Bytes length) override {
        if (readonly_) co_return denied();
        if (!inside(offset, length)) co_return outside(offset, length);
        const auto pass = co_await or_return(gate_.enter());
        if (no_punch_ || length.value() == 0) co_return Result<>{};
        const FileOp op{.kind = Kind::Fallocate, .fd = fd_.get(), .offset = offset.value(), .length = length.value(),
                        .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
        const int64_t n = co_await io_->run(op);
        if (n == -EOPNOTSUPP || n == -ENOSYS) no_punch_ = true;
        if (n < 0 && !no_punch_) co_return std::unexpected(error(n, "discard"));
        co_return Result<>{};
    }

    io::Task<Result<>> close() override {
        if (!fd_) co_return Result<>{};
        auto flushed = co_await flush();
        co_await gate_.close();
        io_.reset(new ClosedIo);
        fd_.reset();
        co_return flushed;
    }

  private:
    struct ClosedIo final : AsyncIo {
        const char* name() const override { return "closed"; }
        bool start(Request& request) override {
            request.result = -EBADF;
            return true;
        }
    };

    bool inside(Bytes offset, Bytes length) const {
        return offset <= size_ && length <= size_ - offset;
    }
    std::unexpected<Error> outside(Bytes offset, Bytes length) const {
        return fail(ErrorKind::OutOfRange, "disk {}: {} bytes at {} lie outside it", name_, length.value(), offset.value());
    }
    std::unexpected<Error> denied() const { return fail(ErrorKind::Denied, "disk {}: read-only", name_); }
    Error error(int64_t n, const char* what) const {
        return errno_error(static_cast<int>(-n), fmt::format("disk {}: {}", name_, what));
    }

    io::Task<Result<>> transfer(Kind kind, Bytes offset, std::span<const iovec> pieces) {
        const Bytes length(total_of(pieces));
        if (!inside(offset, length)) co_return outside(offset, length);
        const auto pass = co_await or_return(gate_.enter());
        co_return co_await transfer_all(kind, offset, pieces);
    }

    io::Task<Result<>> transfer_all(Kind kind, Bytes offset, std::span<const iovec> pieces) {
        const char* what = kind == Kind::Readv ? "read" : "write";
        Remaining left(pieces);
        uint64_t at = offset.value();
        while (!left.empty()) {
            const FileOp op{.kind = kind, .fd = fd_.get(), .pieces = left.next(), .offset = at};
            const bool nothing = total_of(op.pieces) == 0;
            const int64_t n = nothing ? 0 : co_await io_->run(op);
            if (n == -EINTR || n == -EAGAIN) continue;
            if (n < 0) co_return std::unexpected(error(n, what));
            if (n == 0 && !nothing) co_return fail(ErrorKind::Failed, "disk {}: {}: the file became shorter", name_, what);
            at += static_cast<uint64_t>(n);
            left.advance(static_cast<uint64_t>(n));
        }
        co_return Result<>{};
    }

    io::Task<Result<>> write_zero_bytes(Bytes offset, Bytes length) {
        uint64_t done = 0;
        while (done < length.value()) {
            std::vector<iovec> pieces;
            uint64_t batch = 0;
            while (pieces.size() < 16 && done + batch < length.value()) {
                const uint64_t n = std::min<uint64_t>(kZeroBytes, length.value() - done - batch);
                pieces.push_back({const_cast<std::byte*>(kZeroes), n});
                batch += n;
            }
            co_await or_return(co_await transfer_all(Kind::Writev, offset + Bytes(done), pieces));
            done += batch;
        }
        co_return Result<>{};
    }

    Fd fd_;
    const std::string name_;
    const Bytes size_;
    const bool readonly_;
    std::unique_ptr<AsyncIo> io_;
    io::Gate gate_;
    std::optional<Error> flush_error_;
    bool no_punch_ = false, no_zero_range_ = false;
};

Result<Bytes> size_of(int fd, const std::string& name) {
    struct stat st{};
    if (fstat(fd, &st) < 0) return fail_errno(fmt::format("disk {}", name));
    uint64_t size = static_cast<uint64_t>(st.st_size);
    if (S_ISDIR(st.st_mode)) return fail(ErrorKind::Failed, "disk {}: is a directory; give an image file or a block device", name);
    if (S_ISBLK(st.st_mode)) {
        if (ioctl(fd, BLKGETSIZE64, &size) < 0) return fail_errno(fmt::format("disk {}: size", name));
    } else if (!S_ISREG(st.st_mode)) {
        return fail(ErrorKind::Failed, "disk {}: neither a file nor a block device", name);
    }
    if (size == 0) return fail(ErrorKind::Failed, "disk {}: empty; make it with `truncate -s 8G {}`", name, name);
    if (size % 512)
        return fail(ErrorKind::Failed, "disk {}: {} bytes is not a multiple of 512; a raw image is whole sectors (is it another format?)",
                    name, size);
    return Bytes(size);
}

std::unexpected<Error> open_failed(const RawConfig& config) {
    const int number = errno;
    const char* remedy = "";
    if (number == EACCES || number == EPERM || number == EROFS)
        remedy = config.readonly ? " (needs read access)" : " (needs write access; or use readonly=on or snapshot=on)";
    if (number == EISDIR) return fail(ErrorKind::Failed, "disk {}: is a directory; give an image file or a block device", config.path);
    const Error e = errno_error(number, fmt::format("disk {}", config.path));
    return std::unexpected(Error(number == EROFS ? ErrorKind::Denied : e.kind(), e.message() + remedy));
}

}  // namespace

Result<std::unique_ptr<block::DiskImage>> adopt_raw(io::Executor& executor, Fd fd, const RawConfig& config) {
    const Bytes size = YADO_TRY(size_of(fd.get(), config.path));
    YADO_TRY(lock_image(fd.get(), config.readonly ? LockUse::Read : LockUse::Write, config.path));
    auto io = YADO_TRY(make_async_io(executor, config.aio));
    return std::make_unique<RawImage>(std::move(fd), config.path, size, config.readonly, std::move(io));
}

Result<std::unique_ptr<block::DiskImage>> open_raw(io::Executor& executor, const RawConfig& config) {
    // O_NONBLOCK: a FIFO must not hang us. It goes before the first request, since io_uring would heed it on a file.
    const int flags = (config.readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
    Fd fd(::open(config.path.c_str(), flags));
    if (!fd) return open_failed(config);
    fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK);
    return adopt_raw(executor, std::move(fd), config);
}

Result<std::unique_ptr<block::DiskImage>> adopt_scratch(io::Executor& executor, Fd fd, Bytes size, AioMode aio) {
    if (ftruncate(fd.get(), static_cast<off_t>(size.value())) < 0) return fail_errno("scratch file: size");
    auto io = YADO_TRY(make_async_io(executor, aio));
    return std::make_unique<RawImage>(std::move(fd), "scratch", size, false, std::move(io));
}

}  // namespace yado::storage
