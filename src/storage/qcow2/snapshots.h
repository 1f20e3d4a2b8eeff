// Internal snapshots of a closed image. Each operation first makes durable what the next header will refer to, then
// writes the header's one sector, then gives back what is left over: a crash leaves the old state or the new one, and
// clusters that nothing refers to at worst.
#pragma once

#include <string>
#include <vector>

#include "storage/format.h"

namespace yado::storage::qcow2 {

io::Task<Result<std::vector<Snapshot>>> list_snapshots(ImageFile& file);

/// Errors: Usage (the name), Conflict (the name is taken), Failed (no space; refcounts too narrow), Corrupt.
io::Task<Result<Snapshot>> create_snapshot(ImageFile& file, std::string name, int64_t seconds);
/// `which`: a name, or an id. Errors: NotFound.
io::Task<Result<>> delete_snapshot(ImageFile& file, std::string which);
/// Makes the image what it was, its size included. What it is now is lost.
io::Task<Result<>> rollback_snapshot(ImageFile& file, std::string which);

}  // namespace yado::storage::qcow2
