// How image files are read and written without blocking the executor: io_uring, or a few threads where the host refuses
// it. start() and completions run on the executor's thread.
//
// A request lives in the frame of the coroutine that awaits it, so nothing is allocated for it:
//     const FileOp op{...}; const int64_t n = co_await io.run(op);    // bytes, or -errno
#pragma once

#include <fcntl.h>
#include <sys/uio.h>

#include <coroutine>
#include <memory>
#include <span>

#include "base/error.h"
#include "io/executor.h"

namespace yado::storage {

struct FileOp {
    enum class Kind : uint8_t {
        Readv,
        Writev,
        DataSync,
        Fallocate,
        WriteOut,  ///< what the page cache holds of the file goes to the disk, and is waited for: sync_file_range(2)
    };
    Kind kind;
    int fd = -1;
    std::span<const iovec> pieces;  ///< at most IOV_MAX; valid until completion
    uint64_t offset = 0;
    uint64_t length = 0;            ///< Fallocate
    int mode = 0;                   ///< Fallocate: FALLOC_FL_*
};

inline constexpr unsigned kWriteOut = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

class AsyncIo {
  public:
    struct Request {
        FileOp op;
        int64_t result = 0;
        std::coroutine_handle<> waiter;
    };
    struct Awaiter {
        AsyncIo& io;
        Request request;
        bool await_ready() const noexcept { return false; }
        bool await_suspend(std::coroutine_handle<> h) {
            request.waiter = h;
            return !io.start(request);
        }
        int64_t await_resume() const noexcept { return request.result; }
    };

    virtual ~AsyncIo() = default;
    Awaiter run(const FileOp& op) { return {*this, {op, 0, {}}}; }
    virtual const char* name() const = 0;

  protected:
    /// Begins a request. True: its result is there already and nobody will resume the waiter.
    virtual bool start(Request& request) = 0;
};

enum class AioMode : uint8_t { Auto, IoUring, Threads };
/// "auto", "io_uring" or "threads". Errors: Usage.
Result<AioMode> parse_aio(std::string_view text);

/// Errors: Failed (IoUring was asked for and the host refuses it).
Result<std::unique_ptr<AsyncIo>> make_async_io(io::Executor& executor, AioMode mode);

namespace detail {
Result<std::unique_ptr<AsyncIo>> make_uring_io(io::Executor& executor);
std::unique_ptr<AsyncIo> make_thread_io(io::Executor& executor);
}  // namespace detail

}  // namespace yado::storage
