// Copying what images hold, as sparse as it was.
#pragma once

#include <optional>
#include <span>

#include "storage/chain/chain.h"
#include "storage/operations/walk.h"

namespace yado::storage {

/// What all layers together show, into a blank image at least as large: zeroes are found and left out. `unit` is what the
/// target allocates at once, nothing where it has no such thing.
io::Task<Result<>> copy_shown(std::span<const Layer> from, block::DiskImage& to, std::optional<Bytes> unit, const Control& control);

/// What `from` itself holds, zeroes included, over what `to` shows there. May be done again after it was cut off.
io::Task<Result<>> copy_own(block::DiskImage& from, block::DiskImage& to, const Control& control);

/// Where layers hold something that is not zero, in [begin, end of the first one). Nothing if nowhere.
io::Task<Result<std::optional<Bytes>>> first_data(std::span<const Layer> layers, Bytes begin);

}  // namespace yado::storage
