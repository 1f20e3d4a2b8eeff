#include "storage/qcow2/mapping.h"

namespace yado::storage::qcow2 {

using io::or_return;

Mapping::Mapping(ImageFile& file, Guard& guard, Refcounts& refcounts, Geometry geometry, uint64_t cache_bytes,
                 std::function<io::Task<Result<>>()> commit, std::function<void(uint64_t)> dropped_table)
    : file_(file), guard_(guard), refcounts_(refcounts), geometry_(geometry), cache_(file, geometry.slice_size(), cache_bytes, std::move(commit)),
      dropped_table_(std::move(dropped_table)) {}

io::Task<Result<>> Mapping::load(const Header& header) {
    l1_offset_ = header.l1_offset;
    l1_ = co_await or_return(co_await read_table(file_, header.l1_offset, header.l1_size));
    co_return Result<>{};
}

void Mapping::replace_l1(std::vector<uint64_t> entries, uint64_t offset) {
    l1_ = std::move(entries);
    l1_offset_ = offset;
}

Result<> Mapping::check_table(uint64_t entry) const {
    const uint64_t at = entry & kOffsetMask;
    if (entry & kL1Reserved || !geometry_.aligned(at) || at == 0 || at >= file_.size().value())
        return damaged(file_, "an L1 entry is {:#x}", entry);
    return {};
}

void Mapping::append_tables(std::vector<uint64_t>& clusters) const {
    for (const uint64_t entry : l1_)
        if (entry && check_table(entry)) clusters.push_back(geometry_.cluster_of(entry & kOffsetMask));
}

io::Task<Result<SliceCache::Slice*>> Mapping::slice_of(uint64_t l1_entry, uint64_t cluster) {
    const uint64_t in_table = cluster % geometry_.l2_entries() / slice_entries() * geometry_.slice_size();
    co_return co_await cache_.get((l1_entry & kOffsetMask) + in_table);
}

/// One entry, without its length.
Result<Run> Mapping::describe(uint64_t entry) const {
    if (entry & COMPRESSED) return Run{Run::Kind::Compressed, false, 0, 0, entry};
    const uint64_t host = entry & kOffsetMask;
    if (entry & kL2Reserved || !geometry_.aligned(host) || (host == 0 && entry & COPIED) || host >= file_.size().value())
        return damaged(file_, "an L2 entry is {:#x}", entry);
    const bool copied = entry & COPIED;
    if (entry & ZERO) return Run{host ? Run::Kind::ZeroAllocated : Run::Kind::Zero, copied, host, 0, 0};
    return Run{host ? Run::Kind::Data : Run::Kind::Absent, copied, host, 0, 0};
}

io::Task<Result<Run>> Mapping::lookup(uint64_t offset, uint64_t length) {
    const uint64_t cluster = geometry_.cluster_of(offset), size = geometry_.cluster_size();
    const uint64_t l1_entry = l1_[cluster / geometry_.l2_entries()];
    if (l1_entry == 0) co_return Run{Run::Kind::Absent, false, 0, std::min(length, geometry_.l2_span() - offset % geometry_.l2_span()), 0};
    co_await or_return(check_table(l1_entry));
    const SliceCache::Slice* slice = co_await or_return(co_await slice_of(l1_entry, cluster));
    const auto entry_at = [&](uint64_t n) { return load_be<uint64_t>(slice->bytes.data() + (cluster + n) % slice_entries() * 8); };
    Run run = co_await or_return(describe(entry_at(0)));
    const bool hosted = run.kind == Run::Kind::Data || run.kind == Run::Kind::ZeroAllocated;
    uint64_t clusters = 1;
    const uint64_t most = std::min(left_in_slice(cluster), geometry_.clusters_for(offset % size + length));
    for (; clusters < most && run.kind != Run::Kind::Compressed; ++clusters) {
        const auto next = describe(entry_at(clusters));
        if (!next || next->kind != run.kind || next->copied != run.copied || (hosted && next->host != run.host + clusters * size)) break;
    }
    run.length = std::min(length, clusters * size - offset % size);
    if (hosted) run.host += offset % size;
    co_return run;
}

io::Task<Result<std::vector<uint64_t>>> Mapping::update(Change change) {
    const uint64_t index = change.cluster / geometry_.l2_entries();
    co_await or_return(co_await own_table(index));
    SliceCache::Slice* slice = co_await or_return(co_await slice_of(l1_[index], change.cluster));
    std::vector<uint64_t> old;
    for (uint64_t n = 0; n < change.count; ++n) {
        std::byte* at = slice->bytes.data() + (change.cluster + n) % slice_entries() * 8;
        old.push_back(load_be<uint64_t>(at));
        store_be(at, change.entry + n * change.step);
    }
    cache_.mark_dirty(*slice);
    co_return std::move(old);
}

/// Sees to it that the L2 table is there and that no snapshot shares it.
io::Task<Result<>> Mapping::own_table(uint64_t index) {
    const RangeLock::Range range{index, index + 1};
    const RangeLock::Held held = co_await owning_.take(range);
    const uint64_t old = l1_[index];
    if (old) {
        co_await or_return(check_table(old));
        if (guard_.in_table(geometry_.cluster_of(old & kOffsetMask), 1)) co_return damaged(file_, "an L2 table lies in another table");
    }
    if (old & COPIED) co_return Result<>{};
    const Refcounts::Run run = co_await or_return(co_await refcounts_.allocate(1));
    const auto filled = co_await fill_table(old, run);
    if (!filled) {
        (void)co_await refcounts_.give_back(run.first, 1);
        co_return std::unexpected(filled.error());
    }
    cache_.forget(run.first << geometry_.cluster_bits, geometry_.cluster_size());
    l1_[index] = (run.first << geometry_.cluster_bits) | COPIED;
    dirty_sectors_[index / 64] = true;
    if (old) dropped_table_(geometry_.cluster_of(old & kOffsetMask));
    co_return Result<>{};
}

io::Task<Result<>> Mapping::fill_table(uint64_t old_entry, Refcounts::Run at) {
    const Bytes to(at.first << geometry_.cluster_bits), size(geometry_.cluster_size());
    if (old_entry == 0) {
        if (at.fresh) co_return Result<>{};
        co_return co_await file_.write_zeroes(to, size, ZeroMode::KeepSpace);
    }
    const auto table = co_await or_return(co_await read_table(file_, old_entry & kOffsetMask, geometry_.l2_entries()));
    const std::vector<std::byte> bytes = table_bytes(table, size.value());
    co_return co_await write_bytes(file_, to, bytes);
}

Mapping::State Mapping::take_dirty() {
    State state;
    state.slices = cache_.take_dirty();
    for (const auto& [sector, _] : std::exchange(dirty_sectors_, {})) {
        TableCopy copy{l1_offset_ + sector * 512, std::vector<std::byte>(512)};
        const uint64_t count = std::min<uint64_t>(64, l1_.size() - sector * 64);
        copy.bytes.resize(count * 8);
        for (uint64_t n = 0; n < count; ++n) store_be(copy.bytes.data() + n * 8, l1_[sector * 64 + n]);
        state.l1_sectors.push_back(std::move(copy));
        state.numbers.push_back(sector);
    }
    return state;
}

io::Task<Result<>> Mapping::write(State& state) {
    co_await or_return(co_await write_copies(file_, state.slices));
    co_return co_await write_copies(file_, state.l1_sectors);
}

void Mapping::settle(const State& state, bool written) {
    cache_.settle(state.slices, written);
    for (const uint64_t sector : state.numbers)
        if (!written) dirty_sectors_[sector] = true;
}

}  // namespace yado::storage::qcow2
