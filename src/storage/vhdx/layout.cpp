#include "storage/vhdx/layout.h"

#include <algorithm>
#include <cstring>

#include "storage/vhdx/crc32c.h"
#include "storage/vhdx/metadata.h"

namespace yado::storage::vhdx {

using io::or_return;

bool Header::good() const {
    return std::memcmp(raw.data(), header::kSignature, 4) == 0 && load_le<uint32_t>(&raw[header::kChecksum]) == crc32c(raw, header::kChecksum);
}

void Header::seal() { store_le(&raw[header::kChecksum], crc32c(raw, header::kChecksum)); }

io::Task<Result<>> View::read(uint64_t at, std::span<std::byte> into) const {
    const uint64_t end = at + into.size(), held = std::clamp(file.size().value(), at, end) - at;
    if (held > 0) co_await or_return(co_await read_bytes(file, Bytes(at), into.first(held)));
    std::ranges::fill(into.subspan(held), std::byte{0});
    for (const Patch& patch : replay.patches) {
        const uint64_t from = std::max(at, patch.offset), to = std::min(end, patch.offset + patch.length);
        if (from >= to) continue;
        if (patch.data.empty()) std::memset(&into[from - at], 0, to - from);
        else std::memcpy(&into[from - at], &patch.data[from - patch.offset], to - from);
    }
    co_return Result<>{};
}

namespace {

std::unexpected<Error> corrupt(const ImageFile& file, std::string_view what) {
    return fail(ErrorKind::Corrupt, "disk {}: not a sound VHDX: {}", file.name(), what);
}

/// 2.2.2: the valid one with the larger sequence number.
io::Task<Result<>> load_header(ImageFile& file, Layout& layout) {
    if (file.size().value() < kHeaderSection) co_return corrupt(file, "smaller than its header section");
    std::array<std::byte, 8> signature;
    co_await or_return(co_await read_bytes(file, Bytes(0), signature));
    if (std::memcmp(signature.data(), kFileSignature, 8) != 0) co_return corrupt(file, "no VHDX signature at its start");
    Header headers[2];
    for (size_t n = 0; n < 2; ++n) {
        co_await or_return(co_await read_bytes(file, Bytes(kHeaderOffsets[n]), headers[n].raw));
        layout.header_good[n] = headers[n].good();
    }
    if (!layout.header_good[0] && !layout.header_good[1]) co_return corrupt(file, "neither of its headers has the right checksum");
    const bool both = layout.header_good[0] && layout.header_good[1];
    if (both && headers[0].sequence() == headers[1].sequence() && headers[0].raw != headers[1].raw)
        co_return corrupt(file, "two headers that differ, with the same sequence number");
    layout.current = both ? headers[1].sequence() > headers[0].sequence() : layout.header_good[1];
    layout.header = headers[layout.current];
    co_return Result<>{};
}

Result<> check_header(const ImageFile& file, const Header& h) {
    if (h.version() != 1) return fail(ErrorKind::Failed, "disk {}: VHDX version {}: only 1 is known", file.name(), h.version());
    if (h.log_version() != 0 && !h.log_guid().zero())
        return fail(ErrorKind::Failed, "disk {}: a log of version {}: only 0 is known", file.name(), h.log_version());
    if (h.sequence() > kLargestSequence) return corrupt(file, fmt::format("a header with the sequence number {}", h.sequence()));
    const uint64_t length = h.log_length(), offset = h.log_offset(), size = file.size().value();
    if (length % kMiB || offset % kMiB || offset < kHeaderSection || offset > size || length > size - offset)
        return corrupt(file, fmt::format("a log of {} bytes at {}, in a file of {}", length, offset, size));
    if (length > kLongestLog) return fail(ErrorKind::Failed, "disk {}: a log of {} bytes: at most 64 MiB are supported", file.name(), length);
    return {};
}

/// 2.2.3: all of the entries, or nothing if the table is not valid.
std::optional<std::vector<Region>> parse_regions(std::span<const std::byte> table) {
    if (std::memcmp(table.data(), region::kSignature, 4) != 0) return std::nullopt;
    if (crc32c(table, region::kChecksum) != load_le<uint32_t>(&table[region::kChecksum])) return std::nullopt;
    const uint32_t count = load_le<uint32_t>(&table[region::kEntryCount]);
    if (count > region::kMostEntries) return std::nullopt;
    std::vector<Region> regions;
    for (uint32_t n = 0; n < count; ++n) {
        const std::byte* at = &table[region::kEntries + n * region::kEntrySize];
        regions.push_back({Uuid::load(at), load_le<uint64_t>(at + region::kFileOffset), load_le<uint32_t>(at + region::kLength),
                           (load_le<uint32_t>(at + region::kRequired) & 1) != 0});
    }
    return regions;
}

io::Task<Result<>> load_regions(const View& view, Layout& layout) {
    std::optional<std::vector<Region>> regions[2];
    for (size_t n = 0; n < 2; ++n) {
        std::vector<std::byte> table(kTableSize);
        co_await or_return(co_await view.read(kRegionTableOffsets[n], table));
        regions[n] = parse_regions(table);
        layout.regions_good[n] = regions[n].has_value();
    }
    if (!regions[0] && !regions[1]) co_return corrupt(view.file, "neither of its region tables is valid");
    layout.regions = std::move(regions[0] ? *regions[0] : *regions[1]);
    co_return Result<>{};
}

Result<> check_regions(const View& view, Layout& layout) {
    for (const Region& r : layout.regions) {
        if (r.offset % kMiB || r.length % kMiB || r.length == 0 || r.offset < kHeaderSection || r.offset > view.size() ||
            r.length > view.size() - r.offset)
            return corrupt(view.file, fmt::format("a region of {} bytes at {}, in a file of {}", r.length, r.offset, view.size()));
        const bool table = r.id == kBatRegion;
        if (!table && r.id != kMetadataRegion) {
            if (r.required)
                return fail(ErrorKind::Failed, "disk {}: it needs the region {}, which is not known", view.file.name(),
                            r.id.text(Uuid::Order::Guid));
            continue;
        }
        Region& known = table ? layout.table : layout.metadata;
        if (known.length) return corrupt(view.file, "a region twice");
        known = r;
    }
    if (!layout.table.length || !layout.metadata.length) return corrupt(view.file, "no block allocation table, or no metadata");
    return {};
}

}  // namespace

io::Task<Result<Layout>> load_headers(ImageFile& file) {
    Layout layout;
    co_await or_return(co_await load_header(file, layout));
    co_await or_return(check_header(file, layout.header));
    if (!layout.header.log_guid().zero()) {
        if (layout.header.log_length() == 0) co_return corrupt(file, "a log of no length, which is to be replayed");
        const LogPlace place{layout.header.log_offset(), layout.header.log_length(), layout.header.log_guid()};
        layout.replay = co_await or_return(co_await find_replay(file, place));
    }
    const View view{file, layout.replay};
    co_await or_return(co_await load_regions(view, layout));
    co_await or_return(check_regions(view, layout));
    co_await or_return(co_await load_metadata(view, layout));
    co_return layout;
}

io::Task<Result<Layout>> load_layout(ImageFile& file) {
    Layout layout = co_await or_return(co_await load_headers(file));
    const uint64_t needed = layout.entries_for(layout.blocks());
    if (needed > layout.table.length / 8)
        co_return corrupt(file, fmt::format("a table of {} entries, where {} are needed", layout.table.length / 8, needed));
    if (layout.blocks() > kMostBlocks)
        co_return fail(ErrorKind::Failed, "disk {}: {} blocks: at most {} are supported", file.name(), layout.blocks(), kMostBlocks);
    layout.entries.resize(needed);
    const View view{file, layout.replay};
    co_await or_return(co_await view.read(layout.table.offset, std::as_writable_bytes(std::span(layout.entries))));
    co_return layout;
}

namespace {

struct Range {
    uint64_t begin, end;
    const char* what;
};

class Surveyor {
  public:
    Surveyor(const Layout& layout, uint64_t file_size) : layout_(layout), limit_(std::max(file_size, layout.replay.last_size)) {}

    Survey run() {
        std::vector<Range> fixed{{0, kHeaderSection, "the headers"}};
        if (layout_.header.log_length())
            fixed.push_back({layout_.header.log_offset(), layout_.header.log_offset() + layout_.header.log_length(), "the log"});
        for (const Region& r : layout_.regions)
            fixed.push_back({r.offset, r.offset + r.length, r.id == kBatRegion ? "the block allocation table" : "a region"});
        std::ranges::sort(fixed, {}, &Range::begin);
        for (size_t n = 1; n < fixed.size(); ++n)
            if (fixed[n].begin < fixed[n - 1].end) result_.report.problem(fmt::format("{} and {} overlap", fixed[n - 1].what, fixed[n].what));
        collect();
        for (const Range& r : fixed) {
            check_against_blocks(r);
            result_.end = std::max(result_.end, r.end);
        }
        walk_blocks();
        return std::move(result_);
    }

  private:
    void collect() {
        for (uint64_t block = 0; block < layout_.blocks(); ++block) {
            const uint64_t entry = layout_.entries[layout_.entry_of(block)];
            const State state = Layout::state(entry);
            const bool present = state == State::FullyPresent || (state == State::PartiallyPresent && layout_.differencing);
            if (state == State::PartiallyPresent && !layout_.differencing)
                result_.report.problem(fmt::format("block {} is partially present, and there is no parent", block));
            if (state != State::NotPresent && state != State::Undefined && state != State::Zero && state != State::Unmapped && !present &&
                state != State::PartiallyPresent && static_cast<int>(state) != 5)  // 5: unmapped, in drafts of the specification
                result_.report.problem(fmt::format("block {} has the unknown state {}", block, static_cast<int>(state)));
            if (present) offsets_.push_back(Layout::offset(entry));
        }
        std::ranges::sort(offsets_);
        result_.report.allocated = offsets_.size();
    }
    void check_against_blocks(const Range& r) {
        auto at = std::ranges::upper_bound(offsets_, r.begin);
        if (at != offsets_.begin() && *std::prev(at) + layout_.block_size > r.begin) --at;
        if (at != offsets_.end() && *at < r.end) result_.report.problem(fmt::format("the block at {} lies over {}", *at, r.what));
    }
    void walk_blocks() {
        uint64_t before = result_.end;  // what is unused between the fixed ranges does not count
        for (size_t n = 0; n < offsets_.size(); ++n) {
            const uint64_t at = offsets_[n], size = layout_.block_size;
            if (n > 0 && at < offsets_[n - 1] + size) result_.report.problem(fmt::format("the blocks at {} and {} overlap", offsets_[n - 1], at));
            if (at > limit_ || size > limit_ - at) result_.report.problem(fmt::format("the block at {} reaches beyond the file's end", at));
            if (at > before) result_.unused += (at - before) / size;
            before = std::max(before, at + size);
        }
        result_.end = before;
        if (limit_ > before) result_.unused += (limit_ - before) / layout_.block_size;
    }

    const Layout& layout_;
    const uint64_t limit_;
    std::vector<uint64_t> offsets_;
    Survey result_;
};

}  // namespace

Survey survey(const Layout& layout, uint64_t file_size) { return Surveyor(layout, file_size).run(); }

}  // namespace yado::storage::vhdx
