#include "control/console_bridge.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/fd.h"
#include "io/listener.h"

namespace yado::control {

namespace {

class NoBridge final : public ConsoleBridge {
  public:
    explicit NoBridge(std::string where) : where_(std::move(where)) {}
    std::string where() const override { return where_; }

  private:
    std::string where_;
};

/// What the bridge's loop needs of one kind of far end.
struct FarEnd {
    Fd out;       ///< where output goes; for a socket: the connected peer, or nothing
    Fd listener;  ///< socket only
    Fd keep;      ///< the slave of a pty, open so that the master never sees a hang-up
    bool duplex = false;
    std::string where;
    std::string unlink;     ///< removed at the end
};

class Bridge final : public ConsoleBridge {
  public:
    Bridge(FarEnd end, Fd wake_event, api::ConsoleHub& hub)
        : end_(std::move(end)), wake_(std::move(wake_event)), hub_(hub), watch_(hub.watch([this] { wake(); })), thread_([this] { run(); }) {}
    ~Bridge() override {
        stopping_ = true;
        wake();
        thread_.join();
        watch_ = {};
        if (!end_.unlink.empty()) unlink(end_.unlink.c_str());
    }
    std::string where() const override { return end_.where; }

  private:
    void wake() {
        const uint64_t one = 1;
        if (write(wake_.get(), &one, sizeof one) < 0) return;  // full: already awake
    }
    void run() {
        bool more = true;
        while (more) {
            const bool stopping = stopping_;
            wait_for_work();
            take_input();  // first: a peer that hung up makes room for the next
            if (end_.listener) accept_peer();
            more = write_output() && !stopping;
        }
    }
    void wait_for_work() {
        const bool blocked = !unsent_.empty() && end_.out;
        pollfd fds[] = {{wake_.get(), POLLIN, 0},
                        {end_.listener.get(), POLLIN, 0},
                        {end_.out.get(), static_cast<short>((end_.duplex ? POLLIN : 0) | (blocked ? POLLOUT : 0)), 0}};
        if (stopping_) return;
        poll(fds, 3, input_refused_ ? 20 : -1);
        uint64_t count = 0;
        if ((fds[0].revents & POLLIN) && read(wake_.get(), &count, sizeof count) < 0) return;
    }
    void accept_peer() {
        Fd peer(accept4(end_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!peer || end_.out) return;  // one at a time: a second is hung up on
        end_.out = std::move(peer);
        cursor_ = hub_.end_cursor();
    }
    void take_input() {
        if (!end_.duplex || !end_.out) return;
        char bytes[512];
        const ssize_t count = read(end_.out.get(), bytes, sizeof bytes);
        if (count == 0 && end_.listener) return hang_up();
        if (count > 0) typed_.append(bytes, std::min<size_t>(static_cast<size_t>(count), kMaxTyped - std::min(typed_.size(), kMaxTyped)));
        if (typed_.empty()) return;
        if (auto typist = hub_.type()) typed_.erase(0, typist->write(typed_));
        else typed_.clear();  // somebody else types
        input_refused_ = !typed_.empty();
    }
    void hang_up() {
        end_.out.reset();
        unsent_.clear();
        typed_.clear();
        input_refused_ = false;
    }
    /// False when the console has ended and all is written, or the far end is dead.
    bool write_output() {
        for (;;) {
            if (unsent_.empty()) {
                const auto chunk = hub_.read(cursor_);
                cursor_ = chunk.next;
                unsent_ = chunk.bytes;
                if (unsent_.empty()) return !chunk.end;
            }
            if (!end_.out) {  // nobody is connected: watchers start with what comes next
                unsent_.clear();
                continue;
            }
            const ssize_t count = write(end_.out.get(), unsent_.data(), unsent_.size());
            if (count < 0 && errno == EAGAIN) return true;
            if (count < 0 && errno == EINTR) continue;
            if (count <= 0 && !end_.listener) return false;  // disk full, dead pty: the console ends, the guest goes on
            if (count <= 0) hang_up();
            else unsent_.erase(0, static_cast<size_t>(count));
        }
    }

    static constexpr size_t kMaxTyped = 4096;
    FarEnd end_;
    Fd wake_;
    api::ConsoleHub& hub_;
    std::atomic<bool> stopping_{false};
    uint64_t cursor_ = 0;
    std::string unsent_, typed_;
    bool input_refused_ = false;
    api::ConsoleHub::Watch watch_;
    std::thread thread_;
};

Result<FarEnd> open_file(const std::string& path) {
    FarEnd end;
    end.where = "file " + path;
    end.out = Fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!end.out) return fail_errno("console file " + path);
    return end;
}

Result<FarEnd> open_pty() {
    FarEnd end;
    end.duplex = true;
    end.out = Fd(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    char name[64];
    if (!end.out || grantpt(end.out.get()) != 0 || unlockpt(end.out.get()) != 0 || ptsname_r(end.out.get(), name, sizeof name) != 0)
        return fail_errno("console pty");
    end.keep = Fd(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    termios raw{};
    if (!end.keep || tcgetattr(end.keep.get(), &raw) != 0) return fail_errno("console pty");
    cfmakeraw(&raw);
    if (tcsetattr(end.keep.get(), TCSANOW, &raw) != 0) return fail_errno("console pty");
    end.where = std::string("pty ") + name;
    return end;
}

Result<FarEnd> open_socket(const std::string& path) {
    FarEnd end;
    end.duplex = true;
    end.where = "socket " + path;
    end.unlink = path;
    end.listener = YADO_TRY(io::listen_unix(path, "console socket " + path, io::SocketAccess::Umask));
    return end;
}

Result<FarEnd> open_far_end(const api::ConsoleConfig& config) {
    switch (config.kind) {
    case api::ConsoleKind::File: return open_file(config.path);
    case api::ConsoleKind::Pty: return open_pty();
    case api::ConsoleKind::Socket: return open_socket(config.path);
    case api::ConsoleKind::Stdio:
    case api::ConsoleKind::None: break;
    }
    return FarEnd{};
}

}  // namespace

Result<std::unique_ptr<ConsoleBridge>> ConsoleBridge::start(const api::ConsoleConfig& config, api::ConsoleHub& hub) {
    if (config.kind == api::ConsoleKind::Stdio || config.kind == api::ConsoleKind::None)
        return std::make_unique<NoBridge>(config.kind == api::ConsoleKind::Stdio ? "stdio" : "none");
    FarEnd end = YADO_TRY(open_far_end(config));
    Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake) return fail_errno("eventfd");
    return std::unique_ptr<ConsoleBridge>(new Bridge(std::move(end), std::move(wake), hub));
}

}  // namespace yado::control
