#include "storage/qcow2/snapshots.h"

#include <charconv>

#include "storage/qcow2/metadata.h"
#include "storage/qcow2/snapshot_table.h"

namespace yado::storage::qcow2 {
namespace {

using io::or_return;

/// A closed image being worked on.
class Workshop {
  public:
    Workshop(ImageFile& file, const Header& header, SnapshotTable table)
        : file_(file), geometry_(header.geometry), metadata_(file, header, {}), table_(std::move(table)) {}

    io::Task<Result<>> load() { co_return co_await metadata_.load(Metadata::Access::Write); }
    SnapshotTable& table() { return table_; }
    Header& header() { return metadata_.header(); }
    const std::vector<uint64_t>& active() { return metadata_.mapping().l1(); }
    Refcounts& refcounts() { return metadata_.refcounts(); }
    Result<size_t> find(const std::string& which) const;

    /// Changes the refcounts of all that an L1 table refers to. Entries that make no sense are an error.
    io::Task<Result<>> add_all(const std::vector<uint64_t>& l1, int delta);
    /// Clears the COPIED flags of the L2 tables, or sets them by the refcounts; gives the L1 entries likewise.
    enum class Flags : uint8_t { Clear, ByRefcount };
    io::Task<Result<std::vector<uint64_t>>> set_flags(std::vector<uint64_t> l1, Flags flags);
    io::Task<Result<>> write_l1(uint64_t offset, const std::vector<uint64_t>& l1);
    io::Task<Result<uint64_t>> store_table(std::vector<std::byte> bytes);
    /// Puts the snapshot table, which was changed, in the place of the old one.
    io::Task<Result<>> replace_table();
    io::Task<Result<>> give_back(uint64_t offset, uint64_t bytes);
    /// Sets the active table's flags anew.
    io::Task<Result<>> refresh_active(uint64_t offset, std::vector<uint64_t> l1);
    /// Cuts what the file grew by and was not needed.
    io::Task<Result<>> finish();

    ImageFile& file_;
    Geometry geometry_;
    Metadata metadata_;

  private:
    io::Task<Result<>> add_entry(uint64_t entry, int delta);
    io::Task<Result<uint64_t>> flagged(uint64_t entry, Flags flags);
    SnapshotTable table_;
};

Result<size_t> Workshop::find(const std::string& which) const {
    const auto by = [&](auto member) { return std::ranges::find(table_.entries, which, [=](const SnapshotEntry& e) { return e.info.*member; }); };
    auto found = by(&Snapshot::name);
    if (found == table_.entries.end()) found = by(&Snapshot::id);
    if (found == table_.entries.end()) return fail(ErrorKind::NotFound, "disk {}: has no snapshot {}", file_.name(), which);
    return static_cast<size_t>(found - table_.entries.begin());
}

io::Task<Result<>> Workshop::add_entry(uint64_t entry, int delta) {
    uint64_t first = geometry_.cluster_of(entry & kOffsetMask), last = first;
    if (entry & COMPRESSED) {
        const CompressedPlace place = CompressedPlace::of(entry, geometry_);
        first = geometry_.cluster_of(place.offset);
        last = geometry_.cluster_of(place.offset + place.length - 1);
    } else if (entry & kL2Reserved || !geometry_.aligned(entry & kOffsetMask)) {
        co_return damaged(file_, "an L2 entry is {:#x}", entry);
    } else if (first == 0) {
        co_return Result<>{};
    }
    for (uint64_t c = first; c <= last; ++c) co_await or_return(co_await refcounts().add(c, delta));
    co_return Result<>{};
}

io::Task<Result<>> Workshop::add_all(const std::vector<uint64_t>& l1, int delta) {
    for (const uint64_t entry : l1) {
        const uint64_t at = entry & kOffsetMask;
        if (entry == 0) continue;
        if (entry & kL1Reserved || !geometry_.aligned(at) || at == 0 || at >= file_.size().value()) co_return damaged(file_, "an L1 entry is {:#x}", entry);
        const std::vector<uint64_t> l2 = co_await or_return(co_await read_table(file_, at, geometry_.l2_entries()));
        for (const uint64_t e : l2)
            if (e) co_await or_return(co_await add_entry(e, delta));
        co_await or_return(co_await refcounts().add(geometry_.cluster_of(at), delta));
    }
    co_return Result<>{};
}

io::Task<Result<uint64_t>> Workshop::flagged(uint64_t entry, Flags flags) {
    const uint64_t cluster = geometry_.cluster_of(entry & kOffsetMask), plain = entry & ~COPIED;
    if (flags == Flags::Clear || entry & COMPRESSED || cluster == 0) co_return plain;
    const bool alone = co_await or_return(co_await refcounts().get(cluster)) == 1;
    co_return alone ? plain | COPIED : plain;
}

io::Task<Result<std::vector<uint64_t>>> Workshop::set_flags(std::vector<uint64_t> l1, Flags flags) {
    for (uint64_t& entry : l1) {
        const uint64_t at = entry & kOffsetMask;
        if (at == 0) continue;
        entry = co_await or_return(co_await flagged(entry, flags));
        std::vector<uint64_t> l2 = co_await or_return(co_await read_table(file_, at, geometry_.l2_entries()));
        bool changed = false;
        for (uint64_t& e : l2) {
            const uint64_t now = co_await or_return(co_await flagged(e, flags));
            changed |= std::exchange(e, now) != now;
        }
        if (!changed) continue;
        const std::vector<std::byte> bytes = table_bytes(l2, geometry_.cluster_size());
        co_await or_return(co_await write_bytes(file_, Bytes(at), bytes));
    }
    co_return std::move(l1);
}

io::Task<Result<>> Workshop::write_l1(uint64_t offset, const std::vector<uint64_t>& l1) {
    const std::vector<std::byte> bytes = table_bytes(l1, l1.size() * 8);
    if (bytes.empty()) co_return Result<>{};
    co_return co_await write_bytes(file_, Bytes(offset), bytes);
}

/// Writes bytes to clusters of their own; 0 where there are none.
io::Task<Result<uint64_t>> Workshop::store_table(std::vector<std::byte> bytes) {
    if (bytes.empty()) co_return uint64_t{0};
    const uint64_t clusters = geometry_.clusters_for(bytes.size());
    const uint64_t first = co_await or_return(co_await refcounts().allocate_table(clusters));
    bytes.resize(clusters << geometry_.cluster_bits);
    co_await or_return(co_await write_bytes(file_, Bytes(first << geometry_.cluster_bits), bytes));
    co_return first << geometry_.cluster_bits;
}

io::Task<Result<>> Workshop::replace_table() {
    std::vector<std::byte> bytes = encode(table_.entries);
    const uint64_t old_bytes = table_.bytes, old_offset = header().snapshots_offset;
    if (bytes.size() > kMaxSnapshotTableBytes || table_.entries.size() > kMaxSnapshots)
        co_return fail(ErrorKind::Failed, "disk {}: has as many snapshots as there can be", file_.name());
    table_.bytes = bytes.size();
    const uint64_t offset = co_await or_return(co_await store_table(std::move(bytes)));
    co_await or_return(co_await refcounts().write_all());
    header().snapshots_offset = offset;
    header().snapshot_count = static_cast<uint32_t>(table_.entries.size());
    metadata_.sector().set64(kSnapshotOffsetAt, offset);
    metadata_.sector().set32(kSnapshotCountAt, header().snapshot_count);
    co_await or_return(co_await metadata_.sector().store());
    co_return co_await give_back(old_offset, old_bytes);
}

io::Task<Result<>> Workshop::give_back(uint64_t offset, uint64_t bytes) {
    co_return co_await refcounts().give_back(geometry_.cluster_of(offset), geometry_.clusters_for(bytes));
}

io::Task<Result<>> Workshop::refresh_active(uint64_t offset, std::vector<uint64_t> l1) {
    co_await or_return(co_await refcounts().write_all());
    const std::vector<uint64_t> flagged = co_await or_return(co_await set_flags(std::move(l1), Flags::ByRefcount));
    co_await or_return(co_await write_l1(offset, flagged));
    co_return co_await finish();
}

io::Task<Result<>> Workshop::finish() {
    const uint64_t end = refcounts().high_water() << geometry_.cluster_bits;
    if (file_.size().value() > end) co_await or_return(co_await file_.resize(Bytes(end)));
    co_return co_await file_.sync();
}

io::Task<Result<std::unique_ptr<Workshop>>> enter(ImageFile& file) {
    if (file.readonly()) co_return fail(ErrorKind::Denied, "disk {}: is open read-only", file.name());
    const Header header = co_await or_return(co_await read_header(file));
    if (header.corrupt() || header.dirty()) co_return fail(ErrorKind::Failed, "disk {}: repair it first", file.name());
    SnapshotTable table = co_await or_return(co_await read_snapshot_table(file, header));
    auto workshop = std::make_unique<Workshop>(file, header, std::move(table));
    co_await or_return(co_await workshop->load());
    if (header.autoclear) {  // we maintain none of what these bits vouch for
        workshop->metadata_.sector().set64(kAutoclearAt, 0);
        co_await or_return(co_await workshop->metadata_.sector().store());
    }
    co_return std::move(workshop);
}

std::string next_id(const SnapshotTable& table) {
    uint64_t most = 0;
    for (const SnapshotEntry& e : table.entries) {
        uint64_t id = 0;
        std::from_chars(e.info.id.data(), e.info.id.data() + e.info.id.size(), id);
        if (id < ~0ull) most = std::max(most, id);
    }
    return std::to_string(most + 1);
}

}  // namespace

io::Task<Result<std::vector<Snapshot>>> list_snapshots(ImageFile& file) {
    const Header header = co_await or_return(co_await read_header(file));
    const SnapshotTable table = co_await or_return(co_await read_snapshot_table(file, header));
    std::vector<Snapshot> snapshots;
    for (const SnapshotEntry& e : table.entries) snapshots.push_back(e.info);
    co_return std::move(snapshots);
}

io::Task<Result<Snapshot>> create_snapshot(ImageFile& file, std::string name, int64_t seconds) {
    if (name.empty() || name.size() > 255) co_return fail(ErrorKind::Usage, "disk {}: a snapshot's name has 1 to 255 bytes", file.name());
    const std::unique_ptr<Workshop> shop = co_await or_return(co_await enter(file));
    if (shop->find(name)) co_return fail(ErrorKind::Conflict, "disk {}: has a snapshot {} already", file.name(), name);
    if (shop->geometry_.refcount_max() < 2) co_return fail(ErrorKind::Failed, "disk {}: refcounts of one bit allow no snapshots", file.name());
    // Flags first: with them set, and counts of two, a crash would leave an image that contradicts itself.
    std::vector<uint64_t> l1 = shop->active();
    l1 = co_await or_return(co_await shop->set_flags(std::move(l1), Workshop::Flags::Clear));
    co_await or_return(co_await shop->write_l1(shop->header().l1_offset, l1));
    co_await or_return(co_await file.sync());
    co_await or_return(co_await shop->add_all(l1, 1));
    SnapshotEntry entry;
    entry.info.id = next_id(shop->table());
    entry.info.name = std::move(name);
    entry.info.disk_size = Bytes(shop->header().size);
    entry.info.seconds = seconds;
    entry.l1_size = static_cast<uint32_t>(l1.size());
    entry.l1_offset = co_await or_return(co_await shop->store_table(table_bytes(l1, l1.size() * 8)));
    encode(entry, seconds, 0);
    Snapshot info = entry.info;
    shop->table().entries.push_back(std::move(entry));
    co_await or_return(co_await shop->replace_table());
    co_await or_return(co_await shop->refcounts().write_all());
    co_await or_return(co_await shop->finish());
    co_return std::move(info);
}

io::Task<Result<>> delete_snapshot(ImageFile& file, std::string which) {
    const std::unique_ptr<Workshop> shop = co_await or_return(co_await enter(file));
    const size_t index = co_await or_return(shop->find(which));
    const uint64_t offset = shop->table().entries[index].l1_offset, entries = shop->table().entries[index].l1_size;
    const std::vector<uint64_t> l1 = co_await or_return(co_await read_table(file, offset, entries));
    shop->table().entries.erase(shop->table().entries.begin() + static_cast<ptrdiff_t>(index));
    co_await or_return(co_await shop->replace_table());
    co_await or_return(co_await shop->add_all(l1, -1));
    co_await or_return(co_await shop->give_back(offset, entries * 8));
    std::vector<uint64_t> active = shop->active();
    co_return co_await shop->refresh_active(shop->header().l1_offset, std::move(active));
}

io::Task<Result<>> rollback_snapshot(ImageFile& file, std::string which) {
    const std::unique_ptr<Workshop> shop = co_await or_return(co_await enter(file));
    const SnapshotEntry entry = shop->table().entries[co_await or_return(shop->find(which))];
    if (entry.l1_size == 0 || entry.info.disk_size.value() == 0) co_return damaged(file, "snapshot {} has no size", entry.info.id);
    std::vector<uint64_t> l1 = co_await or_return(co_await read_table(file, entry.l1_offset, entry.l1_size));
    const std::vector<uint64_t> old = shop->active();
    const uint64_t old_offset = shop->header().l1_offset;
    co_await or_return(co_await shop->add_all(l1, 1));
    l1 = co_await or_return(co_await shop->set_flags(std::move(l1), Workshop::Flags::Clear));
    const uint64_t offset = co_await or_return(co_await shop->store_table(table_bytes(l1, l1.size() * 8)));
    co_await or_return(co_await shop->refcounts().write_all());
    HeaderSector& sector = shop->metadata_.sector();
    sector.set64(kSizeAt, entry.info.disk_size.value());
    sector.set32(kL1SizeAt, entry.l1_size);
    sector.set64(kL1OffsetAt, offset);
    co_await or_return(co_await sector.store());
    co_await or_return(co_await shop->add_all(old, -1));
    co_await or_return(co_await shop->give_back(old_offset, old.size() * 8));
    co_return co_await shop->refresh_active(offset, std::move(l1));
}

}  // namespace yado::storage::qcow2
