// A hosted sparse VMDK as it is found: header (or footer), descriptor and grain directory.
#pragma once

#include <string>
#include <vector>

#include "storage/format.h"
#include "storage/vmdk/spec.h"

namespace yado::storage::vmdk {

/// What we take from the text inside ("The Descriptor File").
struct Descriptor {
    std::string create_type, content_id, parent_content_id;
    unsigned extents = 0;
    bool sparse = true;  ///< the extents are
};
Descriptor parse_descriptor(std::string_view text);

struct Layout {
    uint32_t version = 0;
    uint64_t capacity = 0, grain = 0;  ///< bytes
    uint32_t table_entries = 0;        ///< of a grain table
    bool compressed = false, zeroed_grains = false, unclean = false;
    uint64_t directory_offset = 0;
    Descriptor descriptor;
    std::vector<uint32_t> directory;   ///< sectors of grain tables; 0: none

    uint64_t grains() const { return (capacity + grain - 1) / grain; }
    uint64_t tables() const { return (grains() + table_entries - 1) / table_entries; }
};

/// Errors: Corrupt, Failed (a kind that is not read: several files, a parent, ...).
io::Task<Result<Layout>> load_layout(ImageFile& file);
/// Grain table `n`; empty if there is none. Errors: Corrupt (outside the file), Failed.
io::Task<Result<std::vector<uint32_t>>> load_table(ImageFile& file, const Layout& layout, uint64_t n);

}  // namespace yado::storage::vmdk
