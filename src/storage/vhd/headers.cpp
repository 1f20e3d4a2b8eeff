// The size of a disk. The specification's footer has a current size, and a geometry of cylinders, heads and sectors, which seldom
// gives the same. Virtual PC shows the geometry's product; Hyper-V and most others the current size. As QEMU does ("force_size"
// off), makers of whom it is known that they mean the current size are listed, for all others the geometry counts, unless it is the
// largest that there is. VirtualBox is on our list and not on QEMU's: its own reader takes the current size. What we write has
// Hyper-V's name as its maker ("win "), and so its size is exact everywhere.
#include "storage/vhd/headers.h"

#include <algorithm>
#include <ctime>
#include <numeric>

namespace yado::storage::vhd {

using io::or_return;

namespace {

constexpr std::string_view kExactMakers[] = {"win ", "qem2", "d2v ", std::string_view("tap\0", 4), "CTXS", std::string_view("wa\0\0", 4),
                                             "vbox"};

struct Geometry {
    uint16_t cylinders = 0;
    uint8_t heads = 0, sectors = 0;
    uint64_t total() const { return uint64_t{cylinders} * heads * sectors; }
};
constexpr uint64_t kMostCylinders = 65535;
constexpr Geometry kLargestGeometry{kMostCylinders, 16, 255};

/// "Appendix: CHS Calculation".
Geometry geometry_of(uint64_t size) {
    const uint64_t total = std::min<uint64_t>(size / kSector, kLargestGeometry.total());
    uint64_t sectors = 17, heads = 0, rows = 0;  // rows: cylinders times heads
    if (total >= kMostCylinders * 16 * 63) {
        sectors = 255, heads = 16, rows = total / sectors;
    } else {
        rows = total / sectors;
        heads = std::max<uint64_t>((rows + 1023) / 1024, 4);
        if (rows >= heads * 1024 || heads > 16) sectors = 31, heads = 16, rows = total / sectors;
        if (rows >= heads * 1024) sectors = 63, heads = 16, rows = total / sectors;
    }
    return {static_cast<uint16_t>(rows / heads), static_cast<uint8_t>(heads), static_cast<uint8_t>(sectors)};
}

/// "Checksum": the one's complement of the sum of all bytes but its own.
uint32_t checksum(std::span<const std::byte> bytes, size_t field) {
    uint32_t sum = 0;
    for (size_t n = 0; n < bytes.size(); ++n)
        if (n < field || n >= field + 4) sum += static_cast<uint32_t>(bytes[n]);
    return ~sum;
}

void put_text(std::byte* to, std::string_view text) { std::memcpy(to, text.data(), text.size()); }
bool has_text(const std::byte* at, std::string_view text) { return std::memcmp(at, text.data(), text.size()) == 0; }

uint32_t time_stamp(int64_t seconds) { return static_cast<uint32_t>(std::clamp<int64_t>(seconds - kEpoch, 0, UINT32_MAX)); }

std::string replaced(std::string text, char from, char to) {
    std::ranges::replace(text, from, to);
    return text;
}

}  // namespace

Footer Footer::make(DiskType type, uint64_t size, const Uuid& id) {
    Footer f;
    put_text(f.raw.data(), footer::kCookie);
    store_be(&f.raw[footer::kFeatures], footer::kFeatureReserved);
    store_be(&f.raw[footer::kVersion], footer::kVersion1);
    store_be(&f.raw[footer::kDataOffset], type == DiskType::Fixed ? footer::kNoDataOffset : kFooterSize);
    store_be(&f.raw[footer::kTimeStamp], time_stamp(std::time(nullptr)));
    put_text(&f.raw[footer::kCreatorHostOs], "Wi2k");
    store_be(&f.raw[footer::kOriginalSize], size);
    store_be(&f.raw[footer::kDiskType], static_cast<uint32_t>(type));
    id.store(&f.raw[footer::kUniqueId]);
    f.set_size(size);
    return f;
}

bool Footer::good() const {
    return has_text(raw.data(), footer::kCookie) && load_be<uint32_t>(&raw[footer::kChecksum]) == checksum(raw, footer::kChecksum);
}

uint64_t Footer::disk_size() const {
    const Geometry g{load_be<uint16_t>(&raw[footer::kGeometry]), static_cast<uint8_t>(raw[footer::kGeometry + 2]),
                     static_cast<uint8_t>(raw[footer::kGeometry + 3])};
    const bool exact = std::ranges::find(kExactMakers, creator()) != std::end(kExactMakers);
    return exact || g.total() >= kLargestGeometry.total() ? current_size() : g.total() * kSector;
}

void Footer::set_size(uint64_t size) {
    put_text(&raw[footer::kCreatorApplication], "win ");
    store_be(&raw[footer::kCreatorVersion], uint32_t{0x000a0000});
    store_be(&raw[footer::kCurrentSize], size);
    const Geometry g = geometry_of(size);
    store_be(&raw[footer::kGeometry], g.cylinders);
    raw[footer::kGeometry + 2] = std::byte{g.heads};
    raw[footer::kGeometry + 3] = std::byte{g.sectors};
    seal();
}

void Footer::seal() { store_be(&raw[footer::kChecksum], checksum(raw, footer::kChecksum)); }

DynamicHeader DynamicHeader::make(uint64_t table_offset, uint32_t entries, uint32_t block_size) {
    DynamicHeader h;
    put_text(h.raw.data(), header::kCookie);
    store_be(&h.raw[header::kDataOffset], ~0ull);
    store_be(&h.raw[header::kVersion], header::kVersion1);
    store_be(&h.raw[header::kBlockSize], block_size);
    h.set_table(table_offset, entries);
    return h;
}

bool DynamicHeader::good() const {
    return has_text(raw.data(), header::kCookie) && load_be<uint32_t>(&raw[header::kChecksum]) == checksum(raw, header::kChecksum);
}

void DynamicHeader::set_table(uint64_t table_offset, uint32_t entries) {
    store_be(&raw[header::kTableOffset], table_offset);
    store_be(&raw[header::kMaxTableEntries], entries);
    seal();
}

void DynamicHeader::seal() { store_be(&raw[header::kChecksum], checksum(raw, header::kChecksum)); }

std::string DynamicHeader::parent_name() const {
    return text_of_utf16(std::span(raw).subspan(header::kParentUnicodeName, header::kParentNameSize), Endian::Big);
}

void DynamicHeader::set_parent(const Uuid& id, const CreateOptions::Parent& parent) {
    id.store(&raw[header::kParentUniqueId]);
    store_be(&raw[header::kParentTimeStamp], time_stamp(parent.modified_seconds));
    const std::string_view path = parent.path;
    const std::string name = utf16_of_text(path.substr(path.find_last_of("/\\") + 1), Endian::Big);
    put_text(&raw[header::kParentUnicodeName], std::string_view(name).substr(0, header::kParentNameSize - 2));
    seal();
}

Locator DynamicHeader::locator(size_t n) const {
    const std::byte* at = &raw[header::kParentLocators + n * header::kLocatorSize];
    Locator l;
    l.code = load_be<uint32_t>(at + locator::kPlatformCode);
    l.space = load_be<uint32_t>(at + locator::kDataSpace);
    l.length = load_be<uint32_t>(at + locator::kDataLength);
    l.offset = load_be<uint64_t>(at + locator::kDataOffset);
    if (l.space < kSector) l.space *= kSector;  // the text says sectors; Hyper-V writes bytes, others do as the text says
    return l;
}

void DynamicHeader::set_locator(size_t n, const Locator& l) {
    std::byte* at = &raw[header::kParentLocators + n * header::kLocatorSize];
    store_be(at + locator::kPlatformCode, l.code);
    store_be(at + locator::kDataSpace, static_cast<uint32_t>(l.space));
    store_be(at + locator::kDataLength, l.length);
    store_be(at + locator::kDataOffset, l.offset);
    seal();
}

namespace {

/// Empty unless there is one that lies in the file.
io::Task<Result<std::string>> read_locator(ImageFile& file, const DynamicHeader& header, uint32_t code) {
    for (size_t n = 0; n < header::kLocators; ++n) {
        const Locator l = header.locator(n);
        const uint64_t size = file.size().value();
        if (l.code != code || l.length > kLongestLocator || l.offset > size || l.length > size - l.offset) continue;
        std::vector<std::byte> bytes(l.length);
        co_await or_return(co_await read_bytes(file, Bytes(l.offset), bytes));
        co_return text_of_utf16(bytes, Endian::Little);
    }
    co_return std::string();
}

}  // namespace

// A path that begins with a slash is a Unix one, ours, and kept as it is. The relative path is next: on this host it is more likely to
// mean something than Windows' absolute one.
io::Task<Result<std::string>> read_parent_path(ImageFile& file, const DynamicHeader& header) {
    const std::string absolute = co_await or_return(co_await read_locator(file, header, locator::kW2ku));
    if (absolute.starts_with('/')) co_return absolute;
    std::string relative = co_await or_return(co_await read_locator(file, header, locator::kW2ru));
    if (relative.starts_with(".\\")) relative.erase(0, 2);
    if (!relative.empty()) co_return replaced(std::move(relative), '\\', '/');
    co_return absolute.empty() ? header.parent_name() : absolute;
}

ParentPaths parent_paths(const std::string& path) {
    const bool absolute = path.starts_with('/');
    const std::string below = absolute ? path.substr(path.rfind('/') + 1) : path;
    const std::string windows = replaced((below.starts_with("..") ? "" : "./") + below, '/', '\\');
    return {utf16_of_text(windows, Endian::Little), utf16_of_text(absolute ? path : windows, Endian::Little)};
}

}  // namespace yado::storage::vhd
