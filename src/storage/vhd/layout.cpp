#include "storage/vhd/layout.h"

#include <algorithm>
#include <bit>

namespace yado::storage::vhd {

using io::or_return;

namespace {

std::unexpected<Error> corrupt(const ImageFile& file, std::string_view what) {
    return fail(ErrorKind::Corrupt, "disk {}: not a sound VHD: {}", file.name(), what);
}

/// Nothing if the file is too small.
io::Task<Result<std::optional<Footer>>> read_footer(ImageFile& file, uint64_t at) {
    std::optional<Footer> footer;
    if (at <= file.size().value() && file.size().value() - at >= kFooterSize) {
        footer.emplace();
        co_await or_return(co_await read_bytes(file, Bytes(at), footer->raw));
        if (!footer->good()) footer.reset();
    }
    co_return footer;
}

Result<> check_footer(const ImageFile& file, const Footer& footer) {
    if (footer.version() >> 16 != footer::kVersion1 >> 16)
        return fail(ErrorKind::Failed, "disk {}: VHD version {:#x}: only version 1 is known", file.name(), footer.version());
    const auto type = footer.type();
    if (type != DiskType::Fixed && type != DiskType::Dynamic && type != DiskType::Differencing)
        return corrupt(file, fmt::format("disk type {}", static_cast<uint32_t>(type)));
    const uint64_t size = footer.disk_size();
    if (size == 0 || size % kSector) return corrupt(file, fmt::format("a size of {} bytes", size));
    if (size > kMostBytes) return corrupt(file, fmt::format("a size of {} bytes; the format ends at 2040 GiB", size));
    return {};
}

Result<> check_header(const ImageFile& file, const Layout& layout) {
    const DynamicHeader& h = *layout.header;
    const uint64_t file_size = file.size().value(), block = h.block_size();
    if (!h.good()) return corrupt(file, "the dynamic header's cookie or checksum is wrong");
    if (h.version() >> 16 != header::kVersion1 >> 16)
        return fail(ErrorKind::Failed, "disk {}: VHD header version {:#x}: only version 1 is known", file.name(), h.version());
    if (!std::has_single_bit(block) || block < kSector || block > kLargestBlock)
        return corrupt(file, fmt::format("a block size of {} bytes", block));
    if (h.table_offset() % kSector || h.table_offset() < kFooterSize || h.table_offset() > file_size || layout.table_end() > file_size)
        return corrupt(file, fmt::format("a table of {} entries at {}, in a file of {} bytes", h.entries(), h.table_offset(), file_size));
    const uint64_t needed = (layout.size + block - 1) / block;
    if (needed > h.entries()) return corrupt(file, fmt::format("a table of {} entries, where {} are needed", h.entries(), needed));
    if (needed > kMostEntries) return corrupt(file, fmt::format("{} blocks: at most {} are supported", needed, kMostEntries));
    return {};
}

io::Task<Result<>> load_header(ImageFile& file, Layout& layout) {
    const uint64_t at = layout.footer.data_offset(), file_size = file.size().value();
    if (at % kSector || at < kFooterSize || at > file_size || file_size - at < kHeaderSize)
        co_return corrupt(file, fmt::format("the dynamic header is at {}, in a file of {} bytes", at, file_size));
    layout.header_offset = at;
    layout.header.emplace();
    co_await or_return(co_await read_bytes(file, Bytes(at), layout.header->raw));
    co_return check_header(file, layout);
}

}  // namespace

// The footer at the end counts where it is good: what lies at the start of a fixed image is the guest's to write, and may look like
// the copy that other images have there.
io::Task<Result<Layout>> load_headers(ImageFile& file) {
    const uint64_t file_size = file.size().value();
    Layout layout;
    const uint64_t end = file_size >= kFooterSize ? file_size - kFooterSize : file_size;
    const std::optional<Footer> last = co_await or_return(co_await read_footer(file, end));
    const std::optional<Footer> first = co_await or_return(co_await read_footer(file, 0));
    if (last) layout.end_footer = end;
    if (!last && !(first && first->type() != DiskType::Fixed))
        co_return corrupt(file, "no footer with the right checksum, neither at its end nor at its start");
    layout.footer = last ? *last : *first;
    layout.start_good = first.has_value();
    layout.copies_differ = last && first && last->raw != first->raw;
    co_await or_return(check_footer(file, layout.footer));
    layout.size = layout.footer.disk_size();
    if (layout.footer.type() != DiskType::Fixed) {
        co_await or_return(co_await load_header(file, layout));
    } else if (layout.size > end) {
        co_return corrupt(file, fmt::format("a fixed disk of {} bytes in a file of {}", layout.size, file_size));
    }
    co_return layout;
}

io::Task<Result<Layout>> load_layout(ImageFile& file) {
    Layout layout = co_await or_return(co_await load_headers(file));
    if (!layout.header) co_return layout;
    layout.table.resize((layout.size + layout.block_size() - 1) / layout.block_size());
    co_await or_return(co_await read_bytes(file, Bytes(layout.header->table_offset()), std::as_writable_bytes(std::span(layout.table))));
    for (uint32_t& entry : layout.table) entry = std::byteswap(entry);
    co_return layout;
}

namespace {

struct Range {
    uint64_t begin, end;
    const char* what;
};

/// All but blocks that the file's start holds.
std::vector<Range> fixed_ranges(const Layout& layout) {
    std::vector<Range> ranges{{0, kFooterSize, "the footer's copy"},
                              {layout.header_offset, layout.header_offset + kHeaderSize, "the dynamic header"},
                              {layout.header->table_offset(), layout.table_end(), "the block allocation table"}};
    for (size_t n = 0; layout.differencing() && n < header::kLocators; ++n) {
        const Locator l = layout.header->locator(n);
        if (l.code != 0 && l.length > 0) ranges.push_back({l.offset, l.offset + l.length, "a parent locator"});
    }
    return ranges;
}

class Surveyor {
  public:
    Surveyor(const Layout& layout, uint64_t file_size) : layout_(layout), limit_(layout.end_footer.value_or(file_size)) {}

    Survey run() {
        collect();
        const uint64_t stride = layout_.bitmap_size() + layout_.block_size();
        uint64_t end = 0;
        for (const Range& r : fixed_ranges(layout_)) {
            if (r.end > limit_ || r.end < r.begin) result_.report.problem(fmt::format("{} at {} reaches beyond the file's end", r.what, r.begin));
            else end = std::max(end, r.end);
            check_against_blocks(r, stride);
        }
        end = (end + kSector - 1) / kSector * kSector;
        for (size_t n = 0; n < slots_.size(); ++n) {
            const uint64_t at = slots_[n] * kSector;
            if (n > 0 && at < slots_[n - 1] * kSector + stride)
                result_.report.problem(fmt::format("the blocks at {} and {} overlap", slots_[n - 1] * kSector, at));
            if (at > end) result_.unused += (at - end) / stride;
            if (at + stride > limit_) result_.report.problem(fmt::format("the block at {} reaches beyond the file's end", at));
            end = std::max(end, at + stride);
        }
        result_.end_of_blocks = end;
        if (limit_ > end) result_.unused += (limit_ - end) / stride;
        return std::move(result_);
    }

  private:
    void collect() {
        for (const uint32_t entry : layout_.table)
            if (entry != kUnused) slots_.push_back(entry);
        std::ranges::sort(slots_);
        result_.report.allocated = slots_.size();
    }
    /// Whether any block begins or ends inside.
    void check_against_blocks(const Range& r, uint64_t stride) {
        auto at = std::ranges::upper_bound(slots_, r.begin / kSector);
        if (at != slots_.begin() && *std::prev(at) * kSector + stride > r.begin) --at;
        if (at != slots_.end() && *at * kSector < r.end) result_.report.problem(fmt::format("the block at {} lies over {}", *at * kSector, r.what));
    }

    const Layout& layout_;
    const uint64_t limit_;
    std::vector<uint64_t> slots_;
    Survey result_;
};

}  // namespace

Survey survey(const Layout& layout, uint64_t file_size) { return Surveyor(layout, file_size).run(); }

}  // namespace yado::storage::vhd
