#include "storage/qcow2/snapshot_table.h"

#include <algorithm>

namespace yado::storage::qcow2 {
namespace {

using io::or_return;

constexpr uint64_t kFixedBytes = 40, kExtraWritten = 16;

/// Length of the entry at `at`; 0 where what was read so far does not hold it.
Result<uint64_t> entry_length(const ImageFile& file, std::span<const std::byte> read, uint64_t at) {
    if (at + kFixedBytes > read.size()) return 0;
    const std::byte* p = read.data() + at;
    const uint64_t extra = load_be<uint32_t>(p + 36);
    if (extra > kMaxSnapshotExtra) return damaged(file, "a snapshot's extra data of {} bytes", extra);
    const uint64_t length = (kFixedBytes + extra + load_be<uint16_t>(p + 12) + load_be<uint16_t>(p + 14) + 7) & ~7ull;
    return at + length <= read.size() ? length : 0;
}

Result<SnapshotEntry> decode(const ImageFile& file, const Header& header, std::span<const std::byte> raw) {
    SnapshotEntry entry;
    const std::byte* p = raw.data();
    entry.l1_offset = load_be<uint64_t>(p);
    entry.l1_size = load_be<uint32_t>(p + 8);
    const uint64_t id = load_be<uint16_t>(p + 12), name = load_be<uint16_t>(p + 14), extra = load_be<uint32_t>(p + 36);
    const auto* text = reinterpret_cast<const char*>(p) + kFixedBytes + extra;
    entry.info.id.assign(text, id);
    entry.info.name.assign(text + id, name);
    entry.info.seconds = load_be<uint32_t>(p + 16);
    entry.info.vm_state_size = Bytes(extra >= 8 ? load_be<uint64_t>(p + 40) : load_be<uint32_t>(p + 32));
    entry.info.disk_size = Bytes(extra >= 16 ? load_be<uint64_t>(p + 48) : header.size);
    entry.raw.assign(raw.begin(), raw.end());
    const uint64_t bytes = entry.l1_size * 8ull, end = header.geometry.round_up(file.size().value());
    if (bytes > kMaxL1Bytes || !header.geometry.aligned(entry.l1_offset) || (bytes && entry.l1_offset == 0) || entry.l1_offset > end || bytes > end - entry.l1_offset)
        return damaged(file, "the L1 table of snapshot {}: {} bytes at {}", entry.info.id, bytes, entry.l1_offset);
    if (entry.info.disk_size.value() > kMaxImageBytes || header.geometry.l1_entries_for(entry.info.disk_size.value()) > entry.l1_size)
        return damaged(file, "snapshot {} has {} bytes and an L1 table of {} entries", entry.info.id, entry.info.disk_size.value(), entry.l1_size);
    return entry;
}

}  // namespace

io::Task<Result<SnapshotTable>> read_snapshot_table(ImageFile& file, const Header& header) {
    SnapshotTable table;
    if (header.snapshot_count == 0) co_return std::move(table);
    const uint64_t most = std::min(kMaxSnapshotTableBytes, file.size().value() - std::min(file.size().value(), header.snapshots_offset));
    std::vector<std::byte> read;
    while (table.entries.size() < header.snapshot_count) {
        const uint64_t length = co_await or_return(entry_length(file, read, table.bytes));
        if (length) {
            table.entries.push_back(co_await or_return(decode(file, header, std::span(read).subspan(table.bytes, length))));
            table.bytes += length;
            continue;
        }
        if (read.size() == most) co_return damaged(file, "the snapshot table does not end within {} bytes", most);
        read.resize(std::min<uint64_t>(most, std::max<uint64_t>(8192, read.size() * 2)));
        co_await or_return(co_await read_bytes(file, Bytes(header.snapshots_offset), read));
    }
    co_return std::move(table);
}

void encode(SnapshotEntry& entry, int64_t seconds, uint32_t nanoseconds) {
    const uint64_t length = kFixedBytes + kExtraWritten + entry.info.id.size() + entry.info.name.size();
    entry.raw.assign((length + 7) & ~7ull, std::byte{0});
    std::byte* p = entry.raw.data();
    store_be(p, entry.l1_offset);
    store_be(p + 8, entry.l1_size);
    store_be(p + 12, static_cast<uint16_t>(entry.info.id.size()));
    store_be(p + 14, static_cast<uint16_t>(entry.info.name.size()));
    store_be(p + 16, static_cast<uint32_t>(seconds));
    store_be(p + 20, nanoseconds);
    store_be(p + 36, static_cast<uint32_t>(kExtraWritten));
    store_be(p + 48, entry.info.disk_size.value());
    std::memcpy(p + kFixedBytes + kExtraWritten, entry.info.id.data(), entry.info.id.size());
    std::memcpy(p + kFixedBytes + kExtraWritten + entry.info.id.size(), entry.info.name.data(), entry.info.name.size());
}

std::vector<std::byte> encode(const std::vector<SnapshotEntry>& entries) {
    std::vector<std::byte> bytes;
    for (const SnapshotEntry& entry : entries) bytes.insert(bytes.end(), entry.raw.begin(), entry.raw.end());
    return bytes;
}

}  // namespace yado::storage::qcow2
