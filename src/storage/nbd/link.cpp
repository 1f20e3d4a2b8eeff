#include "storage/nbd/link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace yado::storage::nbd {
namespace {

/// What may be assumed of a server that does not say.
constexpr uint32_t kUsualPayload = 32 << 20;
/// A server whose blocks are larger is refused: each edge of a write would be read first.
constexpr int64_t kMostBlock = 1 << 20;

/// A host that is gone without a word is noticed within half a minute. Does nothing to a unix socket.
void notice_silence(int fd) {
    const int on = 1, idle = 10, interval = 5, probes = 3, unsent_ms = 30'000;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unsent_ms, sizeof unsent_ms);
}

std::string first_line(const char* text) {
    std::string line = text ? text : "";
    line.resize(std::min({line.find('\n'), line.size(), size_t{300}}));
    for (char& c : line)
        if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';  // a server may have worded it
    return line;
}

}  // namespace

io::Task<Result<std::shared_ptr<Link>>> Link::connect(io::Executor& executor, std::string uri, Nanoseconds patience) {
    std::shared_ptr<Link> link(new Link(executor, std::move(uri)));
    co_await io::or_return(link->begin());
    co_await io::or_return(co_await link->until_ready(patience));
    co_await io::or_return(link->learn_facts());
    co_return link;
}

Link::~Link() {
    *alive_ = false;
    watch_ = {};
    if (handle_) nbd_close(handle_);
}

// Where the last of a host's addresses has failed, libnbd is as it was before the first.
bool Link::dead() const { return nbd_aio_is_dead(handle_) == 1 || nbd_aio_is_closed(handle_) == 1 || nbd_aio_is_created(handle_) == 1; }

Result<> Link::begin() {
    handle_ = nbd_create();
    if (!handle_) return fail(ErrorKind::Failed, "disk {}: {}", uri_, first_line(nbd_get_error()));
    nbd_set_uri_allow_transports(handle_, LIBNBD_ALLOW_TRANSPORT_TCP | LIBNBD_ALLOW_TRANSPORT_UNIX);
    nbd_set_uri_allow_tls(handle_, LIBNBD_TLS_DISABLE);
    nbd_set_uri_allow_local_file(handle_, false);
    nbd_set_pread_initialize(handle_, false);
    nbd_add_meta_context(handle_, LIBNBD_CONTEXT_BASE_ALLOCATION);
    after_call(nbd_aio_connect_uri(handle_, uri_.c_str()));
    if (dead() && (last_errno_ == EINVAL || last_errno_ == EPERM || last_errno_ == ENOTSUP))
        return fail(ErrorKind::Usage, "disk {}: {}; write nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH", uri_, last_words_);
    return {};
}

io::Task<Result<>> Link::until_ready(Nanoseconds patience) {
    const auto timer = executor_.make_timer([this] {
        executor_.post([this, alive = alive_] {
            if (!*alive || !settled_) return;
            timed_out_ = true;
            std::exchange(settled_, nullptr)->complete(true);
        });
    });
    timer->arm(executor_.clock().now() + patience);
    while (nbd_aio_is_ready(handle_) != 1 && !dead() && !timed_out_) {
        io::Completion<bool> settled;
        settled_ = &settled;
        co_await settled;
    }
    connecting_ = false;
    if (nbd_aio_is_ready(handle_) != 1) co_return not_connected();
    watch_anew();
    notice_silence(nbd_aio_get_fd(handle_));
    co_return Result<>{};
}

std::unexpected<Error> Link::not_connected() const {
    if (timed_out_) return fail(ErrorKind::Unreachable, "disk {}: the server does not answer; look whether it runs and speaks NBD", uri_);
    const ErrorKind kind = last_errno_ == ENOENT ? ErrorKind::NotFound : ErrorKind::Unreachable;
    return fail(kind, "disk {}: cannot connect: {}; look whether the server runs, and for the export's name (nbdinfo --list)", uri_, last_words_);
}

Result<> Link::learn_facts() {
    const int64_t size = nbd_get_size(handle_);
    const int64_t least = std::max<int64_t>(nbd_get_block_size(handle_, LIBNBD_SIZE_MINIMUM), 1);
    const int64_t most = nbd_get_block_size(handle_, LIBNBD_SIZE_MAXIMUM);
    if (size < 0) return fail(ErrorKind::Failed, "disk {}: {}", uri_, first_line(nbd_get_error()));
    if (least > kMostBlock || !std::has_single_bit(static_cast<uint64_t>(least)))
        return fail(ErrorKind::Failed, "disk {}: the server wants blocks of {} bytes; at most 1M, a power of two, is possible", uri_, least);
    facts_.block = static_cast<uint32_t>(least);
    facts_.size = Bytes(static_cast<uint64_t>(size) / facts_.block * facts_.block);
    facts_.max_payload = most > 0 ? static_cast<uint32_t>(std::min<int64_t>(most, kUsualPayload)) : kUsualPayload;
    facts_.max_payload = std::max(facts_.max_payload / facts_.block, 1u) * facts_.block;
    facts_.readonly = nbd_is_read_only(handle_) == 1;
    facts_.flush = nbd_can_flush(handle_) == 1;
    facts_.trim = nbd_can_trim(handle_) == 1;
    facts_.zeroes = nbd_can_zero(handle_) == 1;
    facts_.block_status = nbd_can_meta_context(handle_, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
    return {};
}

/// Under libnbd's lock. 1: the command is forgotten there.
int Link::on_completed(void* user, int* error) {
    auto* const pending = static_cast<Pending*>(user);
    pending->error = *error;
    pending->link->done_.push_back(pending);
    return 1;
}

io::Task<int> Link::perform(const Issue& issue) {
    Pending pending{.link = this, .error = 0, .done = {}};
    nbd_completion_callback callback{};
    callback.callback = &Link::on_completed;
    callback.user_data = &pending;
    const int64_t cookie = issue(handle_, callback);
    const int number = cookie < 0 ? nbd_get_errno() : 0;
    after_call(cookie);
    if (cookie < 0) co_return number ? number : EIO;
    if (!done_.empty())
        executor_.post([this, alive = alive_] {
            if (*alive) drain();
        });
    co_return co_await pending.done;
}

void Link::on_event(uint32_t events) {
    const bool broken = events & (EPOLLHUP | EPOLLERR);
    int64_t result = 0;
    if ((events & EPOLLIN || broken) && nbd_aio_get_direction(handle_) & LIBNBD_AIO_DIRECTION_READ) result = nbd_aio_notify_read(handle_);
    if (result == 0 && (events & EPOLLOUT || broken) && nbd_aio_get_direction(handle_) & LIBNBD_AIO_DIRECTION_WRITE)
        result = nbd_aio_notify_write(handle_);
    after_call(result);
    drain();
}

/// libnbd may want another direction now, or have another descriptor, or be dead.
void Link::after_call(int64_t result) {
    if (result < 0) {
        last_words_ = first_line(nbd_get_error());
        last_errno_ = nbd_get_errno();
    }
    watch_anew();
    if (!settled_ || !(dead() || nbd_aio_is_ready(handle_) == 1)) return;
    executor_.post([this, alive = alive_] {
        if (*alive && settled_) std::exchange(settled_, nullptr)->complete(true);
    });
}

// While connecting, one address after the other may be tried, and a new socket has the number of the old one: it is added again.
void Link::watch_anew() {
    if (dead()) {
        watch_ = io::Executor::Watch();
        return;
    }
    const unsigned direction = nbd_aio_get_direction(handle_);
    const uint32_t events = (direction & LIBNBD_AIO_DIRECTION_READ ? uint32_t{EPOLLIN} : 0) |
                            (direction & LIBNBD_AIO_DIRECTION_WRITE ? uint32_t{EPOLLOUT} : 0);
    if (!connecting_ && watch_) {
        if (std::exchange(events_, events) != events) watch_.set_events(events);
        return;
    }
    events_ = events;
    watch_ = io::Executor::Watch();
    auto watched = executor_.watch(nbd_aio_get_fd(handle_), events, [this](uint32_t ready) { on_event(ready); });
    if (watched) watch_ = std::move(*watched);
}

/// Who is resumed may issue more, and may destroy the link.
void Link::drain() {
    const std::shared_ptr<bool> alive = alive_;
    while (*alive && !done_.empty()) {
        Pending* const pending = done_.front();
        done_.erase(done_.begin());
        pending->done.complete(pending->error);
    }
}

void Link::disconnect() {
    nbd_aio_disconnect(handle_, 0);
    watch_ = io::Executor::Watch();
}

}  // namespace yado::storage::nbd
