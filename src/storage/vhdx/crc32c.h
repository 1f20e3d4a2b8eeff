// CRC-32C (Castagnoli), [MS-VHDX] 2: reflected, inverted before and after.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace yado::storage::vhdx {

/// Of `bytes`, with the four bytes at `hole` taken as zeroes.
uint32_t crc32c(std::span<const std::byte> bytes, size_t hole);
uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace yado::storage::vhdx
