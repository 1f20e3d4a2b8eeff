#include "storage/file/host_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <vector>

#include "base/failpoint.h"
#include "io/gate.h"
#include "storage/file/direct_file.h"
#include "storage/file/image_lock.h"
#include "storage/pieces.h"

namespace yado::storage {
namespace {

using io::or_return;
using Kind = FileOp::Kind;

constexpr uint64_t kZeroesAtOnce = 1 << 20;

class HostFile final : public ImageFile {
  public:
    HostFile(Fd fd, const HostFileConfig& config, Bytes size, std::unique_ptr<AsyncIo> io)
        : fd_(std::move(fd)), name_(config.path), size_(size), readonly_(config.readonly), direct_(config.direct),
          ignore_sync_(config.ignore_sync), io_(std::move(io)) {}

    const std::string& name() const override { return name_; }
    bool readonly() const override { return readonly_; }
    Bytes size() const override { return size_; }
    const char* carrier() const override { return io_->name(); }

    io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) override {
        if (auto e = YADO_FAILPOINT("storage.read")) co_return std::unexpected(*e);
        const auto pass = co_await or_return(gate_.enter());
        co_return co_await transfer(Kind::Readv, offset, into);
    }

    io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) override {
        if (auto e = YADO_FAILPOINT("storage.write")) co_return std::unexpected(*e);
        if (readonly_) co_return denied();
        const auto pass = co_await or_return(gate_.enter());
        co_await or_return(co_await transfer(Kind::Writev, offset, from));
        size_ = std::max(size_, offset + Bytes(total_of(from)));
        co_return Result<>{};
    }

    // After a failed fsync the kernel forgets which data was lost, so every later one fails too.
    io::Task<Result<>> sync() override {
        const auto pass = co_await or_return(gate_.enter());
        if (readonly_ || ignore_sync_) co_return Result<>{};
        if (auto e = YADO_FAILPOINT("storage.flush")) sync_error_ = e->made_lasting();
        if (sync_error_) co_return std::unexpected(*sync_error_);
        const FileOp op{.kind = Kind::DataSync, .fd = fd_.get()};
        const int64_t n = co_await io_->run(op);
        if (n < 0) sync_error_ = error(n, "flush").made_lasting();
        if (sync_error_) co_return std::unexpected(*sync_error_);
        co_return Result<>{};
    }

    // The kernel tells of a failed write-back once: whoever hears of it keeps it for sync().
    io::Task<Result<>> write_out() override {
        const auto pass = co_await or_return(gate_.enter());
        if (readonly_ || direct_) co_return Result<>{};
        if (sync_error_) co_return std::unexpected(*sync_error_);
        const FileOp op{.kind = Kind::WriteOut, .fd = fd_.get()};
        const int64_t n = co_await io_->run(op);
        if (n < 0) sync_error_ = error(n, "write back").made_lasting();
        if (n < 0) co_return std::unexpected(*sync_error_);
        co_return Result<>{};
    }

    io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, ZeroMode mode) override {
        if (readonly_) co_return denied();
        const auto pass = co_await or_return(gate_.enter());
        const bool free = mode == ZeroMode::FreeSpace;
        bool& refused = free ? no_punch_ : no_zero_range_;
        if (!refused && length.value() > 0) {
            const int64_t n = co_await allocate(offset, length, free ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
            if (n >= 0) co_return Result<>{};
            if (n != -EOPNOTSUPP && n != -ENOSYS) co_return std::unexpected(error(n, "write zeroes"));
            refused = true;
        }
        co_return co_await write_zero_bytes(offset, length);
    }

    io::Task<Result<>> discard(Bytes offset, Bytes length) override {
        if (readonly_) co_return denied();
        const auto pass = co_await or_return(gate_.enter());
        if (no_punch_ || length.value() == 0) co_return Result<>{};
        const int64_t n = co_await allocate(offset, length, FALLOC_FL_PUNCH_HOLE);
        if (n == -EOPNOTSUPP || n == -ENOSYS) no_punch_ = true;
        if (n < 0 && !no_punch_) co_return std::unexpected(error(n, "discard"));
        co_return Result<>{};
    }

    io::Task<Result<>> resize(Bytes size) override {
        if (auto e = YADO_FAILPOINT("storage.resize")) co_return std::unexpected(*e);
        if (readonly_) co_return denied();
        const auto pass = co_await or_return(gate_.enter());
        if (ftruncate(fd_.get(), static_cast<off_t>(size.value())) < 0) co_return std::unexpected(error(-errno, "resize"));
        size_ = size;
        co_return Result<>{};
    }

    // A file system that knows no holes answers that all is data; a block device, too.
    io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) override {
        const auto pass = co_await or_return(gate_.enter());
        const auto at = static_cast<off_t>(offset.value()), end = static_cast<off_t>((offset + length).value());
        const off_t data = lseek(fd_.get(), at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) co_return block::Extent{block::Extent::Kind::Zero, length};
        if (data > at) co_return block::Extent{block::Extent::Kind::Zero, Bytes(static_cast<uint64_t>(std::min(data, end) - at))};
        const off_t hole = data < 0 ? end : lseek(fd_.get(), at, SEEK_HOLE);
        co_return block::Extent{block::Extent::Kind::Data, hole > at ? Bytes(static_cast<uint64_t>(std::min(hole, end) - at)) : length};
    }

    void end_writing() override { readonly_ = true; }
    Result<> relock(LockUse use) override { return relock_image(fd_.get(), use, name_); }

    void renamed(std::string name) override { name_ = std::move(name); }

    io::Task<Result<>> close() override {
        if (!fd_) co_return Result<>{};
        ignore_sync_ = false;
        auto synced = co_await sync();
        co_await gate_.close();
        io_.reset(new ClosedIo);
        fd_.reset();
        co_return synced;
    }

  private:
    struct ClosedIo final : AsyncIo {
        const char* name() const override { return "closed"; }
        bool start(Request& request) override {
            request.result = -EBADF;
            return true;
        }
    };

    std::unexpected<Error> denied() const { return fail(ErrorKind::Denied, "disk {}: read-only", name_); }
    Error error(int64_t n, const char* what) const {
        return errno_error(static_cast<int>(-n), fmt::format("disk {}: {}", name_, what));
    }

    AsyncIo::Awaiter allocate(Bytes offset, Bytes length, int mode) {
        return io_->run({.kind = Kind::Fallocate, .fd = fd_.get(), .offset = offset.value(), .length = length.value(),
                         .mode = mode | FALLOC_FL_KEEP_SIZE});
    }

    io::Task<Result<>> transfer(Kind kind, Bytes offset, std::span<const iovec> pieces) {
        const char* what = kind == Kind::Readv ? "read" : "write";
        Remaining left(pieces);
        uint64_t at = offset.value();
        while (!left.empty()) {
            const FileOp op{.kind = kind, .fd = fd_.get(), .pieces = left.next(), .offset = at};
            const bool nothing = total_of(op.pieces) == 0;
            const int64_t n = nothing ? 0 : co_await io_->run(op);
            if (n == -EINTR || n == -EAGAIN) continue;
            if (n < 0) co_return std::unexpected(error(n, what));
            const bool at_end = direct_ && kind == Kind::Readv && at + static_cast<uint64_t>(n) >= size_.value();
            if (n == 0 && !nothing && !at_end) co_return fail(ErrorKind::Failed, "disk {}: {}: the file became shorter", name_, what);
            at += static_cast<uint64_t>(n);
            left.advance(static_cast<uint64_t>(n));
            if (at_end && !left.empty()) co_return end_in_zeroes(left.rest());
        }
        co_return Result<>{};
    }
    // An aligned read may reach beyond the end of a file that is not a whole number of blocks.
    static Result<> end_in_zeroes(std::span<const iovec> rest) {
        fill_zeroes(rest);
        return {};
    }

    io::Task<Result<>> write_zero_bytes(Bytes offset, Bytes length) {
        for (uint64_t done = 0; done < length.value();) {
            const uint64_t batch = std::min(kZeroesAtOnce, length.value() - done);
            const std::vector<iovec> pieces = zero_pieces(batch);
            co_await or_return(co_await transfer(Kind::Writev, offset + Bytes(done), pieces));
            done += batch;
        }
        co_return Result<>{};
    }

    Fd fd_;
    std::string name_;
    Bytes size_;
    bool readonly_;
    const bool direct_;
    bool ignore_sync_;
    std::unique_ptr<AsyncIo> io_;
    io::Gate gate_;
    std::optional<Error> sync_error_;
    bool no_punch_ = false, no_zero_range_ = false;
};

std::unexpected<Error> is_directory(const std::string& name) {
    return fail(ErrorKind::Failed, "disk {}: is a directory; give an image file or a block device", name);
}

Result<Bytes> size_of(int fd, const std::string& name) {
    struct stat st{};
    if (fstat(fd, &st) < 0) return fail_errno(fmt::format("disk {}", name));
    if (S_ISDIR(st.st_mode)) return is_directory(name);
    if (S_ISREG(st.st_mode)) return Bytes(static_cast<uint64_t>(st.st_size));
    if (!S_ISBLK(st.st_mode)) return fail(ErrorKind::Failed, "disk {}: neither a file nor a block device", name);
    uint64_t size = 0;
    if (ioctl(fd, BLKGETSIZE64, &size) < 0) return fail_errno(fmt::format("disk {}: size", name));
    return Bytes(size);
}

std::unexpected<Error> open_failed(const HostFileConfig& config) {
    const int number = errno;
    const char* remedy = "";
    if (number == EACCES || number == EPERM || number == EROFS)
        remedy = config.readonly ? " (needs read access)" : " (needs write access; or use readonly=on or snapshot=on)";
    if (number == EISDIR) return is_directory(config.path);
    const Error e = errno_error(number, fmt::format("disk {}", config.path));
    return std::unexpected(Error(number == EROFS ? ErrorKind::Denied : e.kind(), e.message() + remedy));
}

}  // namespace

Result<std::unique_ptr<ImageFile>> adopt_host_file(io::Executor& executor, Fd fd, const HostFileConfig& config) {
    const Bytes size = YADO_TRY(size_of(fd.get(), config.path));
    YADO_TRY(lock_image(fd.get(), config.readonly ? LockUse::Read : LockUse::Write, config.path));
    DirectAlignment alignment;
    if (config.direct) alignment = YADO_TRY(use_direct(fd.get(), config.path));
    auto io = YADO_TRY(make_async_io(executor, config.aio));
    auto file = std::make_unique<HostFile>(std::move(fd), config, size, std::move(io));
    if (!config.direct) return file;
    return make_direct_file(std::move(file), alignment);
}

Result<Fd> open_host_fd(const HostFileConfig& config) {
    // O_NONBLOCK: a FIFO must not hang us. It goes before the first request, since io_uring would heed it on a file.
    const int flags = (config.readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK;
    Fd fd(::open(config.path.c_str(), flags));
    if (!fd) return open_failed(config);
    fcntl(fd.get(), F_SETFL, flags & ~O_NONBLOCK);
    return fd;
}

Result<std::unique_ptr<ImageFile>> open_host_file(io::Executor& executor, const HostFileConfig& config) {
    return adopt_host_file(executor, YADO_TRY(open_host_fd(config)), config);
}

Result<std::unique_ptr<ImageFile>> create_host_file(io::Executor& executor, const HostFileConfig& config) {
    Fd fd(::open(config.path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!fd && errno == EEXIST)
        return fail(ErrorKind::Conflict, "disk {}: exists already; choose another name or remove it first", config.path);
    if (!fd) return fail_errno(fmt::format("disk {}: create", config.path));
    return adopt_host_file(executor, std::move(fd), config);
}

Result<std::unique_ptr<ImageFile>> adopt_scratch_file(io::Executor& executor, Fd fd, Bytes size, AioMode aio) {
    if (ftruncate(fd.get(), static_cast<off_t>(size.value())) < 0) return fail_errno("scratch file: size");
    auto io = YADO_TRY(make_async_io(executor, aio));
    return std::make_unique<HostFile>(std::move(fd), HostFileConfig{.path = "scratch"}, size, std::move(io));
}

}  // namespace yado::storage
