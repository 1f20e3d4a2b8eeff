#include "storage/vhdx/metadata.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace yado::storage::vhdx {

using io::or_return;

namespace {

constexpr uint32_t kLongestLocator = 64 << 10;
constexpr uint32_t kItems = 64 << 10;  // where items may begin

std::unexpected<Error> corrupt(const ImageFile& file, std::string_view what) {
    return fail(ErrorKind::Corrupt, "disk {}: not a sound VHDX: {}", file.name(), what);
}

struct Item {
    Uuid id;
    uint32_t least;  ///< its length
    bool needed;
    uint32_t offset = 0, length = 0;
};

/// What we know of; the order is that of Which.
enum Which : size_t { Parameters, Size, Id, Logical, Physical, Parent, kWhich };

struct Items {
    Item all[kWhich] = {{kFileParameters, 8, true}, {kVirtualDiskSize, 8, true},    {kVirtualDiskId, 16, true},
                        {kLogicalSectorSize, 4, true}, {kPhysicalSectorSize, 4, true}, {kParentLocator, 20, false}};

    /// One entry of the table (2.6.1.2).
    Result<> take(const ImageFile& file, const std::byte* at, uint32_t region_length) {
        const Uuid id = Uuid::load(at);
        const uint32_t flags = load_le<uint32_t>(at + metadata::kFlags);
        const auto found = std::ranges::find(all, id, &Item::id);
        if (found == std::end(all) || flags & metadata::kIsUser) {
            if (!(flags & metadata::kIsRequired)) return {};
            return fail(ErrorKind::Failed, "disk {}: it needs the metadata {}, which are not known", file.name(), id.text(Uuid::Order::Guid));
        }
        if (found->length) return corrupt(file, "a metadata item twice");
        found->offset = load_le<uint32_t>(at + metadata::kOffset);
        found->length = load_le<uint32_t>(at + metadata::kLength);
        if (found->length < found->least || found->offset < kItems || found->offset > region_length ||
            found->length > region_length - found->offset)
            return corrupt(
                file, fmt::format("a metadata item of {} bytes at {}, in a region of {}", found->length, found->offset, region_length));
        return {};
    }
};

io::Task<Result<>> load_items(const View& view, const Layout& layout, Items& items) {
    std::vector<std::byte> table(kTableSize);
    co_await or_return(co_await view.read(layout.metadata.offset, table));
    const uint32_t count = load_le<uint16_t>(&table[metadata::kEntryCount]);
    if (std::memcmp(table.data(), metadata::kSignature, 8) != 0 || count > metadata::kMostEntries)
        co_return corrupt(view.file, "no metadata table");
    for (uint32_t n = 0; n < count; ++n)
        co_await or_return(items.take(view.file, &table[metadata::kEntries + n * metadata::kEntrySize], layout.metadata.length));
    for (const Item& item : items.all)
        if (item.needed && item.length == 0) co_return corrupt(view.file, fmt::format("no metadata {}", item.id.text(Uuid::Order::Guid)));
    co_return Result<>{};
}

/// 2.6.2.6: keys and values; those that do not lie inside are left out.
void parse_locator(std::span<const std::byte> bytes, Layout& layout) {
    const size_t count = std::min<size_t>(load_le<uint16_t>(&bytes[18]), (bytes.size() - 20) / 12);
    const auto text = [&](uint32_t offset, uint16_t length) {
        if (offset > bytes.size() || length > bytes.size() - offset) return std::string();
        return text_of_utf16(bytes.subspan(offset, length), Endian::Little);
    };
    for (size_t n = 0; n < count; ++n) {
        const std::byte* at = &bytes[20 + n * 12];
        const std::string key = text(load_le<uint32_t>(at), load_le<uint16_t>(at + 8));
        const std::string value = text(load_le<uint32_t>(at + 4), load_le<uint16_t>(at + 10));
        if (key == "parent_linkage") layout.parent_linkage = value;
        if (key == "relative_path") layout.parent_path = value;
        if (key == "absolute_win32_path" && layout.parent_path.empty()) layout.parent_path = value;
    }
}

Result<> check_values(const ImageFile& file, const Layout& layout, uint32_t logical, uint32_t physical) {
    if (!std::has_single_bit(layout.block_size) || layout.block_size < kSmallestBlock || layout.block_size > kLargestBlock)
        return corrupt(file, fmt::format("a block size of {} bytes", layout.block_size));
    if ((logical != 512 && logical != 4096) || (physical != 512 && physical != 4096))
        return corrupt(file, fmt::format("sectors of {} and {} bytes", logical, physical));
    if (logical != 512)
        return fail(ErrorKind::Failed, "disk {}: a VHDX with logical sectors of 4096 bytes, which is not supported", file.name());
    if (layout.size == 0 || layout.size % 512 || layout.size > kMostBytes) return corrupt(file, fmt::format("a size of {} bytes", layout.size));
    return {};
}

}  // namespace

io::Task<Result<>> load_metadata(const View& view, Layout& layout) {
    Items items;
    co_await or_return(co_await load_items(view, layout, items));
    const uint64_t base = layout.metadata.offset;
    std::array<std::byte, 8> parameters, size;
    std::array<std::byte, 4> logical, physical;
    std::array<std::byte, 16> id;
    layout.size_item = base + items.all[Size].offset;
    co_await or_return(co_await view.read(base + items.all[Parameters].offset, parameters));
    co_await or_return(co_await view.read(layout.size_item, size));
    co_await or_return(co_await view.read(base + items.all[Id].offset, id));
    co_await or_return(co_await view.read(base + items.all[Logical].offset, logical));
    co_await or_return(co_await view.read(base + items.all[Physical].offset, physical));
    layout.block_size = load_le<uint32_t>(parameters.data());
    const uint32_t flags = load_le<uint32_t>(&parameters[4]);
    layout.differencing = flags & metadata::kHasParent;
    layout.fixed = !layout.differencing && flags & metadata::kLeaveBlocksAllocated;
    layout.size = load_le<uint64_t>(size.data());
    layout.disk_id = Uuid::load(id.data());
    co_await or_return(check_values(view.file, layout, load_le<uint32_t>(logical.data()), load_le<uint32_t>(physical.data())));
    const Item& parent = items.all[Parent];
    if (!layout.differencing || parent.length == 0) co_return Result<>{};
    std::vector<std::byte> locator(std::min(parent.length, kLongestLocator));
    co_await or_return(co_await view.read(base + parent.offset, locator));
    parse_locator(locator, layout);
    co_return Result<>{};
}

std::vector<std::byte> make_metadata(uint64_t size, uint32_t block_size, bool fixed) {
    struct New {
        const Uuid& id;
        uint32_t flags;
        std::vector<std::byte> value;
    };
    const auto number = [](auto value) {
        std::vector<std::byte> bytes(sizeof value);
        store_le(bytes.data(), value);
        return bytes;
    };
    const Uuid disk = Uuid::random();
    const uint32_t of_disk = metadata::kIsRequired | metadata::kIsVirtualDisk;
    const uint64_t parameters = uint64_t{fixed ? metadata::kLeaveBlocksAllocated : 0} << 32 | block_size;
    const New items[] = {{kFileParameters, metadata::kIsRequired, number(parameters)},
                         {kVirtualDiskSize, of_disk, number(size)},
                         {kVirtualDiskId, of_disk, {disk.bytes.begin(), disk.bytes.end()}},
                         {kLogicalSectorSize, of_disk, number(uint32_t{512})},
                         {kPhysicalSectorSize, of_disk, number(uint32_t{4096})}};
    std::vector<std::byte> bytes(kItems + kLogSector);
    std::memcpy(bytes.data(), metadata::kSignature, 8);
    store_le(&bytes[metadata::kEntryCount], static_cast<uint16_t>(std::size(items)));
    uint32_t at = kItems;
    std::byte* entry = &bytes[metadata::kEntries];
    for (const New& item : items) {
        item.id.store(entry);
        store_le(entry + metadata::kOffset, at);
        store_le(entry + metadata::kLength, static_cast<uint32_t>(item.value.size()));
        store_le(entry + metadata::kFlags, item.flags);
        std::ranges::copy(item.value, &bytes[at]);
        at += 16;
        entry += metadata::kEntrySize;
    }
    return bytes;
}

}  // namespace yado::storage::vhdx
