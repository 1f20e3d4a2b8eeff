#include "storage/operations/new_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "storage/file/path.h"
#include "storage/nbd/nbd_file.h"

namespace yado::storage {
namespace {

using io::or_return;

io::Task<Result<std::unique_ptr<ImageFile>>> create_in_file(io::Executor& executor, const std::string& path, const Format& format,
                                                            const CreateOptions& options) {
    if (is_nbd_uri(path)) co_return fail(ErrorKind::Usage, "disk {}: no image can be made on a server; make a file, and copy it there (nbdcopy)", path);
    const HostFileConfig host{.path = path};
    auto file = co_await or_return(create_host_file(executor, host));
    const auto made = co_await format.create(*file, options);
    if (made) co_return std::move(file);
    (void)co_await file->close();
    unlink(path.c_str());
    co_return std::unexpected(made.error());
}

struct Magic {
    std::string_view format, bytes;
    bool at_end;  ///< of the file's last sector, else of the first
};
constexpr std::array kMagics = {Magic{"qcow2", "QFI\xfb", false}, Magic{"vhdx", "vhdxfile", false}, Magic{"vmdk", "KDMV", false},
                                Magic{"vhd", "conectix", false}, Magic{"vhd", "conectix", true}};

}  // namespace

NewFile::~NewFile() {
    if (!path_.empty()) unlink(path_.c_str());
}

io::Task<Result<>> create_image(io::Executor& executor, std::string path, const Format& format, CreateOptions options) {
    auto file = co_await or_return(co_await create_in_file(executor, path, format, options));
    NewFile made(path);
    co_await or_return(co_await file->close());
    made.keep();
    co_return Result<>{};
}

io::Task<Result<FreshImage>> create_open_image(io::Executor& executor, std::string path, const Format& format,
                                               CreateOptions options, std::unique_ptr<block::DiskImage> below) {
    auto file = co_await or_return(co_await create_in_file(executor, path, format, options));
    NewFile made(path);
    const ImageInfo info = co_await or_return(co_await format.info(*file));
    OpenOptions open;
    open.backing = std::move(below);
    if (options.parent) open.backing_id = options.parent->id;
    auto image = co_await format.open(std::move(file), std::move(open));
    if (!image) co_return std::unexpected(image.error());
    made.keep();
    FreshImage fresh{.image = std::move(*image), .cluster_size = info.cluster_size};
    co_return std::move(fresh);
}

std::string name_beside(const std::string& path) {
    const std::string stem = fmt::format("{}.{}-{}.tmp", path, "yado", getpid());
    std::string name = stem;
    for (unsigned n = 1; access(name.c_str(), F_OK) == 0; ++n) name = fmt::format("{}{}", stem, n);
    return name;
}

namespace {

/// Mode, owner and contents of `fresh`, on the disk.
Result<> finish_like(const std::string& fresh, const std::string& like) {
    struct stat old{};
    if (stat(like.c_str(), &old) < 0) return fail_errno(fmt::format("disk {}", like));
    if (!S_ISREG(old.st_mode)) return fail(ErrorKind::Failed, "disk {}: not a regular file, so that another cannot take its place", like);
    if (chown(fresh.c_str(), old.st_uid, old.st_gid) < 0 && geteuid() == 0) return fail_errno(fmt::format("disk {}: owner", fresh));
    if (chmod(fresh.c_str(), old.st_mode & 07777) < 0) return fail_errno(fmt::format("disk {}: mode", fresh));
    const Fd file(open(fresh.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file || fsync(file.get()) < 0) return fail_errno(fmt::format("disk {}: flush", fresh));
    return {};
}

}  // namespace

Result<> sync_folder(const std::string& path) {
    const Fd folder(open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder || fsync(folder.get()) < 0) return fail_errno(fmt::format("disk {}: flush of its folder", path));
    return {};
}

Result<> replace_file(const std::string& fresh, const std::string& path) {
    YADO_TRY(finish_like(fresh, path));
    if (rename(fresh.c_str(), path.c_str()) < 0) return fail_errno(fmt::format("disk {}: replace", path));
    return sync_folder(path);
}

Result<> place_file(const std::string& fresh, const std::string& like, const std::string& path) {
    YADO_TRY(finish_like(fresh, like));
    if (renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) return sync_folder(path);
    if (errno == EEXIST) return fail(ErrorKind::Conflict, "disk {}: exists already; move it away first", path);
    return fail_errno(fmt::format("disk {}: name", path));
}

Result<std::string> format_of_extension(const std::string& path) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kExtensions{
        {{".qcow2", "qcow2"}, {".vhd", "vhd"}, {".vhdx", "vhdx"}, {".img", "raw"}, {".raw", "raw"}}};
    for (const auto& [extension, format] : kExtensions)
        if (path.ends_with(extension)) return std::string(format);
    return fail(ErrorKind::Usage, "disk {}: its name does not tell the format (.qcow2, .vhd, .vhdx, .img or .raw would); name it", path);
}

io::Task<Result<std::string>> guess_format(io::Executor& executor, std::string path) {
    const HostFileConfig host{.path = path, .readonly = true};
    auto file = co_await or_return(co_await open_named_file(executor, host));
    std::array<std::byte, 512> first{}, last{};
    const uint64_t size = file->size().value();
    const uint64_t there = std::min<uint64_t>(size, 512);
    auto read = co_await read_bytes(*file, Bytes(0), std::span(first).first(there));
    if (read) read = co_await read_bytes(*file, Bytes(size - there), std::span(last).first(there));
    (void)co_await file->close();
    if (!read) co_return std::unexpected(read.error());
    for (const Magic& magic : kMagics) {
        const auto& sector = magic.at_end ? last : first;
        if (std::string_view(reinterpret_cast<const char*>(sector.data()), magic.bytes.size()) == magic.bytes)
            co_return std::string(magic.format);
    }
    co_return std::string("raw");
}

}  // namespace yado::storage
