#include "storage/qcow2/refcounts.h"

#include <bit>

#include "storage/qcow2/table.h"

namespace yado::storage::qcow2 {

using io::or_return;

namespace {
constexpr RangeLock::Range kWhole{0, 1};
constexpr size_t kMaxKnownRuns = 65536;
constexpr uint64_t kGrowBy = 4 << 20;  // the file grows in such steps, and is cut when it is closed
}  // namespace

uint64_t load_refcount(const std::byte* block, uint64_t index, uint32_t order) {
    switch (order) {
    case 3: return static_cast<uint64_t>(block[index]);
    case 4: return load_be<uint16_t>(block + index * 2);
    case 5: return load_be<uint32_t>(block + index * 4);
    case 6: return load_be<uint64_t>(block + index * 8);
    default: break;
    }
    const unsigned bits = 1u << order, per_byte = 8 / bits;
    return static_cast<uint64_t>(block[index / per_byte]) >> (index % per_byte * bits) & ((1u << bits) - 1);
}

void store_refcount(std::byte* block, uint64_t index, uint32_t order, uint64_t value) {
    switch (order) {
    case 3: block[index] = static_cast<std::byte>(value); return;
    case 4: store_be(block + index * 2, static_cast<uint16_t>(value)); return;
    case 5: store_be(block + index * 4, static_cast<uint32_t>(value)); return;
    case 6: store_be(block + index * 8, value); return;
    default: break;
    }
    const unsigned bits = 1u << order, per_byte = 8 / bits, shift = static_cast<unsigned>(index % per_byte) * bits;
    std::byte& b = block[index / per_byte];
    b = (b & ~static_cast<std::byte>(((1u << bits) - 1) << shift)) | static_cast<std::byte>(value << shift);
}

Refcounts::Refcounts(ImageFile& file, HeaderSector& header, Guard& guard, Geometry geometry, uint64_t cache_bytes)
    : file_(file), header_(header), guard_(guard), geometry_(geometry), cache_(file, geometry.slice_size(), cache_bytes, [this] { return write_dirty(); }) {}

io::Task<Result<>> Refcounts::load(const Header& header) {
    table_offset_ = header.refcount_table_offset;
    const uint64_t size = file_.size().value();
    table_ = co_await or_return(co_await read_table(file_, table_offset_, header.refcount_table_clusters * geometry_.cluster_size() / 8));
    for (size_t n = 0; n < table_.size(); ++n)
        if (table_[n] && (!geometry_.aligned(table_[n]) || table_[n] >= size)) co_return damaged(file_, "refcount block {} at {}", n, table_[n]);
    fresh_from_ = high_water_ = geometry_.clusters_for(size);
    co_return Result<>{};
}

void Refcounts::append_blocks(std::vector<uint64_t>& clusters) const {
    for (const uint64_t block : table_)
        if (block) clusters.push_back(geometry_.cluster_of(block));
}

uint64_t Refcounts::read(const SliceCache::Slice& slice, uint64_t cluster) const {
    return load_refcount(slice.bytes.data(), cluster % slice_entries(), geometry_.refcount_order);
}

void Refcounts::write(SliceCache::Slice& slice, uint64_t cluster, uint64_t value) {
    store_refcount(slice.bytes.data(), cluster % slice_entries(), geometry_.refcount_order, value);
    cache_.mark_dirty(slice);
}

/// The block is there.
io::Task<Result<SliceCache::Slice*>> Refcounts::slice_of(uint64_t cluster) {
    const uint64_t per_block = geometry_.refcounts_per_block();
    const uint64_t in_block = cluster % per_block / slice_entries() * geometry_.slice_size();
    co_return co_await cache_.get(table_[cluster / per_block] + in_block);
}

io::Task<Result<uint64_t>> Refcounts::get(uint64_t cluster) {
    const uint64_t index = cluster / geometry_.refcounts_per_block();
    if (index >= table_.size() || table_[index] == 0) co_return uint64_t{0};
    const SliceCache::Slice* slice = co_await or_return(co_await slice_of(cluster));
    co_return read(*slice, cluster);
}

io::Task<Result<>> Refcounts::add(uint64_t cluster, int delta) {
    const uint64_t index = cluster / geometry_.refcounts_per_block();
    if (index >= table_.size() || table_[index] == 0) co_return damaged(file_, "cluster {} is in use and has no refcount", cluster);
    SliceCache::Slice* slice = co_await or_return(co_await slice_of(cluster));
    const uint64_t count = read(*slice, cluster);
    if (delta < 0 && count == 0) co_return damaged(file_, "cluster {} was in use with a refcount of 0", cluster);
    if (delta > 0 && count == geometry_.refcount_max())
        co_return fail(ErrorKind::Failed, "disk {}: a cluster cannot be shared {} times with refcounts of {} bits", file_.name(), count + 1, 1u << geometry_.refcount_order);
    const uint64_t now = delta > 0 ? count + 1 : count - 1;
    write(*slice, cluster, now);
    if (now == 0) note_free(cluster, 1);
    co_return Result<>{};
}

io::Task<Result<>> Refcounts::give_back(uint64_t first, uint64_t count) {
    for (uint64_t c = first; c < first + count; ++c) co_await or_return(co_await add(c, -1));
    co_return Result<>{};
}

void Refcounts::note_free(uint64_t first, uint64_t count) {
    if (first >= hint_) return;  // the search will come there
    auto next = known_free_.lower_bound(first);
    if (next != known_free_.begin()) {
        const auto before = std::prev(next);
        if (before->first + before->second == first) {
            first = before->first;
            count += before->second;
            known_free_.erase(before);
        }
    }
    if (next != known_free_.end() && next->first == first + count) {
        count += next->second;
        known_free_.erase(next);
    }
    if (known_free_.size() < kMaxKnownRuns) known_free_[first] = count;
    else lost_from_ = std::min(lost_from_, first);
}

Result<> Refcounts::guarded(uint64_t first, uint64_t count) const {
    if (guard_.overlaps(first, count)) return damaged(file_, "a table among clusters {} to {} has a refcount of 0", first, first + count - 1);
    return {};
}

/// Makes the file reach over the clusters below `end_cluster`.
io::Task<Result<>> Refcounts::reach(uint64_t end_cluster) {
    const uint64_t end = end_cluster << geometry_.cluster_bits;
    high_water_ = std::max(high_water_, end_cluster);
    if (file_.size().value() >= end) co_return Result<>{};
    const uint64_t step = std::max(kGrowBy, geometry_.cluster_size());
    co_return co_await file_.resize(Bytes((end + step - 1) / step * step));
}

io::Task<Result<Refcounts::Run>> Refcounts::allocate(uint64_t most) {
    const RangeLock::Held held = co_await allocating_.take(kWhole);
    Run run;
    if (!known_free_.empty()) run = co_await or_return(co_await take_known(most));
    else run = co_await or_return(co_await find(most));
    const Result<> reached = co_await reach(run.first + run.count);
    if (reached) co_return run;
    (void)co_await give_back(run.first, run.count);
    co_return std::unexpected(reached.error());
}

io::Task<Result<Refcounts::Run>> Refcounts::take_known(uint64_t most) {
    for (;;) {
        const uint64_t first = known_free_.begin()->first;
        SliceCache::Slice* slice = co_await or_return(co_await slice_of(first));
        const auto run = known_free_.begin();
        if (run->first != first) continue;  // something in front of it was given back meanwhile
        const uint64_t there = run->second, count = std::min({most, there, slice_entries() - first % slice_entries()});
        co_await or_return(guarded(first, count));
        known_free_.erase(run);
        if (count < there) known_free_[first + count] = there - count;
        for (uint64_t c = first; c < first + count; ++c) write(*slice, c, 1);
        co_return Run{first, count, false};
    }
}

/// The next free run from the hint on. Runs end at slices and where freshness changes.
io::Task<Result<Refcounts::Run>> Refcounts::find(uint64_t most) {
    for (;;) {
        if (hint_ >= fresh_from_ && lost_from_ != ~0ull) hint_ = std::exchange(lost_from_, ~0ull);
        co_await or_return(co_await ensure_block(hint_));
        SliceCache::Slice* slice = co_await or_return(co_await slice_of(hint_));
        const uint64_t slice_end = (hint_ / slice_entries() + 1) * slice_entries();
        uint64_t first = hint_;
        while (first < slice_end && read(*slice, first) != 0) ++first;
        hint_ = first;
        if (first == slice_end) continue;
        const bool fresh = first >= fresh_from_;
        uint64_t end = first + 1;
        while (end < slice_end && end - first < most && read(*slice, end) == 0 && (end >= fresh_from_) == fresh) ++end;
        co_await or_return(guarded(first, end - first));
        for (uint64_t c = first; c < end; ++c) write(*slice, c, 1);
        hint_ = end;
        if (fresh) fresh_from_ = end;
        co_return Run{first, end - first, fresh};
    }
}

io::Task<Result<uint64_t>> Refcounts::allocate_table(uint64_t count) {
    const RangeLock::Held held = co_await allocating_.take(kWhole);
    uint64_t first = hint_;
    for (uint64_t c = first; c < first + count; ++c) {
        co_await or_return(co_await ensure_block(c));
        if (co_await or_return(co_await get(c)) != 0) first = c + 1;
    }
    co_await or_return(guarded(first, count));
    for (uint64_t c = first; c < first + count; ++c) co_await or_return(co_await add(c, 1));
    fresh_from_ = std::max(fresh_from_, first + count);
    co_await or_return(co_await reach(first + count));
    co_return first;
}

io::Task<Result<>> Refcounts::ensure_block(uint64_t cluster) {
    const uint64_t index = cluster / geometry_.refcounts_per_block();
    if (index >= table_.size()) co_await or_return(co_await grow_table(index));
    if (table_[index] == 0) co_await or_return(co_await make_block(index));
    co_return Result<>{};
}

/// A block that counts itself: the first cluster of those that it is for.
io::Task<Result<>> Refcounts::make_block(uint64_t index) {
    const uint64_t cluster = index * geometry_.refcounts_per_block(), at = cluster << geometry_.cluster_bits;
    co_await or_return(guarded(cluster, 1));
    co_await or_return(co_await reach(cluster + 1));
    if (cluster < fresh_from_) co_await or_return(co_await file_.write_zeroes(Bytes(at), Bytes(geometry_.cluster_size()), ZeroMode::KeepSpace));
    fresh_from_ = std::max(fresh_from_, cluster + 1);
    cache_.forget(at, geometry_.cluster_size());
    SliceCache::Slice* slice = co_await or_return(co_await cache_.get(at));
    write(*slice, cluster, 1);
    table_[index] = at;
    dirty_sectors_[index / 64] = true;
    co_return Result<>{};
}

/// Moves the table to where the old one's reach ends: nothing can be in use there. The blocks for it follow it.
io::Task<Result<>> Refcounts::grow_table(uint64_t index) {
    const uint64_t per_block = geometry_.refcounts_per_block(), per_cluster = geometry_.cluster_size() / 8;
    const uint64_t first = table_.size() * per_block;
    uint64_t clusters = ((std::max<uint64_t>(table_.size() * 3 / 2, index + 1)) + per_cluster - 1) / per_cluster + 1, blocks = 0;
    for (uint64_t before = ~0ull; before != clusters + blocks;) {
        before = clusters + blocks;
        blocks = (clusters + blocks + per_block - 1) / per_block;
        clusters = std::max(clusters, (table_.size() + blocks + per_cluster - 1) / per_cluster);
    }
    if (clusters * geometry_.cluster_size() > kMaxRefcountTableBytes)
        co_return fail(ErrorKind::Failed, "disk {}: the file is as large as clusters of {} bytes allow", file_.name(), geometry_.cluster_size());
    const uint64_t total = clusters + blocks;
    co_await or_return(guarded(first, total));
    co_await or_return(co_await reach(first + total));
    std::vector<uint64_t> table = table_;
    table.resize(clusters * per_cluster);
    std::vector<TableCopy> copies(1 + blocks);
    for (uint64_t b = 0; b < blocks; ++b) {
        const uint64_t at = (first + clusters + b) << geometry_.cluster_bits;
        table[table_.size() + b] = at;
        copies[1 + b] = {at, std::vector<std::byte>(geometry_.cluster_size())};
        for (uint64_t c = b * per_block; c < std::min(total, (b + 1) * per_block); ++c) store_refcount(copies[1 + b].bytes.data(), c % per_block, geometry_.refcount_order, 1);
        cache_.forget(at, geometry_.cluster_size());
    }
    copies[0] = {first << geometry_.cluster_bits, table_bytes(table, table.size() * 8)};
    const uint64_t old_offset = table_offset_, old_clusters = table_.size() / per_cluster, offset = copies[0].at;
    co_await or_return(co_await write_copies(file_, copies));
    co_await or_return(co_await file_.sync());
    co_await or_return(co_await header_.set_refcount_table(old_offset, old_clusters, offset, clusters));
    table_ = std::move(table);
    table_offset_ = offset;
    dirty_sectors_.clear();
    fresh_from_ = std::max(fresh_from_, first + total);
    guard_.remove_table(geometry_.cluster_of(old_offset));
    guard_.add_table(first, clusters);
    co_return co_await give_back(geometry_.cluster_of(old_offset), old_clusters);
}

io::Task<Result<>> Refcounts::write_dirty() {
    const RangeLock::Held held = co_await writing_.take(kWhole);
    std::vector<TableCopy> copies = cache_.take_dirty();
    const Result<> written = co_await write_copies(file_, copies);
    cache_.settle(copies, written.has_value());
    co_return written;
}

Refcounts::TableState Refcounts::take_table() {
    TableState state;
    state.offset = table_offset_;
    for (const auto& [sector, _] : std::exchange(dirty_sectors_, {})) {
        TableCopy copy{table_offset_ + sector * 512, std::vector<std::byte>(512)};
        for (uint64_t n = 0; n < 64; ++n) store_be(copy.bytes.data() + n * 8, table_[sector * 64 + n]);
        state.sectors.push_back(std::move(copy));
        state.numbers.push_back(sector);
    }
    return state;
}

io::Task<Result<>> Refcounts::write_table(TableState& state) {
    const RangeLock::Held held = co_await allocating_.take(kWhole);
    if (state.offset != table_offset_) co_return Result<>{};
    co_return co_await write_copies(file_, state.sectors);
}

void Refcounts::put_back(const TableState& state) {
    if (state.offset != table_offset_) return;
    for (const uint64_t sector : state.numbers) dirty_sectors_[sector] = true;
}

io::Task<Result<>> Refcounts::write_all() {
    TableState table = take_table();
    Result<> done = co_await write_dirty();
    if (done) done = co_await file_.sync();
    if (done && !table.sectors.empty()) done = co_await write_table(table);
    if (done && !table.sectors.empty()) done = co_await file_.sync();
    if (!done) put_back(table);
    co_return done;
}

}  // namespace yado::storage::qcow2
