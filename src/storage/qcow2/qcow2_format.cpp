#include "storage/qcow2/qcow2_format.h"

#include <chrono>

#include "storage/qcow2/backing_name.h"
#include "storage/qcow2/check.h"
#include "storage/qcow2/create.h"
#include "storage/qcow2/qcow2_image.h"
#include "storage/qcow2/snapshot_table.h"
#include "storage/qcow2/snapshots.h"

namespace yado::storage {
namespace {

using io::or_return;
using namespace qcow2;

Result<> check_backing(const ImageFile& file, const Header& header, const OpenOptions& options) {
    if (header.backing && !options.backing)
        return fail(ErrorKind::Failed, "disk {}: it is a clone of another image, which was not given", file.name());
    if (!header.backing && options.backing) return fail(ErrorKind::Failed, "disk {}: it is a clone of no image, and one was given", file.name());
    return {};
}

/// What a writer owes an image before the first write.
io::Task<Result<>> prepare_for_writing(ImageFile& file, const Header& header) {
    if (header.corrupt()) co_return fail(ErrorKind::Corrupt, "disk {}: marked corrupt; repair it, or open it read-only", file.name());
    if (header.dirty()) {
        const CheckReport report = co_await or_return(co_await check(file, Repair::All));
        if (report.errors) co_return damaged(file, "it was not closed, and {} errors cannot be repaired", report.errors);
    }
    if (header.autoclear == 0) co_return Result<>{};
    HeaderSector sector(file);  // we maintain none of what these bits vouch for
    co_await or_return(co_await sector.load());
    sector.set64(kAutoclearAt, 0);
    co_return co_await sector.store();
}

/// The image owns the file from here on; it is not closed if it cannot be used.
io::Task<Result<Header>> prepare(ImageFile& file, const OpenOptions& options) {
    Header header = co_await or_return(co_await read_header(file));
    co_await or_return(check_backing(file, header, options));
    if (file.readonly()) co_return std::move(header);
    co_await or_return(co_await prepare_for_writing(file, header));
    co_return co_await read_header(file);
}

class Qcow2Format final : public Format {
  public:
    std::string_view name() const override { return "qcow2"; }

    io::Task<Result<>> create(ImageFile& file, const CreateOptions& options) const override { co_return co_await qcow2::create(file, options); }

    io::Task<Result<ImageInfo>> info(ImageFile& file) const override {
        const Header header = co_await or_return(co_await read_header(file));
        const SnapshotTable snapshots = co_await or_return(co_await read_snapshot_table(file, header));
        ImageInfo info;
        info.format = "qcow2";
        info.variant = fmt::format("version {}", header.version);
        info.size = Bytes(header.size);
        info.cluster_size = Bytes(header.geometry.cluster_size());
        info.backing = header.backing;
        for (const SnapshotEntry& s : snapshots.entries) info.snapshots.push_back(s.info);
        add_details(header, info);
        co_return std::move(info);
    }

    io::Task<Result<CheckReport>> check(ImageFile& file, Repair repair) const override { co_return co_await qcow2::check(file, repair); }

    io::Task<Result<>> set_backing(ImageFile& file, const std::optional<CreateOptions::Parent>& parent) const override {
        co_return co_await set_backing_name(file, parent);
    }

    io::Task<Result<>> snapshot(ImageFile& file, SnapshotVerb verb, const std::string& which) const override {
        switch (verb) {
        case SnapshotVerb::Create: {
            const int64_t now = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
            co_await or_return(co_await create_snapshot(file, which, now));
            break;
        }
        case SnapshotVerb::Delete: co_return co_await delete_snapshot(file, which);
        case SnapshotVerb::Rollback: co_return co_await rollback_snapshot(file, which);
        }
        co_return Result<>{};
    }

  private:
    io::Task<Result<std::unique_ptr<block::DiskImage>>> do_open(std::unique_ptr<ImageFile>& file, OpenOptions& options) const override {
        const Header header = co_await or_return(co_await prepare(*file, options));
        Metadata::Options tables;
        tables.punch = options.discard;
        auto image = std::make_unique<Qcow2Image>(std::move(file), header, std::move(options), tables);
        const Result<> loaded = co_await image->load();
        if (loaded) co_return std::move(image);
        co_await image->abandon();
        co_return std::unexpected(loaded.error());
    }

    static void add_details(const Header& header, ImageInfo& info) {
        info.details.emplace_back("compression", header.compression == Compression::Zstd ? "zstd" : "zlib");
        info.details.emplace_back("refcount bits", std::to_string(1u << header.geometry.refcount_order));
        info.details.emplace_back("dirty", header.dirty() ? "yes" : "no");
        info.details.emplace_back("corrupt", header.corrupt() ? "yes" : "no");
        if (header.bitmaps) info.details.emplace_back("bitmaps", fmt::format("{}{}", header.bitmaps->count, header.bitmaps->consistent ? "" : " (stale)"));
    }
};

}  // namespace

const Format& qcow2_format() {
    static const Qcow2Format format;
    return format;
}

}  // namespace yado::storage
