#include "storage/chain/backing.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>

#include "storage/file/path.h"

namespace yado::storage {
namespace {

std::string last_part(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// "nbd:...", "json:{...}": a colon before any slash.
bool has_protocol(std::string_view name) {
    const size_t colon = name.find(':');
    return colon != name.npos && name.find('/') > colon;
}

int open_below(int folder, const std::string& name, int flags) {
    open_how how{};
    how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    return static_cast<int>(syscall(SYS_openat2, folder, name.c_str(), &how, sizeof how));
}

std::unexpected<Error> not_opened(int number, const Place& image, const BackingClaim& claim) {
    const std::string what = fmt::format("disk {}: its backing file \"{}\"", image.path, printable(claim.path));
    switch (number) {
    case EXDEV: return fail(ErrorKind::Denied, "{} lies outside the image's folder; use backing=any if that is meant", what);
    case ELOOP: return fail(ErrorKind::Denied, "{} is, or lies behind, a symbolic link; use backing=any if that is meant", what);
    case ENOENT: return fail(ErrorKind::NotFound, "{}: no such file", what);
    default: return std::unexpected(errno_error(number, what));
    }
}

/// The file, and its folder for what its own header names.
Result<Followed> open_claim(const Place& image, const BackingClaim& claim, BackingPolicy policy, bool readonly) {
    const bool below = policy == BackingPolicy::Folder;
    const auto open = [&](const std::string& name, int flags) {
        return Fd(below ? open_below(image.folder.get(), name, flags) : openat(image.folder.get(), name.c_str(), flags | O_CLOEXEC));
    };
    const bool absolute = claim.path.starts_with('/');
    Followed found{.fd = {}, .place = {.path = absolute ? claim.path : folder_of(image.path) + claim.path, .folder = {}}};
    if (found.place.path.starts_with("./")) found.place.path.erase(0, 2);
    found.place.path = printable(found.place.path);
    found.place.folder = open(folder_of(claim.path), O_PATH | O_DIRECTORY);
    if (!found.place.folder) return not_opened(errno, image, claim);
    found.fd = open(claim.path, (readonly ? O_RDONLY : O_RDWR) | O_NONBLOCK);  // a FIFO must not hang us
    if (!found.fd) return not_opened(errno, image, claim);
    fcntl(found.fd.get(), F_SETFL, fcntl(found.fd.get(), F_GETFL) & ~O_NONBLOCK);
    return found;
}

Result<> check_claim(const Place& image, const BackingClaim& claim, BackingPolicy policy) {
    const std::string named = printable(claim.path);
    if (policy == BackingPolicy::None)
        return fail(ErrorKind::Denied,
                    "disk {}: its header names a backing file, \"{}\"{}{}; backing=folder follows it inside the image's folder, backing=any anywhere",
                    image.path, named, claim.format.empty() ? "" : ", format ", printable(claim.format));
    if (claim.path.empty() || claim.path.find('\0') != claim.path.npos)
        return fail(ErrorKind::Corrupt, "disk {}: the name of its backing file is empty or holds a zero byte", image.path);
    if (has_protocol(claim.path))
        return fail(ErrorKind::Corrupt, "disk {}: its backing file \"{}\" is named with a protocol; only files and block devices are followed",
                    image.path, named);
    if (claim.format.empty())
        return fail(ErrorKind::Corrupt,
                    "disk {}: its header does not say which format its backing file \"{}\" has, and it is not guessed; name it by `yado disk rebase --unsafe`",
                    image.path, named);
    return {};
}

}  // namespace

std::string printable(std::string_view text) {
    constexpr size_t kMost = 200;
    std::string out(text.substr(0, kMost));
    for (char& c : out)
        if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
    return text.size() > kMost ? out + "..." : out;
}

Result<BackingPolicy> parse_backing(std::string_view text) {
    if (text == "none") return BackingPolicy::None;
    if (text == "folder") return BackingPolicy::Folder;
    if (text == "any") return BackingPolicy::Any;
    return fail(ErrorKind::Usage, "backing={}: choose none, folder or any", text);
}

Result<Place> place_of(std::string path) {
    Fd folder(::open(folder_of(path).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return fail_errno(fmt::format("disk {}", path));
    return Place{std::move(path), std::move(folder)};
}

Result<Followed> follow(const Place& image, const BackingClaim& claim, BackingPolicy policy, bool readonly) {
    YADO_TRY(check_claim(image, claim, policy));
    return open_claim(image, claim, policy, readonly);
}

Result<std::string> recorded_name(const std::string& image, const std::string& base) {
    const std::unique_ptr<char, void (*)(void*)> real(realpath(base.c_str(), nullptr), free);
    if (!real) return fail_errno(fmt::format("disk {}", base));
    struct stat ours{}, theirs{};
    const std::string absolute = real.get();
    if (stat(folder_of(image).c_str(), &ours) < 0) return fail_errno(fmt::format("disk {}", image));
    if (stat(folder_of(absolute).c_str(), &theirs) < 0) return fail_errno(fmt::format("disk {}", base));
    if (ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino) return absolute;
    const std::string name = last_part(absolute);
    return has_protocol(name) ? "./" + name : name;
}

}  // namespace yado::storage
