// A VHD as it is found: which footer counts, where the tables are, and whether what they say can be. Everything is bounded by the
// file's size and by constants before it is read.
#pragma once

#include <optional>
#include <vector>

#include "storage/vhd/headers.h"

namespace yado::storage::vhd {

struct Layout {
    Footer footer;                         ///< the one that counts
    std::optional<uint64_t> end_footer;    ///< where the good one at the end is
    bool start_good = false;               ///< dynamic: its copy at the start
    bool copies_differ = false;
    uint64_t header_offset = 0;
    std::optional<DynamicHeader> header;   ///< none: fixed
    std::vector<uint32_t> table;           ///< the entries that the disk's size needs
    uint64_t size = 0;                     ///< of the disk

    uint64_t block_size() const { return header->block_size(); }
    uint64_t bitmap_size() const { return bitmap_bytes(block_size()); }
    uint64_t table_end() const { return header->table_offset() + uint64_t{header->entries()} * 4; }
    bool differencing() const { return footer.type() == DiskType::Differencing; }
    const char* variant() const { return !header ? "fixed" : differencing() ? "differencing" : "dynamic"; }
};

/// Footers and header. Errors: Corrupt (says which field), Failed (a read; too large).
io::Task<Result<Layout>> load_headers(ImageFile& file);
/// That and the block allocation table.
io::Task<Result<Layout>> load_layout(ImageFile& file);

/// What the table of a dynamic or differencing image says.
struct Survey {
    CheckReport report;                 ///< errors, findings, allocated
    uint64_t end_of_blocks = 0;         ///< where all that the image refers to ends, the last footer apart; a multiple of 512
    uint64_t unused = 0;                ///< whole blocks that fit between what is referred to
};
Survey survey(const Layout& layout, uint64_t file_size);

}  // namespace yado::storage::vhd
