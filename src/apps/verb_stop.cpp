// yado stop: the power button, and patience; with --force the plug, and then the process.
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "apps/reach.h"
#include "apps/verbs.h"

namespace yado::apps {

namespace {

constexpr auto kForceTime = std::chrono::seconds(10);

/// A descriptor that is readable once the process has ended: no race with a reused pid as long as it is held.
Fd open_process(pid_t pid) { return Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }

bool ends_within(const Fd& process, std::chrono::milliseconds time) {
    if (!process) return true;  // gone already
    pollfd ended{process.get(), POLLIN, 0};
    return poll(&ended, 1, static_cast<int>(time.count())) > 0;
}

Result<> press(const control::RuntimeDir::Found& found, std::string_view verb) {
    auto client = YADO_TRY(control::Client::connect(found.socket(), std::chrono::seconds(5)));
    YADO_TRY(client.post(verb));
    return {};
}

Result<> force_off(const control::RuntimeDir::Found& found, const Fd& process) {
    const auto off = press(found, "/v1/power-off");
    if (off && ends_within(process, kForceTime)) return {};
    if (process) syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
    if (ends_within(process, kForceTime)) return {};
    return fail(ErrorKind::TimedOut, "guest {} (pid {}) does not end, not even by SIGKILL; look for stuck I/O", found.name, found.pid);
}

}  // namespace

Result<> stop_guest(const StopOptions& options) {
    const auto found = YADO_TRY(find_living(options.name));
    const Fd process = open_process(found.pid);
    if (options.force) return force_off(found, process);
    const auto pressed = press(found, "/v1/power-button");
    if (!pressed) {
        if (ends_within(process, std::chrono::milliseconds(0))) return {};
        return std::unexpected(pressed.error().within("guest " + options.name));
    }
    if (ends_within(process, std::chrono::seconds(options.timeout_seconds))) return {};
    return fail(ErrorKind::TimedOut, "guest {} did not power off within {} s of its power button; it still runs; yado stop --force pulls the plug",
                options.name, options.timeout_seconds);
}

}  // namespace yado::apps
