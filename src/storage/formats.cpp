#include <fmt/ranges.h>

#include <algorithm>

#include "storage/format.h"
#include "storage/qcow2/qcow2_format.h"
#include "storage/raw/raw_image.h"
#include "storage/vhd/vhd_format.h"
#include "storage/vhdx/vhdx_format.h"
#include "storage/vmdk/vmdk_format.h"

namespace yado::storage {

namespace {

std::vector<const Format*>& formats() {
    static std::vector<const Format*> list{&raw_format(), &qcow2_format(), &vhd_format(), &vhdx_format(), &vmdk_format()};
    return list;
}

}  // namespace

std::unexpected<Error> fail_damaged(const ImageFile& file, const CheckReport& report) {
    return fail(ErrorKind::Corrupt, "disk {}: damaged: {}{}", file.name(), report.findings.front(),
                report.errors > 1 ? fmt::format(" (and {} more; see `yado disk check`)", report.errors - 1) : "");
}

io::Task<Result<std::unique_ptr<block::DiskImage>>> Format::open(std::unique_ptr<ImageFile> file, OpenOptions options) const {
    auto image = co_await do_open(file, options);
    if (image) co_return std::move(image);
    if (options.backing) (void)co_await options.backing->close();
    if (file) (void)co_await file->close();
    co_return std::move(image);
}

io::Task<Result<>> Format::set_backing(ImageFile& file, const std::optional<CreateOptions::Parent>&) const {
    co_return fail(ErrorKind::Failed, "disk {}: {} images have no backing file that could be changed; use qcow2", file.name(), name());
}

io::Task<Result<>> ChainLink::become_base() {
    co_await io::or_return(co_await settle());
    file().end_writing();
    co_return file().relock(LockUse::Read);
}

io::Task<Result<>> ChainLink::name_parent(CreateOptions::Parent) {
    co_return fail(ErrorKind::Failed, "disk {}: its header cannot be changed while it is in use; use qcow2", file().name());
}

ChainLink* chain_link(block::DiskImage& image) { return dynamic_cast<ChainLink*>(&image); }

io::Task<Result<>> Format::snapshot(ImageFile& file, SnapshotVerb, const std::string&) const {
    co_return fail(ErrorKind::Failed, "disk {}: {} has no snapshots; use qcow2", file.name(), name());
}

const std::vector<const Format*>& all_formats() { return formats(); }

void add_format(const Format& format) { formats().push_back(&format); }

Result<const Format*> find_format(std::string_view name) {
    const auto found = std::ranges::find(formats(), name, &Format::name);
    if (found != formats().end()) return *found;
    std::vector<std::string_view> names;
    for (const Format* format : formats()) names.push_back(format->name());
    return fail(ErrorKind::Usage, "format={}: choose one of {}", name, fmt::join(names, ", "));
}

}  // namespace yado::storage
