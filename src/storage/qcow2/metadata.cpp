#include "storage/qcow2/metadata.h"

#include "storage/qcow2/snapshot_table.h"

namespace yado::storage::qcow2 {

using io::or_return;

Metadata::Metadata(ImageFile& file, const Header& header, Options options)
    : file_(file), header_(header), options_(options), sector_(file),
      refcounts_(file, sector_, guard_, header.geometry, options.refcount_cache_bytes),
      mapping_(file, guard_, refcounts_, header.geometry, options.l2_cache_bytes, [this] { return commit(); },
               [this](uint64_t cluster) { drop_cluster(cluster, false); }) {}

io::Task<Result<>> Metadata::load(Access access) {
    co_await or_return(co_await mapping_.load(header_));
    if (access == Access::Read) co_return Result<>{};
    co_await or_return(co_await sector_.load());
    co_await or_return(co_await refcounts_.load(header_));
    co_return co_await check_places();
}

/// No table may lie in another one: writing to one of them would destroy the other.
io::Task<Result<>> Metadata::check_places() {
    const Geometry& g = geometry();
    guard_.add_table(0, 1);
    guard_.add_table(g.cluster_of(header_.l1_offset), g.clusters_for(header_.l1_size * 8ull));
    guard_.add_table(g.cluster_of(header_.refcount_table_offset), header_.refcount_table_clusters);
    const SnapshotTable snapshots = co_await or_return(co_await read_snapshot_table(file_, header_));
    guard_.add_table(g.cluster_of(header_.snapshots_offset), g.clusters_for(snapshots.bytes));
    for (const SnapshotEntry& s : snapshots.entries) {
        const uint64_t first = g.cluster_of(s.l1_offset), count = g.clusters_for(s.l1_size * 8ull);
        if (count && guard_.in_table(first, count)) co_return damaged(file_, "the L1 table of snapshot {} lies in another table", s.info.id);
        guard_.add_table(first, count);
    }
    std::vector<uint64_t> clusters;
    mapping_.append_tables(clusters);
    refcounts_.append_blocks(clusters);
    if (!guard_.set_clusters(std::move(clusters)))
        co_return damaged(file_, "an L2 table or refcount block lies in another table; repair it, or open it read-only");
    co_return Result<>{};
}

void Metadata::drop_entry(uint64_t entry, bool punch) {
    const Geometry& g = geometry();
    if (entry & COMPRESSED) {
        const CompressedPlace place = CompressedPlace::of(entry, g);
        for (uint64_t c = g.cluster_of(place.offset); c <= g.cluster_of(place.offset + place.length - 1); ++c) drop_cluster(c, punch);
    } else if (const uint64_t host = entry & kOffsetMask) {
        drop_cluster(g.cluster_of(host), punch);
    }
}

io::Task<Result<>> Metadata::commit() {
    const uint64_t asked = commits_started_;
    const RangeLock::Range whole{0, 1};
    const RangeLock::Held held = co_await committing_.take(whole);
    if (last_good_commit_ > asked) co_return Result<>{};  // one that began after the call has done it
    co_return co_await commit_now();
}

io::Task<Result<>> Metadata::commit_now() {
    if (broken_) co_return damaged(file_, "nothing is written any more");
    const uint64_t number = ++commits_started_;
    Mapping::State mapping = mapping_.take_dirty();
    Refcounts::TableState table = refcounts_.take_table();
    const std::deque<Dropped> dropped = std::exchange(dropped_, {});
    const Result<> written = co_await write_in_order(mapping, table);
    mapping_.settle(mapping, written.has_value());
    if (!written) {
        refcounts_.put_back(table);
        dropped_.insert(dropped_.begin(), dropped.begin(), dropped.end());
        co_return written;
    }
    durable_.insert(durable_.end(), dropped.begin(), dropped.end());
    last_good_commit_ = number;
    co_return co_await release();
}

io::Task<Result<>> Metadata::write_in_order(Mapping::State& mapping, Refcounts::TableState& table) {
    co_await or_return(co_await refcounts_.write_dirty());
    co_await or_return(co_await file_.sync());
    if (!table.sectors.empty()) {
        co_await or_return(co_await refcounts_.write_table(table));
        co_await or_return(co_await file_.sync());
    }
    if (mapping.empty()) co_return Result<>{};
    co_await or_return(co_await mapping_.write(mapping));
    co_return co_await file_.sync();
}

/// Lets go of what is durably dropped and used by no request.
io::Task<Result<>> Metadata::release() {
    const uint64_t oldest = flights_.empty() ? next_flight_ : *flights_.begin();
    std::vector<Dropped> now;
    while (!durable_.empty() && durable_.front().flight <= oldest) {
        now.push_back(durable_.front());
        durable_.pop_front();
    }
    std::vector<uint64_t> holes;
    for (const Dropped& d : now) {
        if (co_await or_return(co_await refcounts_.get(d.cluster)) != 1) continue;
        mapping_.forget(d.cluster << geometry().cluster_bits);
        guard_.forget_cluster(d.cluster);
        if (d.punch && options_.punch) holes.push_back(d.cluster);
    }
    if (!holes.empty()) co_await punch(std::move(holes));
    for (const Dropped& d : now) co_await or_return(co_await refcounts_.add(d.cluster, -1));
    co_return Result<>{};
}

io::Task<> Metadata::punch(std::vector<uint64_t> clusters) {
    std::ranges::sort(clusters);
    const uint64_t size = geometry().cluster_size();
    for (size_t n = 0; n < clusters.size();) {
        const size_t first = n++;
        while (n < clusters.size() && clusters[n] == clusters[n - 1] + 1) ++n;
        const uint64_t at = clusters[first] * size, end = std::min(file_.size().value(), (clusters[n - 1] + 1) * size);
        if (at < end) (void)co_await file_.discard(Bytes(at), Bytes(end - at));  // a hint; the cluster is free in any case
    }
}

io::Task<> Metadata::mark_corrupt() {
    if (std::exchange(broken_, true) || header_.version < 3) co_return;
    header_.incompatible |= CORRUPT;
    sector_.set64(kIncompatibleAt, header_.incompatible);
    (void)co_await sector_.store();  // it may not even be possible to write
}

}  // namespace yado::storage::qcow2
