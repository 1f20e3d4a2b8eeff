#include "storage/nbd/stream.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>

#include "storage/pieces.h"

namespace yado::storage::nbd {

using io::or_return;

Result<std::unique_ptr<Stream>> Stream::adopt(io::Executor& executor, Fd socket) {
    fcntl(socket.get(), F_SETFL, fcntl(socket.get(), F_GETFL) | O_NONBLOCK);
    std::unique_ptr<Stream> stream(new Stream(std::move(socket)));
    stream->watch_ = YADO_TRY(executor.watch(stream->socket_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                             [s = stream.get()](uint32_t events) { s->wake(events); }));
    return stream;
}

// Who is resumed does not destroy the stream: its owner does that from a posted function.
void Stream::wake(uint32_t events) {
    if (events & ~static_cast<uint32_t>(EPOLLOUT))
        if (const auto h = std::exchange(reader_, {})) h.resume();
    if (events & ~static_cast<uint32_t>(EPOLLIN | EPOLLRDHUP))
        if (const auto h = std::exchange(writer_, {})) h.resume();
}

io::Task<Result<size_t>> Stream::receive(std::span<std::byte> into) {
    while (true) {
        const ssize_t n = recv(socket_.get(), into.data(), into.size(), 0);
        if (n > 0) co_return static_cast<size_t>(n);
        if (n == 0) co_return fail(ErrorKind::Unreachable, "hung up");
        if (errno == EINTR) continue;
        if (errno != EAGAIN) co_return fail(ErrorKind::Unreachable, "{}", errno_error(errno, "connection").message());
        co_await Ready{reader_};
    }
}

io::Task<Result<>> Stream::read(std::span<std::byte> into) {
    while (!into.empty()) {
        if (begin_ == end_ && into.size() >= buffer_.size()) {
            into = into.subspan(co_await or_return(co_await receive(into)));
            continue;
        }
        if (begin_ == end_) {
            end_ = begin_ = 0;
            end_ = co_await or_return(co_await receive(buffer_));
        }
        const size_t n = std::min(into.size(), end_ - begin_);
        std::copy_n(buffer_.begin() + static_cast<ptrdiff_t>(begin_), n, into.begin());
        begin_ += n;
        into = into.subspan(n);
    }
    co_return Result<>{};
}

io::Task<Result<>> Stream::skip(uint64_t bytes) {
    std::array<std::byte, 4096> nowhere;
    while (bytes > 0) {
        const size_t n = std::min<uint64_t>(bytes, nowhere.size());
        co_await or_return(co_await read(std::span(nowhere).first(n)));
        bytes -= n;
    }
    co_return Result<>{};
}

io::Task<Result<>> Stream::write(std::span<const iovec> pieces) {
    Remaining left(pieces);
    while (!left.empty()) {
        const auto next = left.next();
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(next.data());
        message.msg_iovlen = next.size();
        const ssize_t n = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
        if (n >= 0) left.advance(static_cast<uint64_t>(n));
        else if (errno == EAGAIN) co_await Ready{writer_};
        else if (errno != EINTR) co_return fail(ErrorKind::Unreachable, "{}", errno_error(errno, "connection").message());
    }
    co_return Result<>{};
}

void Stream::cut() { shutdown(socket_.get(), SHUT_RDWR); }

}  // namespace yado::storage::nbd
