// Checker: the image's refcounts and flags against what was counted.
#include "storage/qcow2/checker.h"
#include "storage/qcow2/mapping.h"

namespace yado::storage::qcow2 {

using io::or_return;

io::Task<Result<>> Checker::load_refcount_table() {
    const uint64_t size = geometry().cluster_size();
    refcount_table_ = co_await or_return(co_await read_table(file_, header_.refcount_table_offset, header_.refcount_table_clusters * size / 8));
    for (uint64_t n = 0; n < refcount_table_.size(); ++n) {
        uint64_t& block = refcount_table_[n];
        if (block == 0) continue;
        const std::string what = fmt::format("refcount block {}", n);
        if (co_await or_return(count_table(what, block, size))) continue;
        block = 0;
        rebuild_ = true;
    }
    co_return Result<>{};
}

io::Task<Result<>> Checker::compare_refcounts() {
    const uint64_t per_block = geometry().refcounts_per_block();
    for (uint64_t n = 0; n < refcount_table_.size(); ++n)
        if (refcount_table_[n]) co_await or_return(co_await compare_block(n));
    // What is in use and has no block.
    counts_.for_each([&](uint64_t cluster, uint64_t references) {
        const uint64_t index = cluster / per_block;
        if (index < refcount_table_.size() && refcount_table_[index]) return;
        found(Severity::Error, "cluster {}: {} references, no refcount", cluster, references);
        differing_[cluster] = 0;
        rebuild_ = true;
    });
    if (rebuild_ && repair_ == Repair::All) co_return co_await rebuild_refcounts();
    co_return Result<>{};
}

io::Task<Result<>> Checker::compare_block(uint64_t index) {
    std::vector<std::byte> block(geometry().cluster_size());
    const uint64_t at = refcount_table_[index], per_block = geometry().refcounts_per_block();
    const uint64_t there = std::min<uint64_t>(block.size(), file_.size().value() - std::min(at, file_.size().value()));
    co_await or_return(co_await read_bytes(file_, Bytes(at), std::span(block).first(there)));
    bool mended = false;
    for (uint64_t n = 0; n < per_block; ++n) mended |= compare_cluster(index * per_block + n, block.data(), n);
    if (!mended || (rebuild_ && repair_ == Repair::All)) co_return Result<>{};
    co_return co_await write(at, block);
}

/// True if the block was changed.
bool Checker::compare_cluster(uint64_t cluster, std::byte* block, uint64_t in_block) {
    const uint64_t has = load_refcount(block, in_block, geometry().refcount_order), references = counts_.get(cluster);
    if (has == references) return false;
    const Severity severity = has < references ? Severity::Error : Severity::Leak;
    found(severity, "cluster {}: {} references, refcount {}", cluster, references, has);
    if (!repairs(severity) || references > geometry().refcount_max()) {
        differing_[cluster] = has;
        return false;
    }
    store_refcount(block, in_block, geometry().refcount_order, references);
    return true;
}

/// A new table and new blocks behind everything that is in use.
io::Task<Result<>> Checker::rebuild_refcounts() {
    const uint64_t per_block = geometry().refcounts_per_block(), size = geometry().cluster_size();
    const uint64_t first = counts_.end();
    counts_.remove_range(geometry().cluster_of(header_.refcount_table_offset), header_.refcount_table_clusters);
    for (const uint64_t block : refcount_table_)
        if (block) counts_.remove_range(geometry().cluster_of(block), 1);
    uint64_t clusters = 1, blocks = 1;
    for (uint64_t before = 0; before != clusters + blocks;) {
        before = clusters + blocks;
        blocks = (first + before + per_block - 1) / per_block;
        clusters = geometry().clusters_for(blocks * 8);
    }
    if (clusters * size > kMaxRefcountTableBytes) co_return fail(ErrorKind::Failed, "disk {}: too large for new refcounts", file_.name());
    for (uint64_t c = first; c < first + clusters + blocks; ++c) co_await or_return(count(c, 1));
    std::vector<std::byte> block(size);
    std::vector<std::byte> table(clusters * size);
    for (uint64_t b = 0; b < blocks; ++b) {
        const uint64_t at = (first + clusters + b) * size;
        for (uint64_t n = 0; n < per_block; ++n)
            store_refcount(block.data(), n, geometry().refcount_order, std::min(counts_.get(b * per_block + n), geometry().refcount_max()));
        co_await or_return(co_await write(at, block));
        store_be(table.data() + b * 8, at);
    }
    co_await or_return(co_await write(first * size, table));
    co_await or_return(co_await file_.sync());
    HeaderSector sector(file_);
    co_await or_return(co_await sector.load());
    co_await or_return(co_await sector.set_refcount_table(header_.refcount_table_offset, header_.refcount_table_clusters, first * size, clusters));
    differing_.clear();
    co_return Result<>{};
}

/// As the image has it after what was repaired.
uint64_t Checker::refcount(uint64_t cluster) const {
    const auto other = differing_.find(cluster);
    return other != differing_.end() ? other->second : counts_.get(cluster);
}

/// True if the entry was changed.
bool Checker::compare_flag(std::byte* entry_at, uint64_t cluster, std::string_view what) {
    const uint64_t entry = load_be<uint64_t>(entry_at);
    const bool alone = refcount(cluster) == 1 && !(entry & COMPRESSED);
    if (alone == ((entry & COPIED) != 0)) return false;
    // Without the flag a write copies once for nothing. With it a write may change what somebody else reads.
    const Severity severity = alone ? Severity::Leak : Severity::Error;
    found(severity, "{}: the COPIED flag is {}, and cluster {} has a refcount of {}", what, alone ? "clear" : "set", cluster, refcount(cluster));
    if (!repairs(severity) || (alone && counts_.get(cluster) != 1)) return false;
    store_be(entry_at, entry ^ COPIED);
    return true;
}

io::Task<Result<>> Checker::compare_flags() {
    const Geometry& g = geometry();
    const std::vector<uint64_t> l1 = co_await or_return(co_await read_table(file_, header_.l1_offset, header_.l1_size));
    std::vector<std::byte> bytes = table_bytes(l1, l1.size() * 8);
    bool changed = false;
    for (uint64_t n = 0; n < l1.size(); ++n)
        if (l2_tables_.contains(l1[n] & kOffsetMask)) changed |= compare_flag(bytes.data() + n * 8, g.cluster_of(l1[n] & kOffsetMask), "an L1 entry");
    if (changed) co_await or_return(co_await write(header_.l1_offset, bytes));
    for (const auto& [offset, use] : l2_tables_) {
        if (!use.active) continue;
        const std::vector<uint64_t> l2 = co_await or_return(co_await read_table(file_, offset, g.l2_entries()));
        bytes = table_bytes(l2, l2.size() * 8);
        changed = false;
        for (uint64_t n = 0; n < l2.size(); ++n) {
            if (l2[n] & COMPRESSED && !(l2[n] & COPIED)) continue;
            const uint64_t cluster = g.cluster_of(l2[n] & kOffsetMask);
            if (cluster && counts_.get(cluster)) changed |= compare_flag(bytes.data() + n * 8, cluster, "an L2 entry");
        }
        if (changed) co_await or_return(co_await write(offset, bytes));
    }
    co_return Result<>{};
}

}  // namespace yado::storage::qcow2
