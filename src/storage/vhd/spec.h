// The bytes of a VHD: Microsoft, "Virtual Hard Disk Image Format Specification", version 1.0 (2006). It has no section numbers;
// its headings are cited. All numbers are big-endian.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yado::storage::vhd {

inline constexpr uint64_t kSector = 512;
inline constexpr uint64_t kFooterSize = 512;
inline constexpr uint64_t kHeaderSize = 1024;

/// "Hard Disk Footer Format": offsets.
namespace footer {
inline constexpr char kCookie[] = "conectix";
inline constexpr size_t kFeatures = 8, kVersion = 12, kDataOffset = 16, kTimeStamp = 24, kCreatorApplication = 28, kCreatorVersion = 32,
                        kCreatorHostOs = 36, kOriginalSize = 40, kCurrentSize = 48, kGeometry = 56, kDiskType = 60, kChecksum = 64,
                        kUniqueId = 68;
inline constexpr uint32_t kFeatureReserved = 2;  // always set
inline constexpr uint32_t kVersion1 = 0x0001'0000;
inline constexpr uint64_t kNoDataOffset = ~0ull;
}  // namespace footer

enum class DiskType : uint32_t { Fixed = 2, Dynamic = 3, Differencing = 4 };

/// "Dynamic Disk Header Format": offsets.
namespace header {
inline constexpr char kCookie[] = "cxsparse";
inline constexpr size_t kDataOffset = 8, kTableOffset = 16, kVersion = 24, kMaxTableEntries = 28, kBlockSize = 32, kChecksum = 36,
                        kParentUniqueId = 40, kParentTimeStamp = 56, kParentUnicodeName = 64, kParentLocators = 576;
inline constexpr size_t kParentNameSize = 512, kLocators = 8, kLocatorSize = 24;
inline constexpr uint32_t kVersion1 = 0x0001'0000;
}  // namespace header

/// An entry of "Parent Locator Entry": offsets, and the platforms that we know.
namespace locator {
inline constexpr size_t kPlatformCode = 0, kDataSpace = 4, kDataLength = 8, kDataOffset = 16;
inline constexpr uint32_t kW2ru = 0x57327275;  ///< relative path, UTF-16 (little-endian, unlike all else)
inline constexpr uint32_t kW2ku = 0x57326B75;  ///< absolute path, UTF-16 (little-endian)
}  // namespace locator

/// "Block Allocation Table and Data Blocks".
inline constexpr uint32_t kUnused = 0xffffffff;

inline constexpr int64_t kEpoch = 946'684'800;  ///< time stamps count seconds from the year 2000 on

/// Hyper-V's limit, and QEMU's: 2040 GiB.
inline constexpr uint64_t kMostBytes = 2040ull << 30;
/// Ours. The largest blocks have bitmaps of 64 KiB; the most entries make a table of 64 MiB.
inline constexpr uint32_t kLargestBlock = 256u << 20;
inline constexpr uint64_t kMostEntries = 16u << 20;
inline constexpr uint32_t kLongestLocator = 4096;

}  // namespace yado::storage::vhd
