// The bytes of a VHDX: [MS-VHDX], "Virtual Hard Disk v2 (VHDX) File Format". All numbers are little-endian.
#pragma once

#include <cstddef>
#include <cstdint>

#include "storage/wire.h"

namespace yado::storage::vhdx {

inline constexpr uint64_t kMiB = 1 << 20;
inline constexpr uint64_t kLogSector = 4096;

/// 2.2: the header section.
inline constexpr char kFileSignature[] = "vhdxfile";
inline constexpr uint64_t kHeaderOffsets[2] = {64 << 10, 128 << 10};
inline constexpr uint64_t kRegionTableOffsets[2] = {192 << 10, 256 << 10};
inline constexpr uint64_t kHeaderSize = 4096, kTableSize = 64 << 10, kHeaderSection = kMiB;

/// 2.2.2: offsets in a header.
namespace header {
inline constexpr char kSignature[] = "head";
inline constexpr size_t kChecksum = 4, kSequence = 8, kFileWriteGuid = 16, kDataWriteGuid = 32, kLogGuid = 48, kLogVersion = 64,
                        kVersion = 66, kLogLength = 68, kLogOffset = 72;
}  // namespace header

/// 2.2.3: the region table, and its entries.
namespace region {
inline constexpr char kSignature[] = "regi";
inline constexpr size_t kChecksum = 4, kEntryCount = 8, kEntries = 16, kEntrySize = 32, kMostEntries = 2047;
inline constexpr size_t kFileOffset = 16, kLength = 24, kRequired = 28;
}  // namespace region

/// 2.3.1: log entries.
namespace log {
inline constexpr char kSignature[] = "loge", kDataDescriptor[] = "desc", kZeroDescriptor[] = "zero", kDataSector[] = "data";
inline constexpr size_t kChecksum = 4, kEntryLength = 8, kTail = 12, kSequence = 16, kDescriptorCount = 24, kLogGuid = 32,
                        kFlushedFileOffset = 48, kLastFileOffset = 56, kHeaderSize = 64;
/// Of a descriptor.
inline constexpr size_t kDescriptorSize = 32, kTrailingBytes = 4, kLeadingBytes = 8, kZeroLength = 8, kFileOffset = 16, kDescriptorSequence = 24;
/// Of a data sector.
inline constexpr size_t kSequenceHigh = 4, kData = 8, kDataLength = 4084, kSequenceLow = 4092;
}  // namespace log

/// 2.5.1: an entry of the block allocation table.
inline constexpr uint64_t kStateMask = 7, kOffsetMask = ~(kMiB - 1);
enum class State : uint8_t { NotPresent = 0, Undefined = 1, Zero = 2, Unmapped = 3, FullyPresent = 6, PartiallyPresent = 7 };
inline constexpr uint64_t kSectorsInChunk = 1 << 23;  // 2.4

/// 2.6.1: the metadata table, and its entries.
namespace metadata {
inline constexpr char kSignature[] = "metadata";
inline constexpr size_t kEntryCount = 10, kEntries = 32, kEntrySize = 32, kMostEntries = 2047;
inline constexpr size_t kOffset = 16, kLength = 20, kFlags = 24;
inline constexpr uint32_t kIsUser = 1, kIsVirtualDisk = 2, kIsRequired = 4;
inline constexpr uint32_t kLeaveBlocksAllocated = 1, kHasParent = 2;  // of the file parameters, 2.6.2.1
}  // namespace metadata

/// Known GUIDs: 2.2.3.2, 2.6.2, 2.6.2.6.3.
inline Uuid guid(const char* text) { return *Uuid::parse(text, Uuid::Order::Guid); }
inline const Uuid kBatRegion = guid("2DC27766-F623-4200-9D64-115E9BFD4A08");
inline const Uuid kMetadataRegion = guid("8B7CA206-4790-4B9A-B8FE-575F050F886E");
inline const Uuid kFileParameters = guid("CAA16737-FA36-4D43-B3B6-33F0AA44E76B");
inline const Uuid kVirtualDiskSize = guid("2FA54224-CD1B-4876-B211-5DBED83BF4B8");
inline const Uuid kVirtualDiskId = guid("BECA12AB-B2E6-4523-93EF-C309E000C746");
inline const Uuid kLogicalSectorSize = guid("8141BF1D-A96F-4709-BA47-F233A8FAAB5F");
inline const Uuid kPhysicalSectorSize = guid("CDA348C7-445D-4471-9CC9-E9885251C556");
inline const Uuid kParentLocator = guid("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C");

/// The format's limits, and ours.
inline constexpr uint64_t kMostBytes = 64ull << 40;
inline constexpr uint32_t kSmallestBlock = 1 << 20, kLargestBlock = 256 << 20;
inline constexpr uint64_t kMostBlocks = 16 << 20;
inline constexpr uint64_t kLongestLog = 64 << 20;
inline constexpr uint64_t kLargestFile = 2 * kMostBytes;
inline constexpr uint64_t kMostGrowth = 4ull << 30;  // of the file by a replay: what a writer had not made durable yet
inline constexpr uint64_t kLargestSequence = 1ull << 63;

}  // namespace yado::storage::vhdx
