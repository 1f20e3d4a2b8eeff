#include "storage/qcow2/backing_name.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "storage/qcow2/header.h"

namespace yado::storage::qcow2 {
namespace {

using io::or_return;

constexpr uint64_t kSector = 512;
constexpr uint64_t kSlot = 1024;  // for a name that the header's sector has no room for

struct Extension {
    uint32_t type = 0;
    std::vector<std::byte> data;
    uint64_t bytes() const { return 8 + ((data.size() + 7) & ~uint64_t{7}); }
};

/// The header without extensions and name, what it has of them, and where they end.
struct Front {
    std::vector<std::byte> fixed;
    std::vector<Extension> extensions;
    uint64_t extensions_end = 0;
    uint64_t name_at = 0, name_length = 0;
};

std::vector<std::byte> bytes_of(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

/// read_header() has found it sound.
Front parse(std::span<const std::byte> cluster, uint32_t version) {
    const auto u32 = [&](uint64_t at) { return load_be<uint32_t>(cluster.data() + at); };
    Front f;
    const uint64_t length = version == 2 ? kHeaderLengthV2 : u32(kHeaderLengthAt);
    f.fixed.assign(cluster.begin(), cluster.begin() + static_cast<ptrdiff_t>(length));
    f.name_at = load_be<uint64_t>(cluster.data() + kBackingOffsetAt);
    f.name_length = f.name_at ? u32(kBackingSizeAt) : 0;
    const uint64_t end = f.name_at ? f.name_at : cluster.size();
    uint64_t at = length;
    while (at + 8 <= end) {
        const uint32_t type = u32(at), size = u32(at + 4);
        at += 8;
        if (type == kExtensionEnd || size > end - at) break;
        const auto data = cluster.subspan(at, size);
        f.extensions.push_back({type, {data.begin(), data.end()}});
        at += std::min<uint64_t>((size + 7ull) & ~7ull, end - at);
    }
    f.extensions_end = at;
    return f;
}

void set_format(std::vector<Extension>& extensions, const std::optional<CreateOptions::Parent>& parent) {
    std::erase_if(extensions, [](const Extension& e) { return e.type == kExtensionBackingFormat; });
    if (parent && !parent->format.empty()) extensions.insert(extensions.begin(), {kExtensionBackingFormat, bytes_of(name_in_header(parent->format))});
}

/// Fixed part and extensions with their end.
std::vector<std::byte> assemble(const Front& f) {
    std::vector<std::byte> out = f.fixed;
    for (const Extension& e : f.extensions) {
        const size_t at = out.size();
        out.resize(at + e.bytes());
        store_be(out.data() + at, e.type);
        store_be(out.data() + at + 4, static_cast<uint32_t>(e.data.size()));
        std::ranges::copy(e.data, out.begin() + static_cast<ptrdiff_t>(at + 8));
    }
    out.resize(out.size() + 8);
    return out;
}

/// Where in the first cluster a long name may go without touching what is valid now; 0: nowhere.
uint64_t free_slot(const Front& f, uint64_t cluster) {
    for (uint64_t at = cluster - kSlot; cluster >= 4 * kSlot && at >= cluster - 2 * kSlot; at -= kSlot) {
        const bool hits_name = f.name_length && at < f.name_at + f.name_length && f.name_at < at + kSlot;
        if (at >= std::max(f.extensions_end, kSector) && !hits_name) return at;
    }
    return 0;
}

std::unexpected<Error> no_room(const ImageFile& file) {
    return fail(ErrorKind::Failed, "disk {}: its header has no room for the name of the backing file; convert the image instead", file.name());
}

}  // namespace

io::Task<Result<>> set_backing_name(ImageFile& file, const std::optional<CreateOptions::Parent>& parent) {
    const Header header = co_await or_return(co_await read_header(file));
    const uint64_t cluster = header.geometry.cluster_size();
    if (parent && (parent->path.empty() || parent->path.size() > kMaxBackingName))
        co_return fail(ErrorKind::Usage, "disk {}: the parent's name must have 1 to {} bytes", file.name(), kMaxBackingName);
    std::vector<std::byte> bytes(std::min(cluster, file.size().value()));
    co_await or_return(co_await read_bytes(file, Bytes(0), bytes));

    Front front = parse(bytes, header.version);
    set_format(front.extensions, parent);
    std::vector<std::byte> sector = assemble(front);
    if (sector.size() > kSector) {  // names of features only explain
        std::erase_if(front.extensions, [](const Extension& e) { return e.type == kExtensionFeatureNames; });
        sector = assemble(front);
    }
    if (sector.size() > kSector) co_return no_room(file);

    uint64_t name_at = 0;
    if (parent) {
        const std::vector<std::byte> name = bytes_of(parent->path);
        const bool fits = sector.size() + name.size() <= kSector;
        name_at = fits ? sector.size() : free_slot(front, cluster);
        if (name_at == 0) co_return no_room(file);
        if (fits) sector.insert(sector.end(), name.begin(), name.end());
        else co_await or_return(co_await write_bytes(file, Bytes(name_at), name));
    }
    store_be(sector.data() + kBackingOffsetAt, name_at);
    store_be(sector.data() + kBackingSizeAt, static_cast<uint32_t>(parent ? parent->path.size() : 0));
    sector.resize(kSector);
    co_await or_return(co_await file.sync());
    co_await or_return(co_await write_bytes(file, Bytes(0), sector));
    co_return co_await file.sync();
}

}  // namespace yado::storage::qcow2
