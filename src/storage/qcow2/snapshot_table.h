// The directory of internal snapshots, read with all bounds, and written anew.
#pragma once

#include <string_view>
#include <vector>

#include "storage/qcow2/header.h"

namespace yado::storage::qcow2 {

struct SnapshotEntry {
    Snapshot info;
    uint64_t l1_offset = 0;
    uint32_t l1_size = 0;
    std::vector<std::byte> raw;  ///< as in the table, padded: what we do not know is kept
};

struct SnapshotTable {
    std::vector<SnapshotEntry> entries;
    uint64_t bytes = 0;
};

/// Errors: Corrupt.
io::Task<Result<SnapshotTable>> read_snapshot_table(ImageFile& file, const Header& header);

/// Fills an entry's raw bytes from its other fields.
void encode(SnapshotEntry& entry, int64_t seconds, uint32_t nanoseconds);
std::vector<std::byte> encode(const std::vector<SnapshotEntry>& entries);

}  // namespace yado::storage::qcow2
