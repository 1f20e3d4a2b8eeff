// The bytes of a hosted sparse VMDK: VMware, "Virtual Disk Format 5.0", "Hosted Sparse Extents" and "Stream-Optimized Compressed Sparse
// Extents". All numbers are little-endian; offsets count sectors of 512 bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yado::storage::vmdk {

inline constexpr uint64_t kSector = 512;
inline constexpr char kMagic[] = "KDMV";
inline constexpr char kDescriptorMagic[] = "# Disk DescriptorFile";

/// "Hosted Sparse Extent Header": offsets.
namespace header {
inline constexpr size_t kVersion = 4, kFlags = 8, kCapacity = 12, kGrainSize = 20, kDescriptorOffset = 28, kDescriptorSize = 36, kNumGTEsPerGT = 44,
                        kGdOffset = 56, kUncleanShutdown = 72, kLineEnds = 73, kCompressAlgorithm = 77;
inline constexpr uint32_t kZeroedGrains = 1 << 2, kCompressed = 1 << 16;
inline constexpr char kLineEndText[] = "\n \r\n";  // damaged by transfers as text
inline constexpr uint16_t kDeflate = 1;
}  // namespace header

inline constexpr uint64_t kGdAtEnd = ~0ull;   ///< the grain directory is where the footer says
inline constexpr uint64_t kFooterFromEnd = 1024;

/// "Grain Table": entries that are not offsets.
inline constexpr uint32_t kNoGrain = 0, kZeroGrain = 1;

/// "Compressed Grain": the marker in front of it.
inline constexpr size_t kMarkerLba = 0, kMarkerSize = 8, kMarkerLength = 12;

/// Ours.
inline constexpr uint64_t kSmallestGrain = 8, kLargestGrain = 4096;  // sectors
inline constexpr uint32_t kMostTableEntries = 512;
inline constexpr uint64_t kMostTables = 1 << 20;
inline constexpr uint64_t kLongestDescriptor = 64 << 10;

}  // namespace yado::storage::vmdk
