#include "storage/vhd/vhd_format.h"

#include "storage/vhd/create.h"
#include "storage/vhd/images.h"

namespace yado::storage {

using io::or_return;

namespace vhd {
namespace {

/// Whether what was given below is what the header names.
Result<> check_backing(const ImageFile& file, const Layout& layout, const OpenOptions& options) {
    if (!layout.differencing()) {
        if (options.backing) return fail(ErrorKind::Usage, "disk {}: a {} VHD has nothing below it", file.name(), layout.variant());
        return {};
    }
    const std::string parent = layout.header->parent_id().text(Uuid::Order::Text);
    if (!options.backing) return fail(ErrorKind::Failed, "disk {}: a differencing VHD: its parent ({}) must be given", file.name(), parent);
    if (options.backing_id != parent)
        return fail(ErrorKind::Failed, "disk {}: made on the parent {}, and the one given is {}", file.name(), parent,
                    options.backing_id.empty() ? "no VHD" : options.backing_id);
    return {};
}

/// Takes the file and the backing image on success only.
io::Task<Result<std::unique_ptr<block::DiskImage>>> open_image(std::unique_ptr<ImageFile>& file, OpenOptions& options) {
    Layout layout = co_await or_return(co_await load_layout(*file));
    co_await or_return(check_backing(*file, layout, options));
    if (!layout.header) co_return make_fixed(std::move(file), std::move(layout));
    const Survey found = survey(layout, file->size().value());
    if (found.report.errors > 0) co_return fail_damaged(*file, found.report);
    co_return make_dynamic(std::move(file), std::move(layout), found, std::move(options));
}

class Checker {
  public:
    Checker(ImageFile& file, Repair repair) : file_(file), repair_(repair) {}

    io::Task<Result<CheckReport>> run() {
        layout_ = co_await or_return(co_await load_layout(file_));
        if (layout_.header) co_await or_return(co_await check_dynamic());
        else report_.allocated = report_.total = layout_.size / kSector;
        co_return report_;
    }

  private:
    // The table is not touched: which of two blocks that overlap is right nobody knows.
    io::Task<Result<>> check_dynamic() {
        const Survey found = survey(layout_, file_.size().value());
        report_ = found.report;
        report_.total = layout_.table.size();
        const bool sound = found.report.errors == 0;
        if (!layout_.start_good || layout_.copies_differ) {
            report_.note("the footer's copy at the start is not like it");
            co_await or_return(co_await fix(sound && repair_ == Repair::All, report_.errors, write_start()));
        }
        // A crash may leave that: space with nothing in it at the end. The copy at the start tells all that is needed.
        if (!layout_.end_footer) {
            report_.note("there is no footer at the end; its copy at the start is good");
            co_await or_return(co_await fix(sound && repair_ != Repair::No, report_.leaks, write_end(found.end_of_blocks)));
        } else if (sound && found.unused > 0) {
            report_.note(fmt::format("space for {} blocks that nothing refers to", found.unused));
            const bool at_end = *layout_.end_footer > found.end_of_blocks;
            const uint64_t before = report_.leaks;
            co_await or_return(co_await fix(at_end && repair_ != Repair::No, report_.leaks, write_end(found.end_of_blocks)));
            if (report_.leaks > before) report_.leaks += found.unused - 1;
        }
        co_return Result<>{};
    }

    io::Task<Result<>> fix(bool allowed, uint64_t& still_there, io::Task<Result<>> repair) {
        if (allowed) co_await or_return(co_await std::move(repair));
        ++(allowed ? report_.repaired : still_there);
        co_return Result<>{};
    }
    io::Task<Result<>> write_start() {
        co_await or_return(co_await write_bytes(file_, Bytes(0), layout_.footer.raw));
        co_return co_await file_.sync();
    }
    io::Task<Result<>> write_end(uint64_t at) {
        co_await or_return(co_await write_bytes(file_, Bytes(at), layout_.footer.raw));
        co_await or_return(co_await file_.sync());
        co_await or_return(co_await file_.resize(Bytes(at + kFooterSize)));
        co_return co_await file_.sync();
    }
    ImageFile& file_;
    const Repair repair_;
    Layout layout_;
    CheckReport report_;
};

}  // namespace
}  // namespace vhd

namespace {

class VhdFormat final : public Format {
  public:
    std::string_view name() const override { return "vhd"; }

    io::Task<Result<>> create(ImageFile& file, const CreateOptions& options) const override {
        co_return co_await vhd::create_image(file, options);
    }

    io::Task<Result<ImageInfo>> info(ImageFile& file) const override {
        const vhd::Layout layout = co_await or_return(co_await vhd::load_headers(file));
        ImageInfo info;
        info.format = "vhd";
        info.variant = layout.variant();
        info.size = Bytes(layout.size);
        info.details.emplace_back("id", layout.footer.id().text(Uuid::Order::Text));
        if (layout.header) info.cluster_size = Bytes(layout.block_size());
        if (layout.differencing()) {
            BackingClaim claim;
            claim.path = co_await or_return(co_await vhd::read_parent_path(file, *layout.header));
            claim.format = "vhd";
            info.backing = std::move(claim);
            info.details.emplace_back("parent id", layout.header->parent_id().text(Uuid::Order::Text));
        }
        co_return info;
    }

    io::Task<Result<CheckReport>> check(ImageFile& file, Repair repair) const override {
        vhd::Checker checker(file, repair);
        co_return co_await checker.run();
    }

  private:
    io::Task<Result<std::unique_ptr<block::DiskImage>>> do_open(std::unique_ptr<ImageFile>& file, OpenOptions& options) const override {
        co_return co_await vhd::open_image(file, options);
    }
};

}  // namespace

const Format& vhd_format() {
    static const VhdFormat format;
    return format;
}

}  // namespace yado::storage
