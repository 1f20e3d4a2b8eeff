#include "storage/qcow2/checker.h"

#include "storage/qcow2/check.h"
#include "storage/qcow2/mapping.h"

namespace yado::storage::qcow2 {

using io::or_return;

io::Task<Result<CheckReport>> Checker::run() {
    report_.total = geometry().clusters_for(header_.size);
    co_await or_return(co_await count_tables());
    for (const L1& l1 : l1s_) co_await or_return(co_await collect_l1(l1));
    for (const auto& [offset, use] : l2_tables_) {
        co_await or_return(count(geometry().cluster_of(offset), use.references));
        if (!tables_.add(geometry().cluster_of(offset), 1)) co_return damaged(file_, "too many tables");
    }
    for (const auto& [offset, use] : l2_tables_) co_await or_return(co_await count_l2(offset, use));
    if (changed_) co_await or_return(co_await file_.sync());
    co_await or_return(co_await compare_refcounts());
    if (changed_) co_await or_return(co_await file_.sync());
    co_await or_return(co_await compare_flags());
    if (changed_) co_await or_return(co_await file_.sync());
    co_return std::move(report_);
}

bool Checker::in_file(uint64_t offset, uint64_t bytes) const {
    const uint64_t end = geometry().round_up(file_.size().value());
    return offset < end && bytes <= end - offset;
}

io::Task<Result<>> Checker::write(uint64_t at, std::span<const std::byte> bytes) {
    changed_ = true;
    co_return co_await write_bytes(file_, Bytes(at), bytes);
}

Result<> Checker::count(uint64_t cluster, uint64_t references) {
    if (counts_.add(cluster, references)) return {};
    return fail(ErrorKind::Failed, "disk {}: checking it needs more memory than is allowed", file_.name());
}

/// A table or directory. False, and an error, where there is one already.
Result<bool> Checker::count_table(std::string_view what, uint64_t offset, uint64_t bytes) {
    if (bytes == 0) return true;
    if (!geometry().aligned(offset) || !in_file(offset, bytes)) {
        found(Severity::Error, "{}: {} bytes at {}: outside the file, or not at the begin of a cluster", what, bytes, offset);
        return false;
    }
    const uint64_t first = geometry().cluster_of(offset), end = first + geometry().clusters_for(bytes);
    for (uint64_t c = first; c < end; ++c) {
        if (tables_.get(c) == 0) continue;
        found(Severity::Error, "{} at {} overlaps another table", what, offset);
        return false;
    }
    for (uint64_t c = first; c < end; ++c) {
        YADO_TRY(count(c, 1));
        tables_.add(c, 1);
    }
    return true;
}

io::Task<Result<>> Checker::count_tables() {
    const SnapshotTable snapshots = co_await or_return(co_await read_snapshot_table(file_, header_));
    co_await or_return(count_table("header", 0, 1));
    co_await or_return(count_table("L1 table", header_.l1_offset, header_.l1_size * 8ull));
    l1s_.push_back({"the L1 table", header_.l1_offset, header_.l1_size, true});
    co_await or_return(count_table("refcount table", header_.refcount_table_offset, header_.refcount_table_clusters * geometry().cluster_size()));
    co_await or_return(count_table("snapshot table", header_.snapshots_offset, snapshots.bytes));
    for (const SnapshotEntry& s : snapshots.entries) {
        const std::string what = fmt::format("the L1 table of snapshot {}", s.info.id);
        if (co_await or_return(count_table(what, s.l1_offset, s.l1_size * 8ull))) l1s_.push_back({what, s.l1_offset, s.l1_size, false});
    }
    if (header_.bitmaps && header_.bitmaps->consistent) co_await or_return(co_await count_bitmaps());
    co_return co_await load_refcount_table();
}

io::Task<Result<>> Checker::count_bitmaps() {
    const BitmapsExtension& b = *header_.bitmaps;
    if (!co_await or_return(count_table("bitmap directory", b.directory_offset, b.directory_size))) co_return Result<>{};
    std::vector<std::byte> directory(std::min(b.directory_size, file_.size().value() - std::min(file_.size().value(), b.directory_offset)));
    co_await or_return(co_await read_bytes(file_, Bytes(b.directory_offset), directory));
    uint64_t at = 0;
    for (uint32_t n = 0; n < b.count; ++n) {
        if (at + 24 > directory.size()) break;
        co_await or_return(co_await count_bitmap(std::span(directory).subspan(at)));
        const std::byte* p = directory.data() + at;
        at += (24ull + load_be<uint16_t>(p + 18) + load_be<uint32_t>(p + 20) + 7) & ~7ull;
    }
    if (at != b.directory_size) found(Severity::Error, "the bitmap directory of {} bytes has entries of {} bytes", b.directory_size, at);
    co_return Result<>{};
}

io::Task<Result<>> Checker::count_bitmap(std::span<const std::byte> entry) {
    const uint64_t offset = load_be<uint64_t>(entry.data()), entries = load_be<uint32_t>(entry.data() + 8);
    if (entries * 8 > kMaxBitmapTableBytes) {
        found(Severity::Error, "a bitmap table has {} entries", entries);
        co_return Result<>{};
    }
    if (!co_await or_return(count_table("bitmap table", offset, entries * 8))) co_return Result<>{};
    const std::vector<uint64_t> table = co_await or_return(co_await read_table(file_, offset, entries));
    for (const uint64_t e : table) {
        if (const uint64_t at = e & kOffsetMask) co_await or_return(count_table("bitmap", at, geometry().cluster_size()));
    }
    co_return Result<>{};
}

io::Task<Result<>> Checker::collect_l1(const L1& l1) {
    std::vector<uint64_t> table = co_await or_return(co_await read_table(file_, l1.offset, l1.entries));
    bool dropped = false;
    for (uint64_t n = 0; n < table.size(); ++n) {
        if (table[n] == 0) continue;
        const uint64_t at = table[n] & kOffsetMask;
        const bool sensible = !(table[n] & kL1Reserved) && at != 0 && geometry().aligned(at) && at < file_.size().value();
        if (sensible && tables_.get(geometry().cluster_of(at)) == 0) {
            L2Use& use = l2_tables_[at];
            ++use.references;
            use.active |= l1.active;
            continue;
        }
        found(Severity::Error, "entry {} of {} is {:#x}: {}", n, l1.what, table[n], sensible ? "it points to another table" : "no place in the file");
        if (!repairs(Severity::Error)) continue;
        table[n] = 0;
        dropped = true;
    }
    if (!dropped) co_return Result<>{};
    const std::vector<std::byte> bytes = table_bytes(table, table.size() * 8);
    co_return co_await write(l1.offset, bytes);
}

io::Task<Result<>> Checker::count_l2(uint64_t offset, L2Use use) {
    std::vector<uint64_t> table = co_await or_return(co_await read_table(file_, offset, geometry().l2_entries()));
    bool dropped = false;
    for (uint64_t n = 0; n < table.size(); ++n) {
        if (table[n] == 0) continue;
        if (co_await or_return(count_entry(table[n], use))) continue;
        found(Severity::Error, "entry {} of the L2 table at {} is {:#x}: it points outside the file, or to a table", n, offset, table[n]);
        if (!repairs(Severity::Error)) continue;
        table[n] = 0;
        dropped = true;
    }
    if (!dropped) co_return Result<>{};
    const std::vector<std::byte> bytes = table_bytes(table, table.size() * 8);
    co_return co_await write(offset, bytes);
}

/// False if the entry makes no sense.
Result<bool> Checker::count_entry(uint64_t entry, L2Use use) {
    const Geometry& g = geometry();
    uint64_t first = g.cluster_of(entry & kOffsetMask), end = first + 1;
    if (entry & COMPRESSED) {
        const CompressedPlace place = CompressedPlace::of(entry, g);
        if (place.offset >= file_.size().value() || !in_file(place.offset, 1)) return false;
        first = g.cluster_of(place.offset);
        end = g.cluster_of(place.offset + place.length - 1) + 1;
        if (end > g.clusters_for(file_.size().value())) return false;
    } else {
        const uint64_t host = entry & kOffsetMask;
        if (entry & kL2Reserved || !g.aligned(host) || (host == 0 && entry & COPIED) || host >= file_.size().value()) return false;
        if (entry & ZERO && header_.version < 3) return false;
        if (host == 0) return true;
    }
    for (uint64_t c = first; c < end; ++c)
        if (tables_.get(c)) return false;
    for (uint64_t c = first; c < end; ++c) YADO_TRY(count(c, use.references));
    report_.allocated += use.active;
    return true;
}

/// Repairs that succeeded in full clear the bits that say that one is needed.
static io::Task<Result<>> clear_bits(ImageFile& file, const Header& header) {
    if (!header.dirty() && !header.corrupt()) co_return Result<>{};
    HeaderSector sector(file);
    co_await or_return(co_await sector.load());
    sector.set64(kIncompatibleAt, header.incompatible & ~(DIRTY | CORRUPT));
    co_return co_await sector.store();
}

io::Task<Result<CheckReport>> check(ImageFile& file, Repair repair) {
    if (repair != Repair::No && file.readonly()) co_return fail(ErrorKind::Denied, "disk {}: is open read-only and cannot be repaired", file.name());
    Header header = co_await or_return(co_await read_header(file));
    Checker first(file, header, repair);
    CheckReport report = co_await or_return(co_await first.run());
    if (first.changed()) {  // what is left is what another look finds
        header = co_await or_return(co_await read_header(file));
        Checker second(file, header, Repair::No);
        const CheckReport left = co_await or_return(co_await second.run());
        const uint64_t before = report.errors + report.leaks, after = left.errors + left.leaks;
        report.repaired = before > after ? before - after : 0;
        report.errors = left.errors;
        report.leaks = left.leaks;
        report.allocated = left.allocated;
    }
    if (repair == Repair::All && report.errors == 0) co_await or_return(co_await clear_bits(file, header));
    co_return std::move(report);
}

}  // namespace yado::storage::qcow2
