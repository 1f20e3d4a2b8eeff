#include "gdb/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "gdb/conversation.h"
#include "gdb/listener.h"
#include "io/call_on.h"

namespace yado::gdb {

namespace {

constexpr Nanoseconds kAcceptRetry = std::chrono::seconds(1);

/// One client.
class Session {
  public:
    Session(Fd fd, vm::DebugPort& port, std::function<void()> ended)
        : fd_(std::move(fd)), executor_(port.executor()), ended_(std::move(ended)), conversation_(port, [this] { flush(); }) {}

    Result<> begin() {
        watch_ = YADO_TRY(executor_.watch(fd_.get(), EPOLLIN, [this](uint32_t events) { on_ready(events); }));
        return {};
    }

  private:
    void on_ready(uint32_t events) {
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && conversation_.listens()) read();
        flush();
    }
    void read() {
        char bytes[4096];
        const ssize_t count = recv(fd_.get(), bytes, sizeof bytes, 0);
        if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return hang_up();
        if (count > 0) conversation_.receive({bytes, static_cast<size_t>(count)});
    }
    /// Sends what can be sent; what was held back then goes on.
    void flush() {
        std::string& out = conversation_.output();
        while (!gone_ && !out.empty()) {
            const ssize_t count = send(fd_.get(), out.data(), out.size(), MSG_NOSIGNAL);
            if (count < 0 && errno == EINTR) continue;
            if (count < 0 && errno == EAGAIN) break;
            if (count <= 0) return hang_up();
            out.erase(0, static_cast<size_t>(count));
            if (out.empty()) conversation_.go_on();
        }
        if (conversation_.over() && out.empty()) return hang_up();
        if (watch_) watch_.set_events((conversation_.listens() ? EPOLLIN : 0u) | (out.empty() ? 0u : EPOLLOUT));
    }
    /// Later, on the executor, the server forgets us.
    void hang_up() {
        if (std::exchange(gone_, true)) return;
        watch_ = {};
        ended_();
    }

    Fd fd_;
    io::Executor& executor_;
    std::function<void()> ended_;
    bool gone_ = false;
    io::Executor::Watch watch_;
    Conversation conversation_;
};

}  // namespace

class Server::Impl {
  public:
    Impl(Listener listener, vm::DebugPort& port) : listener_(std::move(listener)), port_(port), executor_(port.executor()) {}

    const std::string& where() const { return listener_.where; }

    Result<> serve() {
        return io::call_on(executor_, [this]() -> Result<> {
            retry_ = executor_.make_timer([this] { watch_.set_events(EPOLLIN); });
            watch_ = YADO_TRY(executor_.watch(listener_.fd.get(), EPOLLIN, [this](uint32_t) { accept(); }));
            return {};
        });
    }
    void close() {
        io::call_on(executor_, [this] {
            retry_.reset();
            watch_ = {};
            session_.reset();
            listener_.fd.reset();
        });
        io::call_on(executor_, [] {});  // a forget() that was on its way has run
        if (!listener_.unlink.empty()) unlink(listener_.unlink.c_str());
    }

  private:
    void accept() {
        Fd client(accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!client) return wait_to_accept();
        if (session_) return;  // one at a time: the second is hung up on
        const int on = 1;
        setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // not on a unix socket: no harm
        session_ = std::make_unique<Session>(std::move(client), port_, [this] { forget(); });
        if (!session_->begin()) session_.reset();
    }
    /// Out of descriptors, perhaps: the connection stays in the queue and would wake us at once.
    void wait_to_accept() {
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
        watch_.set_events(0);
        retry_->arm(executor_.clock().now() + kAcceptRetry);
    }
    /// Not now: the session itself calls.
    void forget() {
        executor_.post([this] { session_.reset(); });
    }

    Listener listener_;
    vm::DebugPort& port_;
    io::Executor& executor_;
    std::unique_ptr<io::Timer> retry_;
    io::Executor::Watch watch_;
    std::unique_ptr<Session> session_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Server>> Server::listen(const api::GdbConfig& config, vm::DebugPort& port) {
    YADO_CHECK(config.kind != api::GdbKind::None);
    Listener listener = YADO_TRY(open_listener(config));
    return std::unique_ptr<Server>(new Server(std::make_unique<Impl>(std::move(listener), port)));
}

Result<> Server::serve() { return impl_->serve(); }
const std::string& Server::where() const { return impl_->where(); }
Server::~Server() { impl_->close(); }

}  // namespace yado::gdb
