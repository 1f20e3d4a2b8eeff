#include "apps/terminal.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>

namespace yado::apps {

namespace {

// What a handler of a fatal signal needs to give the terminal back.
termios saved_settings;
std::atomic<bool> raw_now{false};

void restore() {
    if (raw_now.exchange(false)) tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_settings);
}

void restore_and_die(int number) {
    restore();
    signal(number, SIG_DFL);
    raise(number);
}

/// Raw mode for as long as it lives; nothing if stdin is no terminal.
class RawMode {
  public:
    RawMode() {
        if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved_settings) != 0) return;
        termios raw = saved_settings;
        cfmakeraw(&raw);
        if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) return;
        raw_now = true;
        for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGQUIT}) catch_fatal(number);
    }
    ~RawMode() { restore(); }
    RawMode(const RawMode&) = delete;

  private:
    /// Leaves a handler that an engine installed alone.
    static void catch_fatal(int number) {
        struct sigaction now {};
        if (sigaction(number, nullptr, &now) != 0 || now.sa_handler != SIG_DFL) return;
        now.sa_handler = restore_and_die;
        sigaction(number, &now, nullptr);
    }
};

sigset_t watched_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) sigaddset(&set, number);
    return set;
}

Fd open_signals() {
    const sigset_t set = watched_signals();
    return Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

/// Reads pending signals; true if one of them asks to part.
bool drain_signals(int fd, const std::function<void()>& resized) {
    signalfd_siginfo info{};
    bool part = false;
    while (read(fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGWINCH) resized();
        else part = true;
    }
    return part;
}

bool write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = write(fd, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) {  // somebody made our stdout non-blocking
            pollfd ready{fd, POLLOUT, 0};
            poll(&ready, 1, 1000);
            continue;
        }
        if (count <= 0) return false;
        bytes.remove_prefix(static_cast<size_t>(count));
    }
    return true;
}

bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
            pollfd ready{fd, POLLOUT, 0};
            poll(&ready, 1, 1000);
            continue;
        }
        if (count <= 0) return false;
        bytes.remove_prefix(static_cast<size_t>(count));
    }
    return true;
}

struct Attachment {
    int socket;
    bool typing;     ///< stdin is read at all
    bool is_tty;

    enum class Step : uint8_t { On, Left, Ended };
    Step from_guest() const {
        char bytes[16 * 1024];
        const ssize_t count = recv(socket, bytes, sizeof bytes, MSG_DONTWAIT);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) return Step::On;
        if (count <= 0) return Step::Ended;
        return write_all(STDOUT_FILENO, {bytes, static_cast<size_t>(count)}) ? Step::On : Step::Left;
    }
    Step from_user() {
        char bytes[512];
        const ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) return Step::On;
        if (count <= 0) {  // a terminal that is gone ends it; a pipe that has ended only ends the typing
            typing = false;
            return is_tty ? Step::Left : Step::On;
        }
        const std::string_view typed(bytes, static_cast<size_t>(count));
        const size_t leave = is_tty ? typed.find(kLeaveKey) : typed.npos;
        send_all(socket, typed.substr(0, leave));
        return leave == typed.npos ? Step::On : Step::Left;
    }
};

}  // namespace

void block_signals() {
    signal(SIGPIPE, SIG_IGN);
    const sigset_t set = watched_signals();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

Parting carry(control::Client::Stream stream, Typing typing, const std::function<void(unsigned, unsigned)>& resized) {
    const RawMode raw;
    const Fd signals = open_signals();
    Attachment at{stream.socket.get(), typing == Typing::Yes, isatty(STDIN_FILENO) == 1};
    const bool keys = at.typing || at.is_tty;  // who only watches can still leave
    const auto tell_size = [&] {
        winsize size{};
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) resized(size.ws_col, size.ws_row);
    };
    tell_size();
    if (!write_all(STDOUT_FILENO, stream.first)) return Parting::Left;
    at.typing = keys;
    for (;;) {
        pollfd fds[] = {{at.socket, POLLIN, 0}, {signals.get(), POLLIN, 0}, {at.typing ? STDIN_FILENO : -1, POLLIN, 0}};
        if (poll(fds, 3, -1) < 0 && errno != EINTR) return Parting::Left;
        auto step = Attachment::Step::On;
        if (fds[2].revents) step = at.from_user();
        if (step == Attachment::Step::On && fds[0].revents) step = at.from_guest();
        if (step == Attachment::Step::Left) return Parting::Left;
        if (step == Attachment::Step::Ended) return Parting::Ended;
        if (fds[1].revents && drain_signals(signals.get(), tell_size)) return Parting::Signalled;
    }
}

Parting wait_for_end(int ended_fd) {
    const Fd signals = open_signals();
    for (;;) {
        pollfd fds[] = {{ended_fd, POLLIN, 0}, {signals.get(), POLLIN, 0}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR) return Parting::Signalled;
        if (fds[0].revents) return Parting::Ended;
        if (fds[1].revents && drain_signals(signals.get(), [] {})) return Parting::Signalled;
    }
}

}  // namespace yado::apps
