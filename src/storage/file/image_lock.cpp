#include "storage/file/image_lock.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <charconv>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <thread>

namespace yado::storage {
namespace {

constexpr off_t kUsed = 100, kUnshared = 200;
enum Permission : off_t { ConsistentRead = 0, Writing = 1, Resize = 3 };

struct flock byte_lock(short type, off_t at) {
    struct flock l{};
    l.l_type = type;
    l.l_whence = SEEK_SET;
    l.l_start = at;
    l.l_len = 1;
    return l;
}

bool set_lock(int fd, short type, off_t at) {
    struct flock l = byte_lock(type, at);
    return fcntl(fd, F_OFD_SETLK, &l) == 0;
}

/// True if somebody else's lock on the byte would stop an exclusive one.
bool held_by_another(int fd, off_t at) {
    struct flock l = byte_lock(F_WRLCK, at);
    return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

void unlock_all(int fd) {
    struct flock l = byte_lock(F_UNLCK, kUsed);
    l.l_len = 2 * (kUnshared - kUsed);
    fcntl(fd, F_OFD_SETLK, &l);
}

void unlock(int fd, std::initializer_list<off_t> bytes) {
    for (const off_t at : bytes) set_lock(fd, F_UNLCK, at);
}

bool has_lock_line(const std::string& fdinfo) {
    std::ifstream in(fdinfo);
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("lock:")) return true;
    return false;
}

using Dir = std::unique_ptr<DIR, int (*)(DIR*)>;

/// True if the process has the file open with a lock on it, at another descriptor than ours.
bool process_holds(const std::string& pid, const struct stat& file, int own_fd) {
    const std::string base = "/proc/" + pid;
    const bool self = pid == std::to_string(getpid());
    const Dir fds(opendir((base + "/fd").c_str()), closedir);
    if (!fds) return false;
    while (const dirent* entry = readdir(fds.get())) {
        struct stat st{};
        if (entry->d_name[0] == '.' || (self && std::to_string(own_fd) == entry->d_name)) continue;
        if (stat((base + "/fd/" + entry->d_name).c_str(), &st) < 0 || st.st_dev != file.st_dev || st.st_ino != file.st_ino)
            continue;
        if (has_lock_line(base + "/fdinfo/" + entry->d_name)) return true;
    }
    return false;
}

/// The kernel does not tell who holds an open-file-description lock: look for the file among everybody's descriptors.
std::optional<std::string> find_holder(int fd) {
    struct stat file{};
    const Dir proc(opendir("/proc"), closedir);
    if (!proc || fstat(fd, &file) < 0) return std::nullopt;
    while (const dirent* entry = readdir(proc.get())) {
        const std::string pid = entry->d_name;
        if (pid.find_first_not_of("0123456789") == std::string::npos && process_holds(pid, file, fd)) return pid;
    }
    return std::nullopt;
}

std::unexpected<Error> in_use(const std::optional<std::string>& holder, LockUse use, const std::string& name) {
    const char* remedy = use == LockUse::Write ? "stop it, or use snapshot=on or readonly=on if it only reads"
                                               : "stop it: it writes to the image";
    if (!holder) return fail(ErrorKind::Conflict, "disk {}: in use by another process; {}", name, remedy);
    if (*holder == std::to_string(getpid()))
        return fail(ErrorKind::Conflict, "disk {}: given twice to this guest; use each image once", name);
    return fail(ErrorKind::Conflict, "disk {}: in use by process {}; {}", name, *holder, remedy);
}

}  // namespace

namespace {

/// False, with nothing locked, if somebody is in the way.
bool try_lock(int fd, LockUse use) {
    static constexpr std::array kWriter = {ConsistentRead, Writing, Resize}, kNotShared = {Writing, Resize, Resize};
    const std::span used(kWriter.data(), use == LockUse::Write ? 3 : 1);
    const std::span unshared(kNotShared.data(), use == LockUse::ReadBesideWriter ? 0 : 2);
    for (const Permission p : used)
        if (!set_lock(fd, F_RDLCK, kUsed + p) && errno != EAGAIN && errno != EACCES) return true;  // a file system without locks
    const auto lock = [fd](off_t at) { return set_lock(fd, F_RDLCK, at); };
    const auto free = [fd](off_t at) { return !held_by_another(fd, at); };
    const bool locked = std::ranges::all_of(used, lock, [](Permission p) { return kUsed + p; }) &&
                        std::ranges::all_of(unshared, lock, [](Permission p) { return kUnshared + p; }) &&
                        std::ranges::all_of(used, free, [](Permission p) { return kUnshared + p; }) &&
                        std::ranges::all_of(unshared, free, [](Permission p) { return kUsed + p; });
    if (!locked) unlock_all(fd);
    return locked;
}

}  // namespace

// The kernel takes a killed process's ring apart after its end, and its files stay open until then. Nothing tells when that
// is, so that a lock that no process has any more is asked for again, for a while.
Result<> lock_image(int fd, LockUse use, const std::string& name) {
    constexpr unsigned kMostTries = 40;
    std::optional<std::string> holder;
    for (unsigned n = 0; n < kMostTries; ++n) {
        if (try_lock(fd, use)) return {};
        holder = find_holder(fd);
        if (holder) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(25));
    }
    return in_use(holder, use, name);
}

Result<> relock_image(int fd, LockUse use, const std::string& name) {
    unlock(fd, {kUsed + Writing, kUsed + Resize});
    if (use == LockUse::ReadBesideWriter) unlock(fd, {kUnshared + Writing, kUnshared + Resize});
    return lock_image(fd, use, name);
}

}  // namespace yado::storage
