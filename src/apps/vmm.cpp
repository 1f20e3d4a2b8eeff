// A detached guest: `yado run --detach` starts its own binary again as "yado-vmm", in a session of its own, with the
// configuration in a memfd; it answers through a pipe once the guest runs, or with the error.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apps/host_run.h"
#include "apps/stats_text.h"
#include "apps/terminal.h"
#include "apps/verbs.h"

extern char** environ;

namespace yado::apps {

namespace {

constexpr int kConfigFd = 3;
constexpr int kReadyFd = 4;
constexpr std::string_view kReady = "ready";
constexpr off_t kMaxConfig = 1 << 20;

Result<Fd> config_in_memory(const api::GuestConfig& config) {
    Fd memory(memfd_create("yado-config", MFD_CLOEXEC));
    const std::string text = api::to_json(config);
    if (!memory || write(memory.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return fail_errno("memfd");
    return memory;
}

/// Forks and executes this binary; only async-signal-safe calls between the two.
Result<pid_t> spawn_vmm(int config_fd, int ready_fd) {
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const pid_t pid = fork();
    if (pid < 0) return fail_errno("fork");
    if (pid > 0) {
        close(null);
        return pid;
    }
    setsid();
    const int config = fcntl(config_fd, F_DUPFD, 10), ready = fcntl(ready_fd, F_DUPFD, 10);
    for (const int fd : {0, 1, 2}) dup2(null, fd);
    dup2(config, kConfigFd);
    dup2(ready, kReadyFd);
    close_range(kReadyFd + 1, ~0u, 0);
    char name[] = "yado-vmm";
    char* const arguments[] = {name, nullptr};
    execve("/proc/self/exe", arguments, environ);
    _exit(127);
}

std::string read_to_end(int fd) {
    std::string all;
    char piece[4096];
    ssize_t count = 0;
    while ((count = read(fd, piece, sizeof piece)) > 0 || (count < 0 && errno == EINTR))
        if (count > 0) all.append(piece, static_cast<size_t>(count));
    return all;
}

Result<api::GuestConfig> read_config(int fd) {
    struct stat st {};
    if (fstat(fd, &st) != 0 || st.st_size > kMaxConfig) return fail(ErrorKind::Usage, "yado-vmm is started by yado run --detach");
    std::string text(static_cast<size_t>(st.st_size), '\0');
    if (pread(fd, text.data(), text.size(), 0) != st.st_size) return fail(ErrorKind::Usage, "yado-vmm is started by yado run --detach");
    return api::guest_config_from_json(text);
}

void say(int fd, std::string_view text) {
    if (write(fd, text.data(), text.size()) < 0) return;  // the launcher is gone: the guest goes on
}

/// stderr becomes the log in the guest's folder.
void log_to(const std::string& path) {
    const Fd log(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (log) dup2(log.get(), STDERR_FILENO);
}

}  // namespace

Result<> run_detached(const api::GuestConfig& config) {
    const Fd memory = YADO_TRY(config_in_memory(config));
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
    const Fd read_end(ends[0]);
    Fd write_end(ends[1]);
    const pid_t pid = YADO_TRY(spawn_vmm(memory.get(), write_end.get()));
    write_end.reset();
    const std::string word = read_to_end(read_end.get());
    if (word == kReady) return {};
    waitpid(pid, nullptr, 0);
    if (const auto error = api::error_from_json(word)) return std::unexpected(*error);
    return fail(ErrorKind::Failed, "guest {}: its process died before the guest ran", config.name);
}

int run_as_vmm(int config_fd, int ready_fd, const Platform& platform) {
    Fd config_file(config_fd), ready(ready_fd);
    for (const int fd : {config_fd, ready_fd}) fcntl(fd, F_SETFD, FD_CLOEXEC);
    block_signals();
    const auto start = [&]() -> Result<std::unique_ptr<HostRun>> {
        const api::GuestConfig config = YADO_TRY(read_config(config_fd));
        auto run = YADO_TRY(HostRun::create(config, platform));
        log_to(run->socket().substr(0, run->socket().rfind('/')) + "/log");
        YADO_TRY(run->start());
        return run;
    };
    const auto run = start();
    if (!run) {
        say(ready_fd, api::to_json(run.error()));
        return exit_status(run.error().kind());
    }
    say(ready_fd, kReady);
    ready.reset();
    wait_for_end((*run)->ended_fd());  // a signal (host shutdown) ends the guest, too
    const api::ExitReport report = (*run)->finish();
    if ((*run)->wants_engine_stats()) fmt::print(stderr, "{}", stats_text((*run)->engine_stats()));
    (*run)->leave_report(report);
    return api::exit_status(report);
}

}  // namespace yado::apps
