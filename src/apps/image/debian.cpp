#include "apps/image/debian.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <ctime>
#include <deque>
#include <filesystem>
#include <fstream>

#include "apps/image/debian_scripts.h"
#include "apps/image/kernel.h"
#include "apps/image/mirrors.h"
#include "apps/process.h"
#include "base/fd.h"

namespace yado::apps {

namespace {

namespace fs = std::filesystem;

constexpr char kPackages[] =
    "linux-image-cloud-amd64,initramfs-tools,systemd-sysv,systemd-resolved,udev,dbus,libpam-systemd,login,passwd,apt,ca-certificates,"
    "iproute2,iputils-ping,util-linux,kmod,procps,e2fsprogs,less,vim-tiny,netbase,busybox-static,cpio";
constexpr size_t kLogLines = 15;

/// The folder that is built in: removed unless it is published.
class Draft {
  public:
    static Result<Draft> open(const ImageStore& store, const std::string& name) {
        Draft draft;
        draft.lock_ = Fd(::open((store.path() + "/." + name + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        if (!draft.lock_) return fail_errno(store.path());
        if (flock(draft.lock_.get(), LOCK_EX | LOCK_NB) != 0)
            return fail(ErrorKind::Conflict, "image {} is being built by another process; wait for it", name);
        draft.path_ = store.path() + "/." + name + ".new";
        std::error_code error;
        fs::remove_all(draft.path_, error);
        fs::create_directory(draft.path_, error);
        if (error) return std::unexpected(errno_error(error.value(), draft.path_));
        return draft;
    }
    Draft(Draft&& o) noexcept : path_(std::exchange(o.path_, {})), lock_(std::move(o.lock_)) {}
    ~Draft() {
        std::error_code ignored;
        if (!path_.empty()) fs::remove_all(path_, ignored);
    }
    std::string file(const char* name) const { return path_ + "/" + name; }
    const std::string& path() const { return path_; }

    Result<> publish(const std::string& place) {
        const std::string old = path_ + ".old";
        std::error_code error, ignored;
        fs::remove_all(old, ignored);
        fs::rename(place, old, ignored);  // a running guest keeps the files it has open
        fs::rename(path_, place, error);
        fs::remove_all(old, ignored);
        if (error) return std::unexpected(errno_error(error.value(), place));
        path_.clear();
        return {};
    }

  private:
    Draft() = default;
    std::string path_;
    Fd lock_;
};

/// Anybody may write the file by its descriptor; nobody else reaches it by its path until it is done.
Result<Fd> open_output(const std::string& path) {
    Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd || fchmod(fd.get(), 0666) != 0) return fail_errno(path);
    return fd;
}

std::vector<std::string> bootstrap_arguments() {
    std::vector<std::string> arguments = {"mmdebstrap", "--mode=auto", "--variant=minbase", "--format=null",
                                          std::string("--include=") + kPackages, std::string("--essential-hook=") + kEarlyScript,
                                          std::string("--customize-hook=") + kLateScript};
    for (const std::string& option : apt_proxy_options()) arguments.push_back("--aptopt=" + option);
    arguments.insert(arguments.end(), {"bookworm", "/dev/null"});
    for (const std::string& source : debian_sources()) arguments.push_back(source);
    return arguments;
}

std::string path_with_sbin() {
    const char* path = getenv("PATH");
    return std::string("PATH=") + (path ? path : "/usr/bin:/bin") + ":/usr/sbin:/sbin";
}

/// mmdebstrap's "I: ..." lines are the progress; the last lines of all are kept for a failure.
struct BuildLog {
    const Progress& progress;
    std::deque<std::string> last;
    void operator()(std::string_view line) {
        last.emplace_back(line);
        if (last.size() > kLogLines) last.pop_front();
        if (line.starts_with("I: ") && line.ends_with("...")) progress(line.substr(3, line.size() - 6));
    }
    std::string text() const {
        std::string all;
        for (const std::string& line : last) all += "\n    " + line;
        return all;
    }
};

Result<> bootstrap(const Draft& draft, Bytes size, const Progress& progress) {
    const Fd packages = YADO_TRY(open_output(draft.file("packages")));
    const Fd initrd = YADO_TRY(open_output(draft.file("initrd.img")));
    const Fd kernel = YADO_TRY(open_output(draft.file("vmlinuz")));
    const Fd disk = YADO_TRY(open_output(draft.file("root.img")));
    if (ftruncate(disk.get(), static_cast<off_t>(size.value())) != 0) return fail_errno(draft.file("root.img"));
    BuildLog log{progress, {}};
    const int status = YADO_TRY(run_program_to_end(
        {.arguments = bootstrap_arguments(),
         .descriptors = {{packages.get(), kPackagesFd}, {initrd.get(), kInitrdFd}, {kernel.get(), kKernelFd}, {disk.get(), kDiskFd}},
         .environment = {path_with_sbin(), "LC_ALL=C.UTF-8"},
         .on_line = [&](std::string_view line) { log(line); }}));
    for (const Fd* fd : {&packages, &initrd, &kernel, &disk}) fchmod(fd->get(), 0644);
    if (status != 0) return fail(ErrorKind::Failed, "mmdebstrap failed with status {}; its last words:{}", status, log.text());
    return {};
}

std::string kernel_version(const std::string& package_list) {
    std::ifstream in(package_list);
    constexpr std::string_view kPrefix = "linux-image-6";
    for (std::string line; std::getline(in, line);)
        if (line.starts_with(kPrefix)) return line.substr(12, line.find(' ') - 12);
    return "unknown";
}

std::string now_text() {
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    gmtime_r(&now, &utc);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return text;
}

}  // namespace

Result<> build_debian(const ImageStore& store, const std::string& name, Bytes size, bool force, const Progress& progress) {
    if (!force && store.find(name)) {
        progress("image " + name + " exists already; --force builds it anew");
        return {};
    }
    if (!in_path("mmdebstrap")) return fail(ErrorKind::NotFound, "mmdebstrap is not installed; apt-get install mmdebstrap");
    if (size < 1_GiB) return fail(ErrorKind::Usage, "a Debian image needs at least 1G");
    Draft draft = YADO_TRY(Draft::open(store, name));
    YADO_TRY(bootstrap(draft, size, progress));
    progress("unpacking the kernel");
    const auto unpacked = unpack_kernel(draft.file("vmlinuz"), draft.file("vmlinux"));
    if (!unpacked) progress("keeping the packed kernel: " + unpacked.error().message());
    YADO_TRY(ImageStore::describe(draft.path(), {.kernel = unpacked ? "vmlinux" : "vmlinuz", .initrd = "initrd.img", .disk = "root.img",
                                                 .append = "root=/dev/vda rw console=ttyS0 net.ifnames=0", .built = now_text(),
                                                 .description = "Debian 12 (bookworm), kernel " + kernel_version(draft.file("packages"))}));
    return draft.publish(store.folder_of(name));
}

}  // namespace yado::apps
