#include "storage/vhd/sector_bitmaps.h"

#include <algorithm>

#include "storage/vhd/headers.h"

namespace yado::storage::vhd {

using io::or_return;

namespace {

// The first sector is the highest bit of the first byte.
std::byte bit_of(uint64_t sector) { return std::byte(0x80 >> sector % 8); }

}  // namespace

SectorBitmaps::SectorBitmaps(uint64_t blocks, uint64_t block_size)
    : sectors_(block_size / kSector), bytes_(bitmap_bytes(block_size)), full_(blocks) {}

io::Task<Result<>> SectorBitmaps::load(ImageFile& file, uint64_t block, uint64_t at) {
    if (full_[block] || bitmaps_.contains(block)) co_return Result<>{};
    std::vector<std::byte> bytes(bytes_);
    co_await or_return(co_await read_bytes(file, Bytes(at), bytes));
    if (!full_[block] && !bitmaps_.contains(block)) insert(block, std::move(bytes));  // or another has loaded and changed it meanwhile
    co_return Result<>{};
}

void SectorBitmaps::insert(uint64_t block, std::vector<std::byte> bytes) {
    make_room();
    bitmaps_[block].bytes = std::move(bytes);
    note_full(block);
}

void SectorBitmaps::make_room() {
    const size_t most = std::max<uint64_t>(kMostBytes / bytes_, 16);
    for (auto it = bitmaps_.begin(); it != bitmaps_.end() && bitmaps_.size() >= most;)
        it = it->second.changed || it->second.taken ? std::next(it) : bitmaps_.erase(it);
}

bool SectorBitmaps::has(uint64_t block, uint64_t sector) const {
    if (full_[block]) return true;
    return (bitmaps_.at(block).bytes[sector / 8] & bit_of(sector)) != std::byte{0};
}

uint64_t SectorBitmaps::run_end(uint64_t block, uint64_t first, uint64_t end) const {
    if (full_[block]) return end;
    const bool present = has(block, first);
    while (first < end && has(block, first) == present) ++first;
    return first;
}

void SectorBitmaps::set(uint64_t block, uint64_t first, uint64_t end) {
    if (full_[block]) return;
    Bitmap& bitmap = bitmaps_.at(block);
    for (; first < end; ++first) {
        std::byte& b = bitmap.bytes[first / 8];
        if ((b & bit_of(first)) != std::byte{0}) continue;
        b |= bit_of(first);
        changed_ += !bitmap.changed;
        bitmap.changed = true;
    }
}

void SectorBitmaps::add(uint64_t block, bool ones) {
    full_[block] = ones;
    if (!ones) insert(block, std::vector<std::byte>(bytes_));
}

bool SectorBitmaps::all_set(const Bitmap& bitmap) const {
    const auto whole = bitmap.bytes.begin() + static_cast<ptrdiff_t>(sectors_ / 8);
    if (!std::all_of(bitmap.bytes.begin(), whole, [](std::byte b) { return b == std::byte{0xff}; })) return false;
    for (uint64_t n = sectors_ / 8 * 8; n < sectors_; ++n)
        if ((bitmap.bytes[n / 8] & bit_of(n)) == std::byte{0}) return false;
    return true;
}

/// Where the file has all bits as well, one is enough to remember.
void SectorBitmaps::note_full(uint64_t block) {
    const auto it = bitmaps_.find(block);
    if (it == bitmaps_.end() || it->second.changed || it->second.taken || !all_set(it->second)) return;
    full_[block] = true;
    bitmaps_.erase(it);
}

std::vector<SectorBitmaps::Change> SectorBitmaps::take_changes() {
    std::vector<Change> changes;
    for (auto& [block, bitmap] : bitmaps_) {
        if (!bitmap.changed) continue;
        changes.push_back({block, bitmap.bytes});
        bitmap.changed = false;
        bitmap.taken = true;
    }
    changed_ = 0;
    return changes;
}

void SectorBitmaps::written(const Change& change) {
    bitmaps_.at(change.block).taken = false;
    note_full(change.block);
}

void SectorBitmaps::put_back(const Change& change) {
    Bitmap& bitmap = bitmaps_.at(change.block);
    bitmap.taken = false;
    changed_ += !bitmap.changed;
    bitmap.changed = true;
}

}  // namespace yado::storage::vhd
