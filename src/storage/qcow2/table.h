// Tables of 64-bit entries, as L1, L2 and refcount tables are: big-endian in the file.
#pragma once

#include <cstdint>
#include <vector>

#include "storage/file/image_file.h"

namespace yado::storage::qcow2 {

/// What lies behind the end of the file is zeroes. The caller bounds `entries`.
io::Task<Result<std::vector<uint64_t>>> read_table(ImageFile& file, uint64_t offset, uint64_t entries);
/// As in the file, with zeroes up to `size`.
std::vector<std::byte> table_bytes(const std::vector<uint64_t>& entries, uint64_t size);

}  // namespace yado::storage::qcow2
