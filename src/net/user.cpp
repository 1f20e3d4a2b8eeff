// libslirp on an executor.
//
// libslirp wants poll(): it lists its descriptors (fill), is told what is ready (poll), and the list is stale after
// anything it does. service() does one round: tell it what epoll has said, let it work, list again, adapt the watches and
// the timer. Everything that may change the list asks for one round at the end of the executor's turn.
#include "net/user.h"

#include <arpa/inet.h>
#include <slirp/libslirp.h>
#include <sys/epoll.h>

#include <deque>
#include <map>

#include "base/check.h"
#include "base/log.h"

namespace yado::net {
namespace {

constexpr size_t kMaxWaiting = 4 << 20;  ///< bytes kept while the guest has no buffers
constexpr size_t kLargestPacket = 65'535;

in_addr ipv4(const char* text) { return in_addr{inet_addr(text)}; }

uint32_t to_epoll(int events) {
    return (events & SLIRP_POLL_IN ? EPOLLIN : 0u) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0u) |
           (events & SLIRP_POLL_PRI ? EPOLLPRI : 0u);
}
int from_epoll(uint32_t events) {
    return (events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
           (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
           (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

class User final : public link::PacketBackend {
  public:
    User(io::Executor& executor, const UserConfig& config) : executor_(executor), config_(config) {
        timeout_ = executor.make_timer([this] { service(); });
        slirp_ = make_slirp();
    }
    ~User() override {
        *alive_ = false;
        if (slirp_) slirp_cleanup(slirp_);
    }

    bool usable() const { return slirp_ != nullptr; }
    Result<> add_forwards() {
        for (const Forward& f : config_.forwards) YADO_TRY(add_forward(f));
        return {};
    }

    void send(std::span<const std::byte> frame) override {
        if (frame.size() > kLargestPacket) {
            ++counters_.send_drops;
            return;
        }
        ++counters_.sent;
        slirp_input(slirp_, reinterpret_cast<const uint8_t*>(frame.data()), static_cast<int>(frame.size()));
        service_soon();
    }

    void attach(link::FrameSink* sink) override {
        sink_ = sink;
        if (sink) service_soon();
        ready();
    }

    void ready() override {
        while (sink_ && !waiting_.empty()) {
            const std::vector<std::byte>& frame = waiting_.front();
            if (!sink_->deliver(frame)) return;
            ++counters_.received;
            waiting_bytes_ -= frame.size();
            waiting_.pop_front();
        }
    }

    Counters counters() const override { return counters_; }
    std::string describe() const override {
        std::string text = "user 10.0.2.0/24";
        for (const Forward& f : config_.forwards)
            text += fmt::format(", {}:{}:{} to {}", f.protocol == Forward::Protocol::Tcp ? "tcp" : "udp", inet_ntoa(f.host),
                                f.host_port, f.guest_port);
        return text + (config_.restrict_to_forwards ? ", restricted" : "");
    }

  private:
    struct Polled {
        int fd;
        int events;
    };
    struct Watched {
        io::Executor::Watch watch;
        uint32_t events = 0;
        uint32_t ready = 0;
        bool listed = false;
    };
    /// libslirp's timers, by its own interface.
    struct SlirpTimer {
        std::unique_ptr<io::Timer> timer;
    };

    static User& self(void* opaque) { return *static_cast<User*>(opaque); }
    static const SlirpCb& callbacks();

    Slirp* make_slirp() {
        SlirpConfig c{};
        c.version = 3;
        c.restricted = config_.restrict_to_forwards;
        c.in_enabled = true;
        c.vnetwork = ipv4("10.0.2.0");
        c.vnetmask = ipv4("255.255.255.0");
        c.vhost = ipv4("10.0.2.2");
        c.vdhcp_start = ipv4("10.0.2.15");
        c.vnameserver = config_.dns.value_or(ipv4("10.0.2.3"));
        c.vhostname = config_.hostname.empty() ? nullptr : config_.hostname.c_str();
        return slirp_new(&c, &callbacks(), this);
    }

    Result<> add_forward(const Forward& f) {
        const bool udp = f.protocol == Forward::Protocol::Udp;
        if (slirp_add_hostfwd(slirp_, udp, f.host, f.host_port, ipv4("10.0.2.15"), f.guest_port) == 0) return {};
        const int number = errno;
        return std::unexpected(errno_error(number, fmt::format("forward {}:{}:{}: cannot listen there", udp ? "udp" : "tcp",
                                                               inet_ntoa(f.host), f.host_port)));
    }

    void deliver(const uint8_t* data, size_t size) {
        const std::span frame(reinterpret_cast<const std::byte*>(data), size);
        if (sink_ && waiting_.empty() && sink_->deliver(frame)) {
            ++counters_.received;
        } else if (!sink_ || waiting_bytes_ + size > kMaxWaiting) {
            ++counters_.receive_drops;
        } else {
            waiting_.emplace_back(frame.begin(), frame.end());
            waiting_bytes_ += size;
        }
    }

    void service_soon() {
        if (service_posted_) return;
        service_posted_ = true;
        executor_.post([this, alive = alive_] {
            if (*alive) service();
        });
    }

    void service() {
        service_posted_ = false;
        if (filled_) slirp_pollfds_poll(slirp_, 0, revents_of, this);
        for (auto& [fd, w] : watches_) w.ready = 0, w.listed = false;
        polled_.clear();
        uint32_t timeout = UINT32_MAX;
        slirp_pollfds_fill(slirp_, &timeout, add_poll, this);
        filled_ = true;
        adapt_watches();
        if (timeout == UINT32_MAX)
            timeout_->cancel();
        else
            timeout_->arm(executor_.clock().now() + std::chrono::milliseconds(timeout));
    }

    static int add_poll(int fd, int events, void* opaque) {
        self(opaque).polled_.push_back({fd, events});
        return static_cast<int>(self(opaque).polled_.size()) - 1;
    }

    static int revents_of(int index, void* opaque) {
        User& u = self(opaque);
        if (index < 0 || static_cast<size_t>(index) >= u.polled_.size()) return 0;
        const Polled& p = u.polled_[static_cast<size_t>(index)];
        const auto w = u.watches_.find(p.fd);
        return w == u.watches_.end() ? 0 : from_epoll(w->second.ready) & (p.events | SLIRP_POLL_ERR | SLIRP_POLL_HUP);
    }

    void adapt_watches() {
        for (const Polled& p : polled_) {
            Watched& w = watches_[p.fd];
            w.events = (w.listed ? w.events : 0) | to_epoll(p.events);
            w.listed = true;
        }
        for (auto it = watches_.begin(); it != watches_.end();) {
            if (!it->second.listed) {
                it = watches_.erase(it);
                continue;
            }
            set_watch(it->first, it->second);
            ++it;
        }
    }

    void set_watch(int fd, Watched& w) {
        if (w.watch) return w.watch.set_events(w.events);
        auto watch = executor_.watch(fd, w.events, [this, fd](uint32_t events) {
            if (const auto it = watches_.find(fd); it != watches_.end()) it->second.ready |= events;
            service_soon();
        });
        if (watch) w.watch = std::move(*watch);
    }

    io::Executor& executor_;
    const UserConfig config_;
    Slirp* slirp_ = nullptr;
    link::FrameSink* sink_ = nullptr;
    std::map<int, Watched> watches_;
    std::vector<Polled> polled_;  // what the last fill listed, by index
    bool filled_ = false, service_posted_ = false;
    std::unique_ptr<io::Timer> timeout_;
    std::deque<std::vector<std::byte>> waiting_;
    size_t waiting_bytes_ = 0;
    Counters counters_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with posted functions
};

const SlirpCb& User::callbacks() {
    static const SlirpCb table{
        .send_packet = [](const void* data, size_t size, void* opaque) -> ssize_t {
            self(opaque).deliver(static_cast<const uint8_t*>(data), size);
            return static_cast<ssize_t>(size);
        },
        .guest_error = [](const char* text, void*) { YADO_LOG_LIMITED(Debug, "user network: guest: {}", text); },
        .clock_get_ns = [](void* opaque) -> int64_t { return self(opaque).executor_.clock().now().count(); },
        .timer_new = [](SlirpTimerCb cb, void* cb_opaque, void* opaque) -> void* {
            return new SlirpTimer{self(opaque).executor_.make_timer([cb, cb_opaque] { cb(cb_opaque); })};
        },
        .timer_free = [](void* timer, void*) { delete static_cast<SlirpTimer*>(timer); },
        .timer_mod = [](void* timer, int64_t ms, void*) { static_cast<SlirpTimer*>(timer)->timer->arm(std::chrono::milliseconds(ms)); },
        .register_poll_fd = [](int, void*) {},
        .unregister_poll_fd = [](int fd, void* opaque) { self(opaque).watches_.erase(fd); },
        .notify = [](void* opaque) { self(opaque).service_soon(); },
        .init_completed = nullptr,
        .timer_new_opaque = nullptr,
    };
    return table;
}

}  // namespace

Result<std::unique_ptr<link::PacketBackend>> make_user(io::Executor& executor, const UserConfig& config) {
    auto user = std::make_unique<User>(executor, config);
    if (!user->usable()) return fail(ErrorKind::Failed, "user network: libslirp {} refuses the configuration", slirp_version_string());
    YADO_TRY(user->add_forwards());
    return user;
}

}  // namespace yado::net
