// Live snapshots: the file that the guest writes to gets a new image over it, in its place.
//
//     link(disk.qcow2, disk.NAME.qcow2) | overlay made beside | rename(overlay, disk.qcow2)     the guest writes to disk.NAME.qcow2
//     halt | overlay on top | go                                                               and from now on to disk.qcow2
//
// The overlay is empty until then, so that both names show the same: a crash at any point loses nothing.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "storage/file/path.h"
#include "storage/live/live_parts.h"
#include "storage/nbd/nbd_file.h"
#include "storage/operations/new_image.h"
#include "storage/operations/parent.h"

namespace yado::storage {

using io::or_return;

namespace {

constexpr size_t kMaxName = 64;

Result<> check_name(const std::string& name) {
    const auto good = [](unsigned char c) { return isalnum(c) || c == '-' || c == '_' || c == '.'; };
    if (!name.empty() && name.size() <= kMaxName && name[0] != '.' && std::ranges::all_of(name, good)) return {};
    return fail(ErrorKind::Usage, "snapshot name \"{}\": use 1 to {} letters, digits, -, _ and ., and another than . first", printable(name), kMaxName);
}

/// Only a file can be given another name.
Result<std::string> regular_file(const std::string& path) {
    struct stat st{};
    if (is_nbd_uri(path)) return fail(ErrorKind::Failed, "disk {}: a server's image; make the snapshot there", path);
    if (stat(path.c_str(), &st) < 0) return fail_errno(fmt::format("disk {}", path));
    if (!S_ISREG(st.st_mode)) return fail(ErrorKind::Failed, "disk {}: not a regular file, so that no other can take its place", path);
    return real_path(path);
}

}  // namespace

NameParts split_name(const std::string& path) {
    if (!format_of_extension(path)) return {path, ""};
    const size_t dot = path.rfind('.');
    return {path.substr(0, dot), path.substr(dot)};
}

Result<LiveDisk::Busy> LiveDisk::begin() {
    if (busy_) return fail(ErrorKind::Conflict, "disk {}: another snapshot or commit is under way", config_.disk.path);
    auto pass = operations_.enter();
    if (!pass) return fail(ErrorKind::Conflict, "disk {}: is being closed", config_.disk.path);
    return Busy(busy_, std::move(*pass));
}

io::Task<Result<>> LiveDisk::prepare_snapshot(std::string name) {
    Busy busy = co_await or_return(begin());
    co_await or_return(co_await prepare(std::move(name)));
    prepared_->busy.emplace(std::move(busy));
    co_return Result<>{};
}

io::Task<Result<>> LiveDisk::prepare(std::string name) {
    co_await or_return(check_name(name));
    if (layers_.empty()) co_return fail(ErrorKind::Usage, "disk {}: snapshot=on: its writes are thrown away", config_.disk.path);
    if (readonly()) co_return fail(ErrorKind::Usage, "disk {}: read-only: nothing is written to it", config_.disk.path);
    if (layers_.size() >= kMaxChain)
        co_return fail(ErrorKind::Failed, "disk {}: {} images lie one on the other already; commit some of them", config_.disk.path, layers_.size());
    auto files = std::make_unique<Prepared>();
    files->old_path = co_await or_return(regular_file(layers_[0].path));
    const NameParts parts = split_name(files->old_path);
    files->format = layers_[0].format->name() == "vhd" ? "vhd" : "qcow2";
    files->base = fmt::format("{}.{}{}", parts.stem, name, parts.extension);
    files->active = fmt::format("{}.{}", parts.stem, files->format);
    const Result<> made = co_await make_snapshot_files(*files);
    if (made) prepared_ = std::move(files);
    else take_names_back(*files);
    co_return made;
}

io::Task<Result<>> LiveDisk::make_snapshot_files(Prepared& files) {
    if (link(files.old_path.c_str(), files.base.c_str()) < 0) {
        if (errno == EEXIST) co_return fail(ErrorKind::Conflict, "disk {}: exists already; choose another name for the snapshot", files.base);
        co_return fail_errno(fmt::format("disk {}: name", files.base));
    }
    files.base_named = true;
    CreateOptions options;
    options.size = size();
    CreateOptions::Parent parent;
    parent.path = co_await or_return(recorded_name(files.active, files.base));
    parent.format = layers_[0].format->name();
    parent.id = layers_[0].id();
    parent.modified_seconds = layers_[0].modified_seconds;
    options.parent = std::move(parent);
    const Format* format = co_await or_return(find_format(files.format));
    const NewFile fresh(name_beside(files.active));
    co_await or_return(co_await create_image(executor_, fresh.path(), *format, std::move(options)));
    const bool same = files.active == files.old_path;
    const Result<> placed = same ? replace_file(fresh.path(), files.active) : place_file(fresh.path(), files.old_path, files.active);
    if (!placed) co_return placed;
    files.active_named = true;
    co_await or_return(co_await open_overlay(files));
    if (!same && unlink(files.old_path.c_str()) < 0) co_return fail_errno(fmt::format("disk {}: rename", files.old_path));
    co_return sync_folder(files.active);
}

io::Task<Result<>> LiveDisk::open_overlay(Prepared& files) {
    ChainConfig top = chain_config(config_.disk);
    top.path = files.active;
    top.format = files.format;
    files.layer.format = co_await or_return(find_format(files.format));
    auto file = co_await or_return(open_top_file(executor_, top));
    auto info = co_await files.layer.format->info(*file);
    if (!info) {
        (void)co_await file->close();
        co_return std::unexpected(info.error());
    }
    files.layer.info = std::move(*info);
    OpenOptions options;
    options.backing = borrow(*layers_[0].image);
    options.backing_id = layers_[0].id();
    options.discard = config_.disk.discard;
    files.overlay = co_await or_return(co_await files.layer.format->open(std::move(file), std::move(options)));
    files.layer.image = files.overlay.get();
    files.layer.path = files.active;
    struct stat st{};
    if (stat(files.active.c_str(), &st) == 0) {
        files.layer.device = st.st_dev;
        files.layer.inode = st.st_ino;
    }
    co_return Result<>{};
}

/// What has the disk's name is the old file again.
void LiveDisk::take_names_back(const Prepared& files) {
    const bool same = files.active == files.old_path;
    if (files.active_named && same) {
        rename(files.base.c_str(), files.active.c_str());
        return;
    }
    if (files.active_named) unlink(files.active.c_str());
    if (access(files.old_path.c_str(), F_OK) < 0) rename(files.base.c_str(), files.old_path.c_str());
    else if (files.base_named) unlink(files.base.c_str());
}

io::Task<> LiveDisk::abandon_snapshot() {
    if (!prepared_) co_return;
    const auto files = std::move(prepared_);
    (void)co_await files->overlay->close();
    take_names_back(*files);
}

io::Task<> LiveDisk::halt() {
    prepared_->halted_at = executor_.clock().now();
    co_await switch_->halt(SwitchImage::Halt::Transfers);
}

void LiveDisk::switch_over() {
    Prepared& files = *prepared_;
    ChainLink& base = *chain_link(*layers_[0].image);
    std::unique_ptr<block::DiskImage>& top = switch_->image();
    chain_link(*files.overlay)->below() = std::move(top);
    top = std::move(files.overlay);
    switch_->owe(base);
    base.file().renamed(files.base);
    layers_[0].path = files.base;
    layers_.insert(layers_.begin(), std::move(files.layer));
}

void LiveDisk::go() {
    switch_->go();
    prepared_->stall = executor_.clock().now() - prepared_->halted_at;
}

io::Task<Result<SnapshotMade>> LiveDisk::finish_snapshot() {
    const auto files = std::move(prepared_);
    co_await or_return(co_await switch_->settle());
    SnapshotMade made{.base = files->base, .active = files->active, .format = files->format, .stall = files->stall};
    co_return std::move(made);
}

}  // namespace yado::storage
