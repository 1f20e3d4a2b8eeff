#include "storage/vhd/create.h"

#include <bit>

#include "storage/vhd/headers.h"

namespace yado::storage::vhd {

using io::or_return;

namespace {

constexpr uint64_t kDefaultBlock = 2 << 20;  // the specification's, and Hyper-V's
constexpr uint64_t kSmallestBlock = 64 << 10, kLargestNewBlock = 2 << 20;
constexpr uint64_t kChunk = 1 << 20;

Result<> check_options(const ImageFile& file, const CreateOptions& o) {
    const uint64_t size = o.size.value(), block = o.cluster_size.value_or(Bytes(kDefaultBlock)).value();
    if (size == 0 || size % kSector || size > kMostBytes)
        return fail(ErrorKind::Usage, "disk {}: size {}: a VHD has a multiple of 512 bytes, and at most 2040 GiB", file.name(), size);
    if (!std::has_single_bit(block) || block < kSmallestBlock || block > kLargestNewBlock)
        return fail(ErrorKind::Usage, "disk {}: block size {}: a power of two from 64 KiB to 2 MiB (Hyper-V takes 512 KiB and 2 MiB)",
                    file.name(), block);
    if ((size + block - 1) / block > kMostEntries)
        return fail(ErrorKind::Usage, "disk {}: block size {}: too small for {} bytes", file.name(), block, size);
    if (o.preallocated && o.parent) return fail(ErrorKind::Usage, "disk {}: a clone is not preallocated", file.name());
    if (o.parent && o.parent->format != "vhd")
        return fail(ErrorKind::Usage, "disk {}: its parent {} is {}; a differencing VHD has a VHD", file.name(), o.parent->path,
                    o.parent->format);
    if (o.parent && o.parent->path.empty()) return fail(ErrorKind::Usage, "disk {}: its parent has no path", file.name());
    return {};
}

io::Task<Result<>> create_fixed(ImageFile& file, const CreateOptions& options) {
    const Footer footer = Footer::make(DiskType::Fixed, options.size.value(), Uuid::random());
    co_await or_return(co_await file.resize(options.size));
    co_await or_return(co_await file.write_zeroes(Bytes(0), options.size, ZeroMode::KeepSpace));
    co_await or_return(co_await write_bytes(file, options.size, footer.raw));
    co_return co_await file.sync();
}

std::vector<std::byte> padded(const std::string& text) {
    std::vector<std::byte> bytes((text.size() + kSector - 1) / kSector * kSector);
    std::memcpy(bytes.data(), text.data(), text.size());
    return bytes;
}

/// Header and locators: all between the footer's copy and the table.
struct Front {
    DynamicHeader header;
    std::vector<std::byte> locators;
    uint64_t table_offset() const { return kFooterSize + kHeaderSize + locators.size(); }
};

Result<Front> make_front(const ImageFile& file, const CreateOptions& options, uint32_t entries, uint32_t block) {
    Front front;
    if (!options.parent) {
        front.header = DynamicHeader::make(front.table_offset(), entries, block);
        return front;
    }
    const Uuid parent = YADO_TRY(Uuid::parse(options.parent->id, Uuid::Order::Text));
    const ParentPaths paths = parent_paths(options.parent->path);
    if (std::max(paths.relative.size(), paths.absolute.size()) > kLongestLocator)
        return fail(ErrorKind::Usage, "disk {}: its parent's path is too long", file.name());
    const std::vector<std::byte> relative = padded(paths.relative), absolute = padded(paths.absolute);
    const uint64_t at = front.table_offset();
    front.locators = relative;
    front.locators.insert(front.locators.end(), absolute.begin(), absolute.end());
    front.header = DynamicHeader::make(front.table_offset(), entries, block);
    front.header.set_parent(parent, *options.parent);
    front.header.set_locator(0, {locator::kW2ru, static_cast<uint32_t>(paths.relative.size()), at, relative.size()});
    front.header.set_locator(1, {locator::kW2ku, static_cast<uint32_t>(paths.absolute.size()), at + relative.size(), absolute.size()});
    return front;
}

io::Task<Result<>> write_unused_table(ImageFile& file, uint64_t at, uint64_t end) {
    const std::vector<std::byte> unused(std::min(kChunk, end - at), std::byte{0xff});
    for (; at < end; at += unused.size()) {
        const auto part = std::span(unused).first(std::min(unused.size(), end - at));
        co_await or_return(co_await write_bytes(file, Bytes(at), part));
    }
    co_return Result<>{};
}

io::Task<Result<>> create_dynamic(ImageFile& file, const CreateOptions& options) {
    const auto block = static_cast<uint32_t>(options.cluster_size.value_or(Bytes(kDefaultBlock)).value());
    const auto entries = static_cast<uint32_t>((options.size.value() + block - 1) / block);
    const Front front = co_await or_return(make_front(file, options, entries, block));
    const Footer footer = Footer::make(options.parent ? DiskType::Differencing : DiskType::Dynamic, options.size.value(), Uuid::random());
    const uint64_t table = front.table_offset(), end = (table + uint64_t{entries} * 4 + kSector - 1) / kSector * kSector;
    co_await or_return(co_await write_bytes(file, Bytes(0), footer.raw));
    co_await or_return(co_await write_bytes(file, Bytes(kFooterSize), front.header.raw));
    if (!front.locators.empty()) co_await or_return(co_await write_bytes(file, Bytes(kFooterSize + kHeaderSize), front.locators));
    co_await or_return(co_await write_unused_table(file, table, end));
    co_await or_return(co_await write_bytes(file, Bytes(end), footer.raw));
    co_return co_await file.sync();
}

}  // namespace

io::Task<Result<>> create_image(ImageFile& file, const CreateOptions& options) {
    co_await or_return(check_options(file, options));
    if (options.preallocated) co_return co_await create_fixed(file, options);
    co_return co_await create_dynamic(file, options);
}

}  // namespace yado::storage::vhd
