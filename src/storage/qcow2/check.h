// Walks all of an image's metadata, counts what refers to each cluster, and compares that with the image's refcounts.
//
// Memory: four bytes a cluster that something refers to (in pages), and one entry an L2 table. Time: each table is read
// once, however many snapshots share it.
#pragma once

#include "storage/format.h"
#include "storage/qcow2/header.h"

namespace yado::storage::qcow2 {

/// Leaks: clusters that nothing refers to, and flags that merely cost a copy. Errors: everything that may lose data.
io::Task<Result<CheckReport>> check(ImageFile& file, Repair repair);

}  // namespace yado::storage::qcow2
