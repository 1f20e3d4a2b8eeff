#include "assemble/kvm_verdict.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/fd.h"

namespace yado::assemble {

namespace {

constexpr size_t kMaxFile = 4096;
constexpr std::string_view kUsable = "usable", kUnusable = "unusable";

/// "" unless all of it can be read and is small.
std::string read_small(int fd) {
    std::string text(kMaxFile + 1, '\0');
    const ssize_t count = read(fd, text.data(), text.size());
    text.resize(count > 0 && static_cast<size_t>(count) <= kMaxFile ? static_cast<size_t>(count) : 0);
    return text;
}

/// A regular file of ours that nobody else may write to or read.
bool is_private(int fd) {
    struct stat st {};
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 077) == 0;
}

/// Takes a line without its newline; nothing if there is no newline.
std::optional<std::string_view> take_line(std::string_view& text) {
    const size_t end = text.find('\n');
    if (end == text.npos) return std::nullopt;
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    return line;
}

bool printable(std::string_view line) {
    return std::ranges::all_of(line, [](char c) { return c >= ' ' && c <= '~'; });
}

/// Which file it is and since when: another one in its place, or a change of it or its rights, is told apart.
std::string identity_of(const char* path) {
    struct stat st {};
    if (stat(path, &st) != 0) return "";
    return fmt::format("{}:{}:{}:{}.{:09}", st.st_dev, st.st_ino, st.st_size, st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
}

std::string boot_id() {
    const Fd fd(open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    const std::string text = fd ? read_small(fd.get()) : "";
    return text.substr(0, text.find('\n'));
}

}  // namespace

std::string KvmVerdictFile::this_host() {
    utsname kernel{};
    uname(&kernel);
    const std::string boot = boot_id(), program = identity_of("/proc/self/exe"), kvm = identity_of("/dev/kvm");
    if (boot.empty() || program.empty() || kvm.empty()) return "";
    const std::string line = fmt::format("kvm verdict 1, boot {}, kernel {} {}, program {}, kvm {}", boot, kernel.release, kernel.version, program, kvm);
    return printable(line) ? line : "";
}

std::optional<KvmVerdict> KvmVerdictFile::recall() const {
    if (path_.empty()) return std::nullopt;
    const Fd fd(open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!fd || !is_private(fd.get())) return std::nullopt;
    const std::string text = read_small(fd.get());
    std::string_view rest = text;
    const auto subject = take_line(rest), word = take_line(rest), reason = take_line(rest);
    if (subject != subject_ || !reason || !rest.empty()) return std::nullopt;
    if ((word != kUsable && word != kUnusable) || reason->empty() || !printable(*reason)) return std::nullopt;
    return KvmVerdict{word == kUsable, std::string(*reason)};
}

void KvmVerdictFile::keep(const KvmVerdict& verdict) const {
    if (path_.empty()) return;
    const std::string text = fmt::format("{}\n{}\n{}\n", subject_, verdict.usable ? kUsable : kUnusable, verdict.reason);
    std::string draft = path_ + ".XXXXXX";
    const Fd fd(mkostemp(draft.data(), O_CLOEXEC));  // 0600
    if (!fd) return;
    const bool whole = write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
    if (!whole || rename(draft.c_str(), path_.c_str()) != 0) unlink(draft.c_str());
}

void KvmVerdictFile::forget() const {
    if (!path_.empty()) unlink(path_.c_str());
}

bool leaves_no_doubt(const cpu_kvm::ProbeReport& report) {
    constexpr double kEmulated = cpu_kvm::kUsableMips / 10;  // a busy host takes time from a processor, not nine tenths of its speed
    return report.usable || (report.ring0_mips > 0 && report.ring0_mips < kEmulated);
}

KvmVerdict probe_anew(const KvmVerdictFile& file) {
    const cpu_kvm::ProbeReport report = cpu_kvm::probe();
    const KvmVerdict verdict{report.usable, report.reason};
    if (leaves_no_doubt(report)) file.keep(verdict);
    else file.forget();
    return verdict;
}

}  // namespace yado::assemble
