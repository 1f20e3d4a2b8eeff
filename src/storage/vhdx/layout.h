// A VHDX as it is found: the current header, the log that is to be replayed, regions, metadata, and the block allocation table.
// Everything is bounded by the file's size and by constants before it is read.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "storage/format.h"
#include "storage/vhdx/log.h"

namespace yado::storage::vhdx {

/// 2.2.2.
struct Header {
    std::array<std::byte, kHeaderSize> raw{};

    bool good() const;  ///< signature and checksum
    uint64_t sequence() const { return load_le<uint64_t>(&raw[header::kSequence]); }
    Uuid data_write_guid() const { return Uuid::load(&raw[header::kDataWriteGuid]); }
    Uuid log_guid() const { return Uuid::load(&raw[header::kLogGuid]); }
    uint16_t log_version() const { return load_le<uint16_t>(&raw[header::kLogVersion]); }
    uint16_t version() const { return load_le<uint16_t>(&raw[header::kVersion]); }
    uint32_t log_length() const { return load_le<uint32_t>(&raw[header::kLogLength]); }
    uint64_t log_offset() const { return load_le<uint64_t>(&raw[header::kLogOffset]); }
    void set_guid(size_t field, const Uuid& guid) { guid.store(&raw[field]); }
    void seal();
};

/// The file as it is after the log has been replayed.
struct View {
    ImageFile& file;
    const Replay& replay;
    uint64_t size() const { return std::max(file.size().value(), replay.last_size); }
    /// [at, at + into.size()) lies inside size().
    io::Task<Result<>> read(uint64_t at, std::span<std::byte> into) const;
};

struct Region {
    Uuid id;
    uint64_t offset = 0;
    uint32_t length = 0;
    bool required = false;
};

struct Layout {
    Header header;
    size_t current = 0;                        ///< which of the two headers it is
    bool header_good[2] = {}, regions_good[2] = {};
    Replay replay;                             ///< empty unless the header has a log
    std::vector<Region> regions;
    Region table, metadata;

    uint32_t block_size = 0;
    bool fixed = false, differencing = false;
    uint64_t size = 0, size_item = 0;          ///< of the disk, and where in the file that is written
    Uuid disk_id;
    std::string parent_path, parent_linkage;

    std::vector<uint64_t> entries;             ///< of the table, those of sector bitmaps between them
    uint64_t blocks() const { return (size + block_size - 1) / block_size; }
    uint64_t chunk_ratio() const { return kSectorsInChunk * 512 / block_size; }
    uint64_t entry_of(uint64_t block) const { return block + block / chunk_ratio(); }
    /// 2.5; for a differencing image the last chunk's bitmap is part of it.
    uint64_t entries_for(uint64_t blocks) const {
        return differencing ? (blocks + chunk_ratio() - 1) / chunk_ratio() * (chunk_ratio() + 1) : entry_of(blocks - 1) + 1;
    }
    static State state(uint64_t entry) { return static_cast<State>(entry & kStateMask); }
    static uint64_t offset(uint64_t entry) { return entry & kOffsetMask; }
    const char* variant() const { return differencing ? "differencing" : fixed ? "fixed" : "dynamic"; }
};

/// All but the table. Errors: Corrupt (says what), Failed (a read; a feature that we do not have).
io::Task<Result<Layout>> load_headers(ImageFile& file);
io::Task<Result<Layout>> load_layout(ImageFile& file);

struct Survey {
    CheckReport report;                 ///< errors, findings, allocated
    uint64_t end = 0;                   ///< of all that the image refers to; a multiple of 1 MiB
    uint64_t unused = 0;                ///< whole blocks between and behind
};
Survey survey(const Layout& layout, uint64_t file_size);

}  // namespace yado::storage::vhdx
