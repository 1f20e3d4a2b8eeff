#include "control/server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <future>
#include <list>
#include <thread>

#include "base/check.h"
#include "control/session.h"

namespace yado::control {

namespace net = boost::asio;
using Protocol = net::local::stream_protocol;

class Server::Impl {
  public:
    Impl(std::string path, api::GuestPort& port, Limits limits) : path_(std::move(path)), port_(port), limits_(limits) {}

    Result<> listen() {
        boost::system::error_code error;
        acceptor_.open(Protocol(), error);
        const mode_t old = umask(0177);
        if (!error) acceptor_.bind(Protocol::endpoint(path_), error);
        umask(old);
        if (!error) acceptor_.listen(net::socket_base::max_listen_connections, error);
        if (error) return std::unexpected(errno_error(error.value(), "control socket " + path_));
        return {};
    }
    void run() {
        net::co_spawn(context_, accept(), net::detached);
        thread_ = std::thread([this] { context_.run(); });
    }
    void close() {
        net::post(context_, [this] { start_closing(); });
        if (thread_.joinable()) thread_.join();
        unlink(path_.c_str());
    }

  private:
    net::awaitable<void> accept() {
        while (!closing_) {
            boost::system::error_code error;
            auto socket = co_await acceptor_.async_accept(net::redirect_error(net::use_awaitable, error));
            if (closing_) break;
            if (error) {  // out of descriptors or the like: go on a little later
                net::steady_timer pause(context_, std::chrono::milliseconds(50));
                co_await pause.async_wait(net::redirect_error(net::use_awaitable, error));
                continue;
            }
            net::co_spawn(context_, hold(std::make_shared<Session>(std::move(socket), port_, limits_, closing_)), net::detached);
        }
    }
    /// Serves one session and forgets it.
    net::awaitable<void> hold(std::shared_ptr<Session> session) {
        const auto place = sessions_.insert(sessions_.end(), session);
        if (sessions_.size() > limits_.connections) co_await session->turn_away();
        else co_await session->serve();
        sessions_.erase(place);
        if (closing_ && sessions_.empty()) deadline_.cancel();
    }
    /// The thread ends when nothing is left to do: no coroutine is ever destroyed half-way.
    void start_closing() {
        closing_ = true;
        boost::system::error_code ignored;
        acceptor_.close(ignored);
        for (const auto& session : sessions_) session->finish();
        if (sessions_.empty()) return;
        deadline_.expires_after(limits_.drain_time);
        deadline_.async_wait([this](boost::system::error_code) {
            for (const auto& session : sessions_) session->cut();
        });
    }

    const std::string path_;
    api::GuestPort& port_;
    const Limits limits_;
    bool closing_ = false;
    std::list<std::shared_ptr<Session>> sessions_;
    net::io_context context_{1};  // destroyed first: its coroutines hold sessions, which refer to the above
    Protocol::acceptor acceptor_{context_};
    net::steady_timer deadline_{context_};
    std::thread thread_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() {
    if (impl_) close();
}

Result<std::unique_ptr<Server>> Server::start(const std::string& path, api::GuestPort& port, Limits limits) {
    if (path.size() >= sizeof(sockaddr_un::sun_path))
        return fail(ErrorKind::Usage, "control socket {}: the path is longer than {} bytes; choose a shorter name", path, sizeof(sockaddr_un::sun_path) - 1);
    auto impl = std::make_unique<Impl>(path, port, limits);
    YADO_TRY(impl->listen());
    impl->run();
    return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::close() {
    YADO_CHECK(impl_ != nullptr);
    impl_->close();
    impl_.reset();
}

}  // namespace yado::control
