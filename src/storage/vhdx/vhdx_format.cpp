#include "storage/vhdx/vhdx_format.h"

#include "storage/vhdx/create.h"
#include "storage/vhdx/vhdx_image.h"

namespace yado::storage {

using io::or_return;

namespace vhdx {
namespace {

/// Takes the file and the backing image on success only.
io::Task<Result<std::unique_ptr<block::DiskImage>>> open_image(std::unique_ptr<ImageFile>& file, OpenOptions& options) {
    Layout layout = co_await or_return(co_await load_layout(*file));
    if (layout.differencing)
        co_return fail(ErrorKind::Failed, "disk {}: a differencing VHDX, which is not supported; merge it into its parent first",
                       file->name());
    if (options.backing) co_return fail(ErrorKind::Usage, "disk {}: a {} VHDX has nothing below it", file->name(), layout.variant());
    const Survey found = survey(layout, file->size().value());
    if (found.report.errors > 0) co_return fail_damaged(*file, found.report);
    const bool has_log = !layout.header.log_guid().zero();
    if (has_log && !file->readonly()) co_await or_return(co_await VhdxImage::replay(*file, layout));
    co_return std::make_unique<VhdxImage>(std::move(file), std::move(layout), found, std::move(options));
}

class Checker {
  public:
    Checker(ImageFile& file, Repair repair) : file_(file), repair_(repair) {}

    io::Task<Result<CheckReport>> run() {
        layout_ = co_await or_return(co_await load_layout(file_));
        const Survey found = survey(layout_, file_.size().value());
        report_ = found.report;
        report_.total = layout_.blocks();
        const bool sound = found.report.errors == 0;
        if (!layout_.header.log_guid().zero()) report_.note("it was not closed: its log is replayed when it is opened for writing");
        if (sound && repair_ != Repair::No && !layout_.header.log_guid().zero()) co_await or_return(co_await VhdxImage::replay(file_, layout_));
        co_await or_return(co_await check_copies(sound && repair_ == Repair::All));
        if (sound && found.unused > 0 && !layout_.differencing) co_await or_return(co_await check_unused(found));
        co_return report_;
    }

  private:
    // A crash while the headers are written leaves one of them: that is what there are two for. So it is no error.
    io::Task<Result<>> check_copies(bool repair) {
        if (!layout_.header_good[0] || !layout_.header_good[1]) {
            report_.note("one of its two headers is not valid; the other is");
            if (repair) co_await or_return(co_await update_headers(file_, layout_.header, layout_.current));
            report_.repaired += repair;
        }
        if (!layout_.regions_good[0] || !layout_.regions_good[1]) {
            report_.note("one of its two region tables is not valid; the other is");
            if (repair) co_await or_return(co_await copy_regions());
            ++(repair ? report_.repaired : report_.errors);
        }
        co_return Result<>{};
    }
    io::Task<Result<>> copy_regions() {
        std::vector<std::byte> table(kTableSize);
        const size_t good = layout_.regions_good[0] ? 0 : 1;
        co_await or_return(co_await read_bytes(file_, Bytes(kRegionTableOffsets[good]), table));
        co_await or_return(co_await write_bytes(file_, Bytes(kRegionTableOffsets[1 - good]), table));
        co_return co_await file_.sync();
    }
    io::Task<Result<>> check_unused(const Survey& found) {
        report_.note(fmt::format("space for {} blocks that nothing refers to", found.unused));
        const bool repair = repair_ != Repair::No && file_.size().value() > found.end;
        if (repair) co_await or_return(co_await file_.resize(Bytes(found.end)));
        if (repair) co_await or_return(co_await file_.sync());
        (repair ? report_.repaired : report_.leaks) += repair ? 1 : found.unused;
        co_return Result<>{};
    }
    ImageFile& file_;
    const Repair repair_;
    Layout layout_;
    CheckReport report_;
};

}  // namespace
}  // namespace vhdx

namespace {

class VhdxFormat final : public Format {
  public:
    std::string_view name() const override { return "vhdx"; }

    io::Task<Result<>> create(ImageFile& file, const CreateOptions& options) const override {
        co_return co_await vhdx::create_image(file, options);
    }

    io::Task<Result<ImageInfo>> info(ImageFile& file) const override {
        const vhdx::Layout layout = co_await or_return(co_await vhdx::load_headers(file));
        ImageInfo info;
        info.format = "vhdx";
        info.variant = layout.variant();
        info.size = Bytes(layout.size);
        info.cluster_size = Bytes(layout.block_size);
        // What a child's parent_linkage names is the state of the data, not the disk ([MS-VHDX] 2.6.2.6.3).
        info.details.emplace_back("id", layout.header.data_write_guid().text(Uuid::Order::Guid));
        info.details.emplace_back("disk id", layout.disk_id.text(Uuid::Order::Guid));
        if (!layout.header.log_guid().zero()) info.details.emplace_back("log", "to be replayed");
        if (layout.differencing) {
            info.backing = BackingClaim{};
            info.backing->path = layout.parent_path;
            info.backing->format = "vhdx";
            info.details.emplace_back("parent id", layout.parent_linkage);
        }
        co_return info;
    }

    io::Task<Result<CheckReport>> check(ImageFile& file, Repair repair) const override {
        vhdx::Checker checker(file, repair);
        co_return co_await checker.run();
    }

  private:
    io::Task<Result<std::unique_ptr<block::DiskImage>>> do_open(std::unique_ptr<ImageFile>& file, OpenOptions& options) const override {
        co_return co_await vhdx::open_image(file, options);
    }
};

}  // namespace

const Format& vhdx_format() {
    static const VhdxFormat format;
    return format;
}

}  // namespace yado::storage
