// Compressed clusters. What is inflated never exceeds a cluster, whatever the stream says.
#pragma once

#include <span>

#include "storage/qcow2/header.h"

namespace yado::storage::qcow2 {

/// Fills all of `out`. False if the stream is broken or too short.
bool inflate(Compression kind, std::span<const std::byte> in, std::span<std::byte> out);

}  // namespace yado::storage::qcow2
