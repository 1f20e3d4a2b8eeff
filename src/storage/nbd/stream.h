// A connected socket for coroutines: one may read and one may write at a time. Executor's thread only.
#pragma once

#include <array>
#include <coroutine>
#include <memory>
#include <span>
#include <sys/uio.h>

#include "base/error.h"
#include "base/fd.h"
#include "io/executor.h"
#include "io/task.h"

namespace yado::storage::nbd {

class Stream {
  public:
    /// Takes the socket, which becomes non-blocking.
    static Result<std::unique_ptr<Stream>> adopt(io::Executor& executor, Fd socket);
    Stream(const Stream&) = delete;

    /// All of it. Errors: Unreachable (the peer hung up, or cut()).
    io::Task<Result<>> read(std::span<std::byte> into);
    /// Reads and forgets.
    io::Task<Result<>> skip(uint64_t bytes);
    /// Errors: as read().
    io::Task<Result<>> write(std::span<const iovec> pieces);
    /// Nothing comes or goes any more; whoever waits ends with an error, later.
    void cut();

  private:
    explicit Stream(Fd socket) : socket_(std::move(socket)) {}

    /// Suspends until the socket may be ready again: the watch is edge-triggered, so one always tries first.
    struct Ready {
        std::coroutine_handle<>& waiter;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> h) noexcept { waiter = h; }
        void await_resume() const noexcept {}
    };
    void wake(uint32_t events);
    io::Task<Result<size_t>> receive(std::span<std::byte> into);

    Fd socket_;
    std::coroutine_handle<> reader_, writer_;
    std::array<std::byte, 16384> buffer_;
    size_t begin_ = 0, end_ = 0;  // of what was received and not yet read
    io::Executor::Watch watch_;
};

}  // namespace yado::storage::nbd
