// The metadata region of a VHDX ([MS-VHDX] 2.6).
#pragma once

#include "storage/vhdx/layout.h"

namespace yado::storage::vhdx {

/// Fills in what the items say. Errors: Corrupt, Failed (an item that must be understood and is not; 4096-byte logical sectors).
io::Task<Result<>> load_metadata(const View& view, Layout& layout);

/// A region's first bytes, for a new image; the rest is zeroes.
std::vector<std::byte> make_metadata(uint64_t size, uint32_t block_size, bool fixed);

}  // namespace yado::storage::vhdx
