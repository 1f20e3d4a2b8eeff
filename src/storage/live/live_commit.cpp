// Live commits. A is what the guest has written since its base B:
//
//     A on B  -->  T on A on B  -->  A's contents go to B  -->  T on B       A's file is removed
//             a snapshot named        T takes the guest's       T's header
//             "commit"                writes meanwhile          names B
//
// A shows through until all of it is in B, and B shows what A did from then on: each step may be the last one before a crash.
#include <sys/stat.h>
#include <unistd.h>

#include "storage/file/path.h"
#include "storage/live/live_parts.h"
#include "storage/operations/copy.h"
#include "storage/operations/parent.h"

namespace yado::storage {

using io::or_return;

namespace {

constexpr const char* kCommitName = "commit";

/// That the path still leads to the file that was opened for reading.
Result<> check_same_file(const Layer& layer) {
    struct stat st{};
    if (stat(layer.path.c_str(), &st) < 0) return fail_errno(fmt::format("disk {}", layer.path));
    if (st.st_dev == layer.device && st.st_ino == layer.inode) return {};
    return fail(ErrorKind::Conflict, "disk {}: is not the file any more that lies below; commit it when the guest is stopped", layer.path);
}

}  // namespace

/// One that was cut off has left its T: A, which it had named, is to be folded down still.
bool LiveDisk::begun() const {
    if (layers_.size() < 3) return false;
    return split_name(middle_path()).stem == fmt::format("{}.{}", split_name(layers_[0].path).stem, kCommitName);
}

/// As the top's header names it: what a layer's path says is for people to read.
std::string LiveDisk::middle_path() const {
    const std::string& claim = layers_[0].info.backing->path;
    return claim.starts_with('/') ? claim : folder_of(layers_[0].path) + claim;
}

Result<> LiveDisk::check_committable() const {
    const std::string& path = config_.disk.path;
    if (layers_.empty()) return fail(ErrorKind::Usage, "disk {}: snapshot=on: its writes are thrown away", path);
    if (readonly()) return fail(ErrorKind::Usage, "disk {}: read-only: it has nothing to commit", path);
    if (layers_.size() < 2) return fail(ErrorKind::Usage, "disk {}: has no base", path);
    if (layers_[0].format->name() != "qcow2")
        return fail(ErrorKind::Failed, "disk {}: a {} is not committed while a guest uses it; stop the guest, and use yado disk commit", path, layers_[0].format->name());
    const Layer& folded = begun() ? layers_[1] : layers_[0];
    if (folded.info.snapshots.empty()) return {};
    return fail(ErrorKind::Failed, "disk {}: holds {} snapshots, which need its base as it is; delete them first", folded.path, folded.info.snapshots.size());
}

io::Task<Result<>> LiveDisk::commit(Control control) {
    co_await or_return(check_committable());
    const Busy busy = co_await or_return(begin());
    const auto cancelled = std::move(control.cancelled);
    control.cancelled = [this, cancelled] { return closing_ || (cancelled && cancelled()); };
    const bool cover = !begun();
    co_await or_return(co_await make_base_writable(cover ? 1 : 2));
    Result<> done;
    if (cover) done = co_await cover_top();
    if (cover && !done) {  // perhaps with T in its place: B is where it is named
        const size_t base = begun() ? 2 : 1;
        (void)co_await chain_link(*layers_[base].image)->become_base();
        co_return done;
    }
    done = co_await fold_down(std::move(control));
    if (done) done = co_await leave_out_middle();
    const Result<> closed = co_await chain_link(*layers_[done ? 1 : 2].image)->become_base();
    co_return done ? closed : done;
}

/// T over A.
io::Task<Result<>> LiveDisk::cover_top() {
    std::string name = kCommitName;
    co_await or_return(co_await prepare(std::move(name)));
    co_await halt();
    switch_over();
    go();
    const auto made = co_await finish_snapshot();
    if (!made) co_return std::unexpected(made.error());
    co_return Result<>{};
}

/// B, which was opened for reading, is opened once more, for writing; then that one takes its place under A.
io::Task<Result<>> LiveDisk::make_base_writable(size_t at) {
    ImageFile& reader = chain_link(*layers_[at].image)->file();
    co_await or_return(reader.relock(LockUse::ReadBesideWriter));
    Result<> opened = co_await open_base_for_writing(at);
    if (opened) co_return opened;
    const Result<> again = reader.relock(LockUse::Read);
    co_return again ? opened : again;
}

io::Task<Result<>> LiveDisk::open_base_for_writing(size_t at) {
    Layer& base = layers_[at];
    co_await or_return(check_same_file(base));
    ChainLink& reader = *chain_link(*base.image);
    ChainConfig config = chain_config(config_.disk);
    config.path = base.path;
    config.writeback = {};
    config.direct = false;
    auto file = co_await or_return(open_top_file(executor_, config));
    OpenOptions options;
    if (reader.below()) options.backing = borrow(*reader.below());
    options.backing_id = layers_.size() > at + 1 ? layers_[at + 1].id() : "";
    options.discard = config_.disk.discard;
    auto writer = co_await or_return(co_await base.format->open(std::move(file), std::move(options)));

    co_await switch_->halt(SwitchImage::Halt::Transfers);
    chain_link(*writer)->below() = std::move(reader.below());
    base.image = writer.get();
    std::unique_ptr<block::DiskImage> old = std::exchange(chain_link(*layers_[at - 1].image)->below(), std::move(writer));
    switch_->go();
    (void)co_await old->close();  // it was only read
    co_return Result<>{};
}

io::Task<Result<>> LiveDisk::fold_down(Control control) {
    block::DiskImage& from = *layers_[1].image;
    block::DiskImage& to = *layers_[2].image;
    if (to.size() < from.size()) {
        co_await switch_->halt(SwitchImage::Halt::Transfers);
        const Result<> grown = co_await to.resize(from.size());
        switch_->go();
        if (!grown) co_return grown;
    }
    co_await or_return(co_await copy_own(from, to, control));
    co_return co_await chain_link(to)->settle();
}

/// T over B.
io::Task<Result<>> LiveDisk::leave_out_middle() {
    CreateOptions::Parent parent;
    parent.path = co_await or_return(recorded_name(layers_[0].path, layers_[2].path));
    parent.format = layers_[2].format->name();
    parent.id = layers_[2].id();
    const std::string named_as = parent.path;
    ChainLink& top = *chain_link(*layers_[0].image);
    ChainLink& middle = *chain_link(*layers_[1].image);
    co_await switch_->halt(SwitchImage::Halt::Everything);
    const Result<> named = co_await top.name_parent(std::move(parent));
    if (!named) {
        switch_->go();
        co_return named;
    }
    std::unique_ptr<block::DiskImage> old = std::exchange(top.below(), std::move(middle.below()));
    const std::string path = middle_path();
    layers_[0].info.backing->path = named_as;
    layers_.erase(layers_.begin() + 1);
    switch_->go();
    (void)co_await old->close();  // it was only read
    unlink(path.c_str());
    co_return Result<>{};
}

}  // namespace yado::storage
