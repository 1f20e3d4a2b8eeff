// A VHD's footer and dynamic header: the bytes as they are in the file, and what they say. What we do not know in them is kept
// when they are written again.
#pragma once

#include <array>
#include <cstring>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "storage/file/image_file.h"
#include "storage/format.h"
#include "storage/vhd/spec.h"
#include "storage/wire.h"

namespace yado::storage::vhd {

/// "Hard Disk Footer Format".
struct Footer {
    std::array<std::byte, kFooterSize> raw{};

    /// One that Hyper-V and qemu-img read with the exact size; with its checksum.
    static Footer make(DiskType type, uint64_t size, const Uuid& id);

    bool good() const;  ///< cookie and checksum
    DiskType type() const { return DiskType{load_be<uint32_t>(&raw[footer::kDiskType])}; }
    uint32_t version() const { return load_be<uint32_t>(&raw[footer::kVersion]); }
    uint64_t data_offset() const { return load_be<uint64_t>(&raw[footer::kDataOffset]); }
    uint64_t current_size() const { return load_be<uint64_t>(&raw[footer::kCurrentSize]); }
    std::string creator() const { return {reinterpret_cast<const char*>(&raw[footer::kCreatorApplication]), 4}; }
    Uuid id() const { return Uuid::load(&raw[footer::kUniqueId]); }

    /// The disk's size as its maker means it: see headers.cpp.
    uint64_t disk_size() const;
    /// And from now on as disk_size() reads it, whoever made the image.
    void set_size(uint64_t size);

    void seal();  ///< writes the checksum
};

struct Locator {
    uint32_t code = 0, length = 0;
    uint64_t offset = 0, space = 0;
};

/// "Dynamic Disk Header Format".
struct DynamicHeader {
    std::array<std::byte, kHeaderSize> raw{};

    static DynamicHeader make(uint64_t table_offset, uint32_t entries, uint32_t block_size);

    bool good() const;
    uint32_t version() const { return load_be<uint32_t>(&raw[header::kVersion]); }
    uint64_t table_offset() const { return load_be<uint64_t>(&raw[header::kTableOffset]); }
    uint32_t entries() const { return load_be<uint32_t>(&raw[header::kMaxTableEntries]); }
    uint32_t block_size() const { return load_be<uint32_t>(&raw[header::kBlockSize]); }
    Uuid parent_id() const { return Uuid::load(&raw[header::kParentUniqueId]); }
    std::string parent_name() const;
    Locator locator(size_t n) const;

    void set_table(uint64_t table_offset, uint32_t entries);
    /// Name and time stamp; the locators are set one by one.
    void set_parent(const Uuid& id, const CreateOptions::Parent& parent);
    void set_locator(size_t n, const Locator& locator);
    void seal();
};

/// The bitmap of a block: whole sectors.
constexpr uint64_t bitmap_bytes(uint64_t block_size) {
    const uint64_t bits = block_size / kSector;
    return (bits / 8 + (bits % 8 != 0) + kSector - 1) / kSector * kSector;
}

/// The path of the parent as it is written in the file. Errors: Failed (a read).
io::Task<Result<std::string>> read_parent_path(ImageFile& file, const DynamicHeader& header);

/// What is written for a parent: the texts of the two locators, UTF-16.
struct ParentPaths {
    std::string relative, absolute;
};
ParentPaths parent_paths(const std::string& path);

}  // namespace yado::storage::vhd
