#include "storage/vmdk/vmdk_format.h"

#include <zlib.h>

#include <algorithm>
#include <unordered_map>

#include "base/bytes.h"
#include "storage/block_image.h"
#include "storage/pieces.h"
#include "storage/vmdk/layout.h"

namespace yado::storage {

using io::or_return;

namespace vmdk {
namespace {

constexpr size_t kMostTablesKept = 1024;

std::unexpected<Error> bad_grain(const ImageFile& file, uint64_t grain, std::string_view what) {
    return fail(ErrorKind::Corrupt, "disk {}: damaged: grain {} {}", file.name(), grain, what);
}

/// At most `into` bytes come out, whatever the data is; what is missing is zeroes.
bool unpack(std::span<const std::byte> packed, std::span<std::byte> into) {
    uLongf length = into.size();
    const int code = uncompress(reinterpret_cast<Bytef*>(into.data()), &length, reinterpret_cast<const Bytef*>(packed.data()), packed.size());
    if (code != Z_OK) return false;
    std::ranges::fill(into.subspan(length), std::byte{0});
    return true;
}

class VmdkImage final : public BlockImage {
  public:
    VmdkImage(std::unique_ptr<ImageFile> file, Layout layout)
        : BlockImage(std::move(file), OpenOptions{}, layout.compressed ? "vmdk stream-optimized" : "vmdk sparse", Bytes(layout.capacity),
                     layout.grain),
          layout_(std::move(layout)) {}

    bool readonly() const override { return true; }

  protected:
    std::optional<uint64_t> place_of(uint64_t) const override { return std::nullopt; }  // nothing is written

    io::Task<Result<Run>> find(uint64_t at, uint64_t length) override {
        const uint64_t grain = block_of(at), table = grain / layout_.table_entries;
        co_await or_return(co_await keep_table(table));
        const std::vector<uint32_t>& entries = tables_.at(table);
        const uint32_t entry = entries.empty() ? kNoGrain : entries[grain % layout_.table_entries];
        Run run;
        run.kind = Run::Kind::Zero;
        run.length = std::min(length, block_size_ - at % block_size_);
        if (entry == kNoGrain || (entry == kZeroGrain && layout_.zeroed_grains)) co_return run;
        run.kind = layout_.compressed ? Run::Kind::Packed : Run::Kind::Own;
        run.where = entry * kSector + (layout_.compressed ? 0 : at % block_size_);
        const uint64_t needed = layout_.compressed ? kMarkerLength : run.length, size = file_->size().value();
        if (run.where > size || needed > size - run.where) co_return bad_grain(*file_, grain, "lies behind the file's end");
        co_return run;
    }

    io::Task<Result<>> read_packed(const Run& run, uint64_t at, std::span<const iovec> into) override {
        const uint64_t grain = block_of(at);
        if (kept_grain_ != grain) {
            std::vector<std::byte> data = co_await or_return(co_await read_grain(run.where, grain));
            kept_ = std::move(data);
            kept_grain_ = grain;
        }
        scatter(std::span(kept_).subspan(at % block_size_, run.length), into);
        co_return Result<>{};
    }

  private:
    io::Task<Result<>> keep_table(uint64_t n) {
        if (tables_.contains(n)) co_return Result<>{};
        std::vector<uint32_t> entries = co_await or_return(co_await load_table(*file_, layout_, n));
        if (tables_.size() >= kMostTablesKept) tables_.clear();
        tables_.try_emplace(n, std::move(entries));
        co_return Result<>{};
    }

    io::Task<Result<std::vector<std::byte>>> read_grain(uint64_t where, uint64_t grain) {
        std::array<std::byte, kMarkerLength> marker;
        co_await or_return(co_await read_bytes(*file_, Bytes(where), marker));
        const uint64_t size = load_le<uint32_t>(&marker[kMarkerSize]), room = file_->size().value() - where - kMarkerLength;
        if (load_le<uint64_t>(&marker[kMarkerLba]) != grain * (block_size_ / kSector))
            co_return bad_grain(*file_, grain, "has another's marker");
        if (size == 0 || size > room || size > 2 * block_size_) co_return bad_grain(*file_, grain, fmt::format("has {} compressed bytes", size));
        std::vector<std::byte> packed(size), data(block_size_);
        co_await or_return(co_await read_bytes(*file_, Bytes(where + kMarkerLength), packed));
        if (!unpack(packed, data)) co_return bad_grain(*file_, grain, "cannot be decompressed");
        co_return data;
    }

    Layout layout_;
    std::unordered_map<uint64_t, std::vector<uint32_t>> tables_;
    std::vector<std::byte> kept_;                    ///< the grain that was decompressed last
    uint64_t kept_grain_ = ~0ull;
};

class Checker {
  public:
    explicit Checker(ImageFile& file) : file_(file) {}

    io::Task<Result<CheckReport>> run() {
        layout_ = co_await or_return(co_await load_layout(file_));
        report_.total = layout_.grains();
        if (layout_.unclean) report_.note("it was not closed by its last writer");
        if (has_double_tables()) report_.problem("a grain table is used twice");
        else
            for (uint64_t n = 0; n < layout_.tables(); ++n) co_await or_return(co_await check_table(n));
        check_overlaps();
        co_return report_;
    }

  private:
    bool has_double_tables() const {
        std::vector<uint32_t> tables = layout_.directory;
        std::erase(tables, 0u);
        std::ranges::sort(tables);
        return std::ranges::adjacent_find(tables) != tables.end();
    }
    io::Task<Result<>> check_table(uint64_t n) {
        const Result<std::vector<uint32_t>> table = co_await load_table(file_, layout_, n);
        if (!table && table.error().kind() != ErrorKind::Corrupt) co_return std::unexpected(table.error());
        if (!table) report_.problem(table.error().message());
        const uint64_t needed = layout_.compressed ? kMarkerLength : kSector, size = file_.size().value();
        for (const uint32_t entry : table.value_or(std::vector<uint32_t>{})) {
            if (entry == kNoGrain || (entry == kZeroGrain && layout_.zeroed_grains)) continue;
            if (entry * kSector > size || needed > size - entry * kSector) report_.problem(fmt::format("a grain at sector {}, behind its end", entry));
            else grains_.push_back(entry);
        }
        co_return Result<>{};
    }
    void check_overlaps() {
        std::ranges::sort(grains_);
        report_.allocated = grains_.size();
        const uint64_t apart = layout_.compressed ? 1 : layout_.grain / kSector;
        for (size_t n = 1; n < grains_.size(); ++n)
            if (grains_[n] - grains_[n - 1] < apart) report_.problem(fmt::format("the grains at sectors {} and {} overlap", grains_[n - 1], grains_[n]));
    }

    ImageFile& file_;
    Layout layout_;
    CheckReport report_;
    std::vector<uint32_t> grains_;
};

io::Task<Result<std::unique_ptr<block::DiskImage>>> open_image(std::unique_ptr<ImageFile>& file, OpenOptions& options) {
    Layout layout = co_await or_return(co_await load_layout(*file));
    if (options.backing) co_return fail(ErrorKind::Usage, "disk {}: a VMDK with something below it is not supported", file->name());
    co_return std::make_unique<VmdkImage>(std::move(file), std::move(layout));
}

}  // namespace
}  // namespace vmdk

namespace {

class VmdkFormat final : public Format {
  public:
    std::string_view name() const override { return "vmdk"; }

    io::Task<Result<>> create(ImageFile& file, const CreateOptions&) const override {
        co_return fail(ErrorKind::Usage, "disk {}: VMDK is only read; create qcow2, vhdx or vhd", file.name());
    }
    io::Task<Result<ImageInfo>> info(ImageFile& file) const override {
        const vmdk::Layout layout = co_await or_return(co_await vmdk::load_layout(file));
        ImageInfo info;
        info.format = "vmdk";
        info.variant = layout.descriptor.create_type;
        info.size = Bytes(layout.capacity);
        info.cluster_size = Bytes(layout.grain);
        info.details.emplace_back("version", std::to_string(layout.version));
        info.details.emplace_back("content id", layout.descriptor.content_id);
        co_return info;
    }
    io::Task<Result<CheckReport>> check(ImageFile& file, Repair) const override {
        vmdk::Checker checker(file);
        co_return co_await checker.run();
    }

  private:
    io::Task<Result<std::unique_ptr<block::DiskImage>>> do_open(std::unique_ptr<ImageFile>& file, OpenOptions& options) const override {
        co_return co_await vmdk::open_image(file, options);
    }
};

}  // namespace

const Format& vmdk_format() {
    static const VmdkFormat format;
    return format;
}

}  // namespace yado::storage
