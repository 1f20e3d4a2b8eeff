#include "apps/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "base/fd.h"

extern char** environ;

namespace yado::apps {

namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (std::string& text : texts) out.push_back(text.data());
    out.push_back(nullptr);
    return out;
}

void read_lines(int fd, const std::function<void(std::string_view)>& on_line) {
    std::string rest;
    char piece[4096];
    ssize_t count = 0;
    while ((count = read(fd, piece, sizeof piece)) > 0 || (count < 0 && errno == EINTR)) {
        if (count < 0) continue;
        rest.append(piece, static_cast<size_t>(count));
        size_t end = 0;
        while ((end = rest.find('\n')) != rest.npos) {
            if (on_line) on_line(std::string_view(rest).substr(0, end));
            rest.erase(0, end + 1);
        }
    }
    if (!rest.empty() && on_line) on_line(rest);
}

/// dup2 actions may overwrite each other's sources: move the sources out of the way first.
std::vector<Fd> out_of_the_way(const std::vector<std::pair<int, int>>& descriptors) {
    std::vector<Fd> high;
    for (const auto& [ours, theirs] : descriptors) high.emplace_back(fcntl(ours, F_DUPFD_CLOEXEC, 200));
    return high;
}

}  // namespace

Result<int> run_program_to_end(const Program& program) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
    const Fd read_end(ends[0]);
    Fd write_end(ends[1]);
    const std::vector<Fd> sources = out_of_the_way(program.descriptors);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDERR_FILENO);
    for (size_t i = 0; i < sources.size(); ++i) posix_spawn_file_actions_adddup2(&actions, sources[i].get(), program.descriptors[i].second);

    std::vector<std::string> arguments = program.arguments, environment = program.environment;
    for (char** one = environ; *one; ++one) environment.emplace_back(*one);
    pid_t pid = 0;
    const int error = posix_spawnp(&pid, arguments[0].c_str(), &actions, nullptr, pointers(arguments).data(), pointers(environment).data());
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return std::unexpected(errno_error(error, arguments[0]));
    write_end.reset();
    read_lines(read_end.get(), program.on_line);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool in_path(const std::string& program) {
    const char* path = getenv("PATH");
    std::istringstream folders(path ? path : "/usr/bin:/bin");
    for (std::string folder; std::getline(folders, folder, ':');)
        if (access((folder + "/" + program).c_str(), X_OK) == 0) return true;
    for (const char* folder : {"/usr/sbin", "/sbin"})  // not in an ordinary user's PATH
        if (access((std::string(folder) + "/" + program).c_str(), X_OK) == 0) return true;
    return false;
}

}  // namespace yado::apps
