#include "control/runtime_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "api/guest_config.h"

namespace yado::control {

namespace {

namespace fs = std::filesystem;

std::string default_path() {
    if (const char* forced = getenv("YADO_RUNTIME_DIR"); forced && *forced) return forced;
    if (geteuid() == 0) return "/run/yado";
    if (const char* xdg = getenv("XDG_RUNTIME_DIR"); xdg && *xdg) return std::string(xdg) + "/yado";
    return fmt::format("/tmp/yado-{}", geteuid());
}

/// Somebody else's folder, or one that others may enter, could hold a false socket.
Result<> check_private(const std::string& path) {
    struct stat st {};
    if (lstat(path.c_str(), &st) != 0) return fail_errno("runtime directory " + path);
    if (!S_ISDIR(st.st_mode)) return fail(ErrorKind::Denied, "runtime directory {}: not a directory; remove it", path);
    if (st.st_uid != geteuid()) return fail(ErrorKind::Denied, "runtime directory {}: belongs to uid {}; set YADO_RUNTIME_DIR", path, st.st_uid);
    if (st.st_mode & 077) return fail(ErrorKind::Denied, "runtime directory {}: open to others; chmod 700 it", path);
    return {};
}

Result<> make_folder(const std::string& path) {
    if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
    return fail_errno("runtime directory " + path);
}

std::string slurp(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

struct flock whole_file() { return {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0, .l_pid = 0}; }

/// The lock file, locked, and still the one at that path (its folder may have been deleted in between). Empty: retry.
Result<Fd> try_lock(const std::string& path, const std::string& name) {
    Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd && errno == ENOENT) return Fd();
    if (!fd) return fail_errno(path);
    struct flock whole = whole_file();
    if (fcntl(fd.get(), F_OFD_SETLK, &whole) != 0) {
        if (errno == EAGAIN || errno == EACCES) return fail(ErrorKind::Conflict, "a guest named {} runs already; choose another name or stop it", name);
        return fail_errno(path);
    }
    struct stat mine {}, there {};
    if (fstat(fd.get(), &mine) != 0 || stat(path.c_str(), &there) != 0 || mine.st_ino != there.st_ino) return Fd();
    return fd;
}

void clear_except_lock(const std::string& folder) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored))
        if (entry.path().filename() != "lock") fs::remove_all(entry.path(), ignored);
}

}  // namespace

Result<RuntimeDir> RuntimeDir::open() { return open_at(default_path()); }

Result<RuntimeDir> RuntimeDir::open_at(const std::string& path) {
    YADO_TRY(make_folder(path));
    YADO_TRY(check_private(path));
    return RuntimeDir(path);
}

Result<RuntimeDir::Claim> RuntimeDir::claim(const std::string& name) const {
    YADO_TRY(api::check_name(name));
    Claim claim;
    claim.folder_ = path_ + "/" + name;
    for (int attempt = 0; attempt < 16 && !claim.lock_; ++attempt) {
        YADO_TRY(make_folder(claim.folder_));
        claim.lock_ = YADO_TRY(try_lock(claim.file("lock"), name));
    }
    if (!claim.lock_) return fail(ErrorKind::Conflict, "guest {}: its folder {} keeps vanishing; try again", name, claim.folder_);
    clear_except_lock(claim.folder_);
    const std::string pid = fmt::format("{}\n", getpid());
    if (ftruncate(claim.lock_.get(), 0) != 0 || write(claim.lock_.get(), pid.data(), pid.size()) < 0) return fail_errno(claim.file("lock"));
    return claim;
}

Result<> RuntimeDir::Claim::put(std::string_view name, std::string_view text) const {
    const std::string draft = file(std::string(name) + ".new");
    std::ofstream out(draft, std::ios::binary | std::ios::trunc);
    out << text;
    out.close();
    if (!out || rename(draft.c_str(), file(name).c_str()) != 0) return fail_errno(file(name));
    return {};
}

void RuntimeDir::Claim::remove() {
    std::error_code ignored;
    clear_except_lock(folder_);
    fs::remove_all(folder_, ignored);
    lock_.reset();
}

RuntimeDir::Found RuntimeDir::look(const std::string& name) const {
    Found found{.name = name, .folder = path_ + "/" + name};
    const Fd lock(::open((found.folder + "/lock").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    struct flock whole = whole_file();  // asks without taking it: a claim at this moment must not fail
    found.alive = lock && fcntl(lock.get(), F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
    if (found.alive) {
        found.pid = static_cast<pid_t>(strtol(slurp(found.folder + "/lock").c_str(), nullptr, 10));
    } else if (const auto report = api::exit_report_from_json(slurp(found.folder + "/exit.json"))) {
        found.ended = *report;
    }
    return found;
}

std::vector<RuntimeDir::Found> RuntimeDir::list() const {
    std::vector<Found> all;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(path_, ignored)) {
        const std::string name = entry.path().filename();
        if (entry.is_directory(ignored) && api::check_name(name)) all.push_back(look(name));
    }
    std::ranges::sort(all, {}, &Found::name);
    return all;
}

Result<RuntimeDir::Found> RuntimeDir::find(const std::string& name) const {
    YADO_TRY(api::check_name(name));
    std::error_code ignored;
    if (!fs::is_directory(path_ + "/" + name, ignored)) return fail(ErrorKind::NotFound, "no guest named {}; yado ps lists them", name);
    return look(name);
}

}  // namespace yado::control
