#include "storage/vhd/dynamic_image.h"

#include <algorithm>

namespace yado::storage::vhd {

using io::or_return;

namespace {

constexpr uint64_t kEntriesInSector = kSector / 4;
constexpr uint64_t kMostRoom = 64 << 20;
/// Data is aligned to the host's pages, so that a guest's page is one of the host's.
constexpr uint64_t kDataAlignment = 4096;

uint64_t align_up(uint64_t v, uint64_t to) { return (v + to - 1) / to * to; }

/// XenServer has a map of its own between the table and the footer.
uint64_t end_of_use(const Layout& layout, const Survey& survey) {
    const bool xen = layout.footer.creator() == std::string_view("tap\0", 4);
    return xen && layout.end_footer ? align_up(*layout.end_footer, kSector) : survey.end_of_blocks;
}

}  // namespace

DynamicImage::DynamicImage(std::unique_ptr<ImageFile> file, Layout layout, const Survey& survey, OpenOptions options)
    : BlockImage(std::move(file), std::move(options), std::string("vhd ") + layout.variant(), Bytes(layout.size), layout.block_size()),
      layout_(std::move(layout)), bitmaps_(layout_.table.size(), layout_.block_size()), next_(end_of_use(layout_, survey)),
      footer_at_(layout_.end_footer.value_or(0)) {}

std::optional<uint64_t> DynamicImage::place_of(uint64_t block) const {
    if (layout_.table[block] == kUnused) return std::nullopt;
    return bitmap_at(block) + bitmaps_.bytes();
}

io::Task<Result<BlockImage::Run>> DynamicImage::find(uint64_t at, uint64_t length) {
    const uint64_t block = block_of(at), inside = at % block_size_;
    Run run;
    run.length = std::min(length, block_size_ - inside);
    if (!place_of(block)) {
        for (uint64_t next = block + 1; run.length < length && !place_of(next); ++next) run.length = std::min(length, run.length + block_size_);
        co_return run;
    }
    co_await or_return(co_await bitmaps_.load(*file_, block, bitmap_at(block)));
    const uint64_t first = inside / kSector, end = (inside + run.length + kSector - 1) / kSector;
    run.length = std::min(run.length, bitmaps_.run_end(block, first, end) * kSector - inside);
    if (bitmaps_.has(block, first)) run.kind = Run::Kind::Own;
    run.where = *place_of(block) + inside;
    co_return run;
}

uint64_t DynamicImage::slot_behind(uint64_t at) const { return align_up(at + bitmaps_.bytes(), kDataAlignment) - bitmaps_.bytes(); }

io::Task<Result<uint64_t>> DynamicImage::take_slot() {
    const RangeLock::Held held = co_await end_.take({0, 1});
    if (!returned_.empty()) {
        const uint64_t slot = returned_.back();
        co_await or_return(co_await file_->write_zeroes(Bytes(slot), Bytes(end_of(slot) - slot), ZeroMode::FreeSpace));
        returned_.pop_back();
        co_return slot;
    }
    if (!end_tidy_) co_await or_return(co_await end_at(next_));
    end_tidy_ = true;
    const uint64_t slot = slot_behind(next_);
    if (slot / kSector >= kUnused) co_return fail(ErrorKind::Failed, "disk {}: full: a VHD's blocks lie in its first 2 TiB", file_->name());
    if (end_of(slot) > footer_at_) co_await or_return(co_await make_room());
    next_ = end_of(slot);
    co_return slot;
}

io::Task<Result<uint64_t>> DynamicImage::allocate() {
    const uint64_t slot = co_await or_return(co_await take_slot());
    const std::vector<std::byte> bits(bitmaps_.bytes(), options_.backing ? std::byte{0} : std::byte{0xff});
    const Result<> written = co_await write_bytes(*file_, Bytes(slot), bits);
    if (written) co_return slot + bitmaps_.bytes();
    returned_.push_back(slot);
    co_return std::unexpected(written.error());
}

/// Moves the footer behind, for more and more blocks at a time.
io::Task<Result<>> DynamicImage::make_room() {
    uint64_t end = next_;
    for (uint64_t n = 0; n < ahead_; ++n) end = end_of(slot_behind(end));
    co_await or_return(co_await write_bytes(*file_, Bytes(end), layout_.footer.raw));
    co_await or_return(co_await file_->sync());
    footer_at_ = end;
    ahead_ = std::min(ahead_ * 2, std::max<uint64_t>(1, kMostRoom / block_size_));
    co_return Result<>{};
}

/// Lets the file end with a footer at `at`. Nothing behind is used.
io::Task<Result<>> DynamicImage::end_at(uint64_t at) {
    if (footer_at_ == at && file_->size().value() == at + kFooterSize) co_return Result<>{};
    co_await or_return(co_await write_bytes(*file_, Bytes(at), layout_.footer.raw));
    co_await or_return(co_await file_->sync());
    co_await or_return(co_await file_->resize(Bytes(at + kFooterSize)));
    footer_at_ = at;
    co_return Result<>{};
}

void DynamicImage::enter(uint64_t block, uint64_t place) {
    layout_.table[block] = static_cast<uint32_t>((place - bitmaps_.bytes()) / kSector);
    bitmaps_.add(block, !options_.backing);
    unwritten_.insert(block);
}

io::Task<Result<>> DynamicImage::mark(uint64_t at, uint64_t length) {
    const uint64_t block = block_of(at), inside = at % block_size_;
    if (bitmaps_.full(block)) co_return Result<>{};
    co_await or_return(co_await bitmaps_.load(*file_, block, bitmap_at(block)));
    bitmaps_.set(block, inside / kSector, (inside + length + kSector - 1) / kSector);
    co_return Result<>{};
}

// What is entered or marked meanwhile waits for the next time: its data need not be durable yet.
io::Task<Result<>> DynamicImage::write_tables() {
    const Blocks blocks = std::exchange(unwritten_, {});
    const std::vector<SectorBitmaps::Change> changes = bitmaps_.take_changes();
    const Result<> done = co_await write_down(blocks, changes);
    for (const auto& change : changes) done ? bitmaps_.written(change) : bitmaps_.put_back(change);
    if (!done) unwritten_.insert(blocks.begin(), blocks.end());
    co_return done;
}

io::Task<Result<>> DynamicImage::write_down(const Blocks& blocks, const std::vector<SectorBitmaps::Change>& changes) {
    co_await or_return(co_await file_->sync());
    for (const auto& change : changes) co_await or_return(co_await write_bytes(*file_, Bytes(bitmap_at(change.block)), change.bytes));
    for (auto it = blocks.begin(); it != blocks.end();) {
        const uint64_t first = *it / kEntriesInSector * kEntriesInSector;
        co_await or_return(co_await write_table_sector(first));
        it = blocks.lower_bound(first + kEntriesInSector);
    }
    co_return co_await file_->sync();
}

/// As it may be in the file now: without what is not durable yet.
io::Task<Result<>> DynamicImage::write_table_sector(uint64_t first) {
    std::array<std::byte, kSector> sector;
    sector.fill(std::byte{0xff});
    const uint64_t count = std::min<uint64_t>(kEntriesInSector, layout_.header->entries() - first);
    for (uint64_t n = 0; n < count && first + n < layout_.table.size(); ++n)
        if (!unwritten_.contains(first + n)) store_be(&sector[n * 4], layout_.table[first + n]);
    const std::span<const std::byte> bytes = std::span(sector).first(count * 4);
    co_return co_await write_bytes(*file_, Bytes(layout_.header->table_offset() + first * 4), bytes);
}

std::unique_ptr<block::DiskImage> make_dynamic(std::unique_ptr<ImageFile> file, Layout layout, const Survey& survey, OpenOptions options) {
    return std::make_unique<DynamicImage>(std::move(file), std::move(layout), survey, std::move(options));
}

}  // namespace yado::storage::vhd
