// The layout of a new file: header section, log, metadata, block allocation table, and in a fixed image all blocks, in their order.
#include "storage/vhdx/create.h"

#include <bit>
#include <cstring>

#include "storage/vhdx/crc32c.h"
#include "storage/vhdx/metadata.h"

namespace yado::storage::vhdx {

using io::or_return;

namespace {

constexpr uint64_t kDefaultBlock = 32 * kMiB;  // Hyper-V's
constexpr uint64_t kLogOffset = kMiB, kLogLength = kMiB, kMetadataOffset = 2 * kMiB, kMetadataLength = kMiB, kTableOffset = 3 * kMiB;
constexpr size_t kChunkEntries = 128 << 10;

Result<> check_options(const ImageFile& file, const CreateOptions& o, uint64_t block) {
    const uint64_t size = o.size.value();
    if (o.parent) return fail(ErrorKind::Usage, "disk {}: a VHDX cannot be a clone yet; use qcow2 or vhd", file.name());
    if (size == 0 || size % 512 || size > kMostBytes)
        return fail(ErrorKind::Usage, "disk {}: size {}: a VHDX has a multiple of 512 bytes, and at most 64 TiB", file.name(), size);
    if (!std::has_single_bit(block) || block < kSmallestBlock || block > kLargestBlock)
        return fail(ErrorKind::Usage, "disk {}: block size {}: a power of two from 1 MiB to 256 MiB", file.name(), block);
    if ((size + block - 1) / block > kMostBlocks)
        return fail(ErrorKind::Usage, "disk {}: block size {}: too small for {} bytes", file.name(), block, size);
    return {};
}

std::vector<std::byte> make_identifier() {
    std::vector<std::byte> bytes(kLogSector);
    std::memcpy(bytes.data(), kFileSignature, 8);
    const std::string creator = utf16_of_text("Yado", Endian::Little);
    std::memcpy(&bytes[8], creator.data(), creator.size());
    return bytes;
}

Header make_header(uint64_t sequence) {
    Header h;
    std::memcpy(h.raw.data(), header::kSignature, 4);
    store_le(&h.raw[header::kSequence], sequence);
    h.set_guid(header::kFileWriteGuid, Uuid::random());
    h.set_guid(header::kDataWriteGuid, Uuid::random());
    store_le(&h.raw[header::kVersion], uint16_t{1});
    store_le(&h.raw[header::kLogLength], static_cast<uint32_t>(kLogLength));
    store_le(&h.raw[header::kLogOffset], kLogOffset);
    h.seal();
    return h;
}

std::vector<std::byte> make_regions(uint64_t table_length) {
    std::vector<std::byte> bytes(kTableSize);
    std::memcpy(bytes.data(), region::kSignature, 4);
    store_le(&bytes[region::kEntryCount], uint32_t{2});
    const Region regions[] = {{kBatRegion, kTableOffset, static_cast<uint32_t>(table_length), true},
                              {kMetadataRegion, kMetadataOffset, static_cast<uint32_t>(kMetadataLength), true}};
    std::byte* at = &bytes[region::kEntries];
    for (const Region& r : regions) {
        r.id.store(at);
        store_le(at + region::kFileOffset, r.offset);
        store_le(at + region::kLength, r.length);
        store_le(at + region::kRequired, uint32_t{1});
        at += region::kEntrySize;
    }
    store_le(&bytes[region::kChecksum], crc32c(bytes, region::kChecksum));
    return bytes;
}

/// All blocks present, one behind the other.
io::Task<Result<>> write_full_table(ImageFile& file, const Layout& layout, uint64_t first_block) {
    std::vector<uint64_t> entries;
    uint64_t written = 0;
    const uint64_t count = layout.entries_for(layout.blocks()), stride = layout.chunk_ratio() + 1;
    for (uint64_t n = 0, block = 0; n < count; ++n) {
        const bool bitmap = n % stride == stride - 1;
        entries.push_back(bitmap ? 0 : (first_block + block * layout.block_size) | static_cast<uint64_t>(State::FullyPresent));
        block += !bitmap;
        if (entries.size() < kChunkEntries && n + 1 < count) continue;
        co_await or_return(co_await write_bytes(file, Bytes(kTableOffset + written * 8), std::as_bytes(std::span(entries))));
        written = n + 1;
        entries.clear();
    }
    co_return Result<>{};
}

}  // namespace

io::Task<Result<>> create_image(ImageFile& file, const CreateOptions& options) {
    Layout layout;
    const uint64_t block = options.cluster_size.value_or(Bytes(kDefaultBlock)).value();
    co_await or_return(check_options(file, options, block));
    layout.block_size = static_cast<uint32_t>(block);
    layout.size = options.size.value();
    const uint64_t table_length = (layout.entries_for(layout.blocks()) * 8 + kMiB - 1) / kMiB * kMiB, first_block = kTableOffset + table_length;
    const uint64_t end = first_block + (options.preallocated ? layout.blocks() * block : 0);
    const std::vector<std::byte> regions = make_regions(table_length), identifier = make_identifier();
    const std::vector<std::byte> metadata = make_metadata(layout.size, layout.block_size, options.preallocated);
    co_await or_return(co_await file.resize(Bytes(end)));
    if (options.preallocated) co_await or_return(co_await file.write_zeroes(Bytes(first_block), Bytes(end - first_block), ZeroMode::KeepSpace));
    if (options.preallocated) co_await or_return(co_await write_full_table(file, layout, first_block));
    co_await or_return(co_await write_bytes(file, Bytes(kMetadataOffset), metadata));
    for (const uint64_t at : kRegionTableOffsets) co_await or_return(co_await write_bytes(file, Bytes(at), regions));
    for (size_t n = 0; n < 2; ++n) {
        const Header header = make_header(n);
        co_await or_return(co_await write_bytes(file, Bytes(kHeaderOffsets[n]), header.raw));
    }
    co_await or_return(co_await write_bytes(file, Bytes(0), identifier));
    co_return co_await file.sync();
}

}  // namespace yado::storage::vhdx
