#include "storage/qcow2/header.h"

#include <fmt/ranges.h>

#include <algorithm>

namespace yado::storage::qcow2 {
namespace {

using io::or_return;

/// Everything of the first cluster that may be of interest.
struct Raw {
    const ImageFile& file;
    std::vector<std::byte> bytes;

    uint32_t u32(uint64_t at) const { return load_be<uint32_t>(bytes.data() + at); }
    uint64_t u64(uint64_t at) const { return load_be<uint64_t>(bytes.data() + at); }
    bool holds(uint64_t at, uint64_t length) const { return at <= bytes.size() && length <= bytes.size() - at; }
    std::string text(uint64_t at, uint64_t length) const {
        return {reinterpret_cast<const char*>(bytes.data()) + at, length};
    }
};

io::Task<Result<std::vector<std::byte>>> read_front(ImageFile& file, uint64_t length) {
    std::vector<std::byte> bytes(std::min(length, file.size().value()));
    co_await or_return(co_await read_bytes(file, Bytes(0), bytes));
    co_return std::move(bytes);
}

Result<> check_identity(const Raw& raw) {
    if (raw.bytes.size() < kHeaderLengthV2 || raw.u32(kMagicAt) != QCOW_MAGIC)
        return fail(ErrorKind::Corrupt, "disk {}: not a qcow2 image", raw.file.name());
    const uint32_t version = raw.u32(kVersionAt);
    if (version != 2 && version != 3)
        return fail(ErrorKind::Failed, "disk {}: qcow2 version {}: only 2 and 3 are known", raw.file.name(), version);
    if (version == 3 && raw.bytes.size() < kHeaderLengthV3) return damaged(raw.file, "the file ends inside the header");
    const uint32_t bits = raw.u32(kClusterBitsAt);
    if (bits < kMinClusterBits || bits > kMaxClusterBits) return damaged(raw.file, "cluster_bits {} is not {} to {}", bits, kMinClusterBits, kMaxClusterBits);
    return {};
}

/// The name that the image itself has for a feature.
std::string feature_name(const Raw& raw, uint64_t extensions_at, unsigned bit) {
    for (uint64_t at = extensions_at; raw.holds(at, 8);) {
        const uint32_t type = raw.u32(at), length = raw.u32(at + 4);
        at += 8;
        if (type == kExtensionEnd || !raw.holds(at, length)) break;
        for (uint64_t entry = at; type == kExtensionFeatureNames && entry + 48 <= at + length; entry += 48) {
            if (raw.bytes[entry] != std::byte{0} || raw.bytes[entry + 1] != std::byte(bit)) continue;
            std::string name = raw.text(entry + 2, 46);
            name.resize(std::min(name.find('\0'), name.size()));
            std::ranges::replace_if(name, [](char c) { return c < ' ' || c > '~'; }, '?');
            return name;
        }
        at += (length + 7ull) & ~7ull;
    }
    return fmt::format("feature bit {}", bit);
}

Result<> check_features(const Raw& raw, uint64_t incompatible, uint64_t extensions_at) {
    if (incompatible & EXTERNAL_DATA)
        return fail(ErrorKind::Failed, "disk {}: its data are in another file (external data file), which is not supported", raw.file.name());
    if (incompatible & EXTENDED_L2)
        return fail(ErrorKind::Failed, "disk {}: extended L2 entries (subclusters) are not supported; convert it without extended_l2", raw.file.name());
    const uint64_t unknown = incompatible & ~(DIRTY | CORRUPT | COMPRESSION_TYPE);
    if (unknown == 0) return {};
    std::vector<std::string> names;
    for (unsigned bit = 0; bit < 64; ++bit)
        if (unknown >> bit & 1) names.push_back(feature_name(raw, extensions_at, bit));
    return fail(ErrorKind::Failed, "disk {}: it uses features that are not supported: {}", raw.file.name(), fmt::join(names, ", "));
}

Result<uint64_t> parse_version_3(const Raw& raw, Header& h) {
    const uint32_t length = raw.u32(kHeaderLengthAt);
    if (length < kHeaderLengthV3 || length % 8 || length > h.geometry.cluster_size() || !raw.holds(0, length))
        return damaged(raw.file, "header length {}", length);
    h.incompatible = raw.u64(kIncompatibleAt);
    h.autoclear = raw.u64(kAutoclearAt);
    YADO_TRY(check_features(raw, h.incompatible, length));
    h.geometry.refcount_order = raw.u32(kRefcountOrderAt);
    if (h.geometry.refcount_order > 6) return damaged(raw.file, "refcount order {}", h.geometry.refcount_order);
    const unsigned type = length > kCompressionAt ? static_cast<unsigned>(raw.bytes[kCompressionAt]) : 0;
    if ((type != 0) != ((h.incompatible & COMPRESSION_TYPE) != 0)) return damaged(raw.file, "compression type {} does not agree with the feature bits", type);
    if (type > 1) return fail(ErrorKind::Failed, "disk {}: compression type {} is not supported (zlib and zstd are)", raw.file.name(), type);
    h.compression = static_cast<Compression>(type);
    return length;
}

Result<> parse_bitmaps(const Raw& raw, uint64_t at, uint32_t length, Header& h) {
    if (length != 24) return damaged(raw.file, "bitmaps extension of {} bytes", length);
    BitmapsExtension b{raw.u32(at), raw.u64(at + 8), raw.u64(at + 16), (h.autoclear & BITMAPS) != 0};
    if (b.consistent && (b.count == 0 || b.count > kMaxBitmaps || b.directory_size > kMaxBitmapDirectoryBytes || !h.geometry.aligned(b.directory_offset)))
        return damaged(raw.file, "bitmaps extension: {} bitmaps, directory of {} bytes at {}", b.count, b.directory_size, b.directory_offset);
    h.bitmaps = b;
    return {};
}

Result<> parse_extensions(const Raw& raw, uint64_t at, Header& h) {
    const uint64_t backing = raw.u64(kBackingOffsetAt);
    const uint64_t end = backing ? backing : raw.bytes.size();
    while (at + 8 <= end) {
        const uint32_t type = raw.u32(at), length = raw.u32(at + 4);
        at += 8;
        if (type == kExtensionEnd) break;
        if (length > end - at) return damaged(raw.file, "header extension {:#x} of {} bytes does not fit", type, length);
        if (type == kExtensionBackingFormat && h.backing) h.backing->format = name_from_header(raw.text(at, std::min<uint32_t>(length, 64)));
        if (type == kExtensionBitmaps) YADO_TRY(parse_bitmaps(raw, at, length, h));
        if (type == kExtensionEncryption) return fail(ErrorKind::Failed, "disk {}: encrypted (LUKS), which is not supported", raw.file.name());
        if (type == kExtensionDataFile) return fail(ErrorKind::Failed, "disk {}: it names an external data file, which is not supported", raw.file.name());
        at += std::min<uint64_t>((length + 7ull) & ~7ull, end - at);
    }
    return {};
}

Result<> parse_backing(const Raw& raw, uint64_t header_length, Header& h) {
    const uint64_t at = raw.u64(kBackingOffsetAt);
    if (at == 0) return {};
    const uint32_t length = raw.u32(kBackingSizeAt);
    if (at < header_length || length > kMaxBackingName || at > h.geometry.cluster_size() || length > h.geometry.cluster_size() - at || !raw.holds(at, length))
        return damaged(raw.file, "name of the backing file: {} bytes at {}", length, at);
    if (length) h.backing = BackingClaim{raw.text(at, length), {}};
    return {};
}

struct Table {
    const char* what;
    uint64_t offset, bytes, most;
};

Result<> check_tables(const Raw& raw, const Header& h) {
    const Geometry& g = h.geometry;
    std::vector<Table> tables{{"L1 table", h.l1_offset, h.l1_size * 8ull, kMaxL1Bytes},
                              {"refcount table", h.refcount_table_offset, h.refcount_table_clusters * g.cluster_size(), kMaxRefcountTableBytes}};
    // A snapshot's entry has 40 bytes at least; how long the table is shows only in reading it.
    if (h.snapshot_count) tables.push_back({"snapshot table", h.snapshots_offset, h.snapshot_count * 40ull, kMaxSnapshotTableBytes});
    if (h.bitmaps && h.bitmaps->consistent)
        tables.push_back({"bitmap directory", h.bitmaps->directory_offset, h.bitmaps->directory_size, kMaxBitmapDirectoryBytes});
    const uint64_t end = g.round_up(raw.file.size().value());
    for (const Table& t : tables) {
        if (t.bytes == 0 && t.offset == 0) continue;
        if (!g.aligned(t.offset) || t.offset == 0 || t.bytes > t.most || t.offset > end || t.bytes > end - t.offset)
            return damaged(raw.file, "{}: {} bytes at {}", t.what, t.bytes, t.offset);
        for (const Table& other : tables)
            if (&other != &t && t.offset < other.offset + other.bytes && other.offset < t.offset + t.bytes)
                return damaged(raw.file, "{} and {} overlap", t.what, other.what);
    }
    return {};
}

Result<> check_size(const Raw& raw, const Header& h) {
    if (h.size == 0 || h.size % 512 || h.size > kMaxImageBytes) return damaged(raw.file, "a size of {} bytes (must be a multiple of 512)", h.size);
    if (h.geometry.l1_entries_for(h.size) > h.l1_size)
        return damaged(raw.file, "the L1 table has {} entries, and {} bytes need {}", h.l1_size, h.size, h.geometry.l1_entries_for(h.size));
    if (h.refcount_table_clusters == 0) return damaged(raw.file, "no refcount table");
    return {};
}

Result<Header> parse(const Raw& raw) {
    Header h;
    h.version = raw.u32(kVersionAt);
    h.geometry.cluster_bits = raw.u32(kClusterBitsAt);
    h.size = raw.u64(kSizeAt);
    h.l1_size = raw.u32(kL1SizeAt);
    h.l1_offset = raw.u64(kL1OffsetAt);
    h.refcount_table_offset = raw.u64(kRefcountOffsetAt);
    h.refcount_table_clusters = raw.u32(kRefcountClustersAt);
    h.snapshot_count = raw.u32(kSnapshotCountAt);
    h.snapshots_offset = raw.u64(kSnapshotOffsetAt);
    if (const uint32_t method = raw.u32(kCryptAt))
        return fail(ErrorKind::Failed, "disk {}: encrypted ({}), which is not supported", raw.file.name(), method == 1 ? "AES" : method == 2 ? "LUKS" : "unknown method");
    if (h.snapshot_count > kMaxSnapshots) return damaged(raw.file, "{} snapshots", h.snapshot_count);
    const uint64_t length = h.version == 2 ? kHeaderLengthV2 : YADO_TRY(parse_version_3(raw, h));
    YADO_TRY(parse_backing(raw, length, h));
    YADO_TRY(parse_extensions(raw, length, h));
    YADO_TRY(check_tables(raw, h));
    YADO_TRY(check_size(raw, h));
    return h;
}

}  // namespace

io::Task<Result<Header>> read_header(ImageFile& file) {
    Raw raw{file, {}};
    raw.bytes = co_await or_return(co_await read_front(file, 4096));
    co_await or_return(check_identity(raw));
    const uint64_t cluster = 1ull << raw.u32(kClusterBitsAt);
    raw.bytes = co_await or_return(co_await read_front(file, cluster));
    co_await or_return(check_identity(raw));  // it was read a second time
    co_return parse(raw);
}

std::string_view name_in_header(std::string_view format) { return format == "vhd" ? "vpc" : format; }
std::string_view name_from_header(std::string_view text) { return text == "vpc" ? "vhd" : text; }

io::Task<Result<>> HeaderSector::load() { co_return co_await read_bytes(file_, Bytes(0), sector_); }

io::Task<Result<>> HeaderSector::store() {
    const RangeLock::Range whole{0, 1};
    const RangeLock::Held held = co_await lock_.take(whole);
    const std::array<std::byte, 512> copy = sector_;
    co_await or_return(co_await write_bytes(file_, Bytes(0), copy));
    co_return co_await file_.sync();
}

io::Task<Result<>> HeaderSector::set_refcount_table(uint64_t old_offset, uint64_t old_clusters, uint64_t offset, uint64_t clusters) {
    set64(kRefcountOffsetAt, offset);
    set32(kRefcountClustersAt, static_cast<uint32_t>(clusters));
    auto stored = co_await store();
    if (stored) co_return stored;
    set64(kRefcountOffsetAt, old_offset);
    set32(kRefcountClustersAt, static_cast<uint32_t>(old_clusters));
    co_return stored;
}

}  // namespace yado::storage::qcow2
