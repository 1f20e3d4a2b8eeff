#include "storage/nbd/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/log.h"

namespace yado::storage::nbd {

Server::Server(io::Executor& executor, Fd listener, Served served, std::function<void()> left)
    : executor_(executor), listener_(std::move(listener)), served_(std::move(served)), left_(std::move(left)) {}

Server::~Server() { YADO_CHECK(closed_ && connections_.empty()); }

Result<std::unique_ptr<Server>> Server::start(io::Executor& executor, Fd listener, Served served, std::function<void()> left) {
    std::unique_ptr<Server> server(new Server(executor, std::move(listener), std::move(served), std::move(left)));
    if (!server->listener_) return server;
    const auto watched = server->watch_listener();
    if (watched) return server;
    server->closed_ = true;
    return std::unexpected(watched.error());
}

Result<> Server::watch_listener() {
    watch_ = YADO_TRY(executor_.watch(listener_.get(), EPOLLIN, [this](uint32_t) { accept_all(); }));
    pause_ = executor_.make_timer([this] { watch_.set_events(EPOLLIN); });
    return {};
}

void Server::accept_all() {
    while (true) {
        Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (socket) {
            adopt(std::move(socket));
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            watch_.set_events(0);
            return pause_->arm(executor_.clock().now() + std::chrono::milliseconds(100));
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

void Server::adopt(Fd socket) {
    if (closed_) return;
    if (connections_.size() >= kMaxConnections) {
        YADO_LOG_LIMITED(Warning, "nbd: a client is turned away: there are {} already", kMaxConnections);
        return;
    }
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // refused on a unix socket, which has no such delay
    auto connection = Connection::create(executor_, std::move(socket), served_);
    if (!connection) {
        YADO_LOG_LIMITED(Warning, "nbd: a client is turned away: {}", connection.error().message());
        return;
    }
    io::spawn(hold(connections_.insert(connections_.end(), std::move(*connection))));
}

/// The connection is destroyed from a posted function: the call that ends it may come out of its own socket.
io::Task<> Server::hold(std::list<std::unique_ptr<Connection>>::iterator at) {
    co_await (*at)->serve();
    executor_.post([this, at] { forget(at); });
}

void Server::forget(std::list<std::unique_ptr<Connection>>::iterator at) {
    connections_.erase(at);
    if (!connections_.empty()) return;
    if (all_gone_) std::exchange(all_gone_, nullptr)->complete(true);
    else if (left_) left_();
}

io::Task<> Server::close() {
    closed_ = true;
    watch_ = {};
    pause_.reset();
    listener_.reset();
    for (const auto& connection : connections_) connection->cut();
    if (connections_.empty()) co_return;
    io::Completion<bool> gone;
    all_gone_ = &gone;
    co_await gone;
}

}  // namespace yado::storage::nbd
