// The qcow2 image format, versions 2 and 3, as QEMU's docs/interop/qcow2.txt describes it. All numbers are big-endian.
#pragma once

#include <cstdint>

namespace yado::storage::qcow2 {

inline constexpr uint32_t QCOW_MAGIC = 0x514649fb;

/// Byte offsets in the header.
enum HeaderOffset : uint64_t {
    kMagicAt = 0, kVersionAt = 4, kBackingOffsetAt = 8, kBackingSizeAt = 16, kClusterBitsAt = 20, kSizeAt = 24, kCryptAt = 32,
    kL1SizeAt = 36, kL1OffsetAt = 40, kRefcountOffsetAt = 48, kRefcountClustersAt = 56, kSnapshotCountAt = 60,
    kSnapshotOffsetAt = 64, kIncompatibleAt = 72, kCompatibleAt = 80, kAutoclearAt = 88, kRefcountOrderAt = 96,
    kHeaderLengthAt = 100, kCompressionAt = 104,
};
inline constexpr uint64_t kHeaderLengthV2 = 72, kHeaderLengthV3 = 104, kHeaderLengthWritten = 112;

// incompatible_features
inline constexpr uint64_t DIRTY = 1, CORRUPT = 2, EXTERNAL_DATA = 4, COMPRESSION_TYPE = 8, EXTENDED_L2 = 16;
// autoclear_features
inline constexpr uint64_t BITMAPS = 1;

enum ExtensionType : uint32_t {
    kExtensionEnd = 0, kExtensionBackingFormat = 0xe2792aca, kExtensionFeatureNames = 0x6803f857, kExtensionBitmaps = 0x23852875,
    kExtensionEncryption = 0x0537be77, kExtensionDataFile = 0x44415441,
};

// L1 and L2 entries
inline constexpr uint64_t COPIED = 1ull << 63, COMPRESSED = 1ull << 62, ZERO = 1;
inline constexpr uint64_t kOffsetMask = 0x00ff'ffff'ffff'fe00;
inline constexpr uint64_t kL1Reserved = ~(kOffsetMask | COPIED);
inline constexpr uint64_t kL2Reserved = ~(kOffsetMask | COPIED | COMPRESSED | ZERO);
inline constexpr uint64_t kRefcountOffsetMask = ~0x1ffull;

// Bounds: what other implementations take, so that images stay exchangeable.
inline constexpr uint32_t kMinClusterBits = 9, kMaxClusterBits = 21;
inline constexpr uint64_t kMaxL1Bytes = 32 << 20, kMaxRefcountTableBytes = 8 << 20;
inline constexpr uint32_t kMaxBackingName = 1023, kMaxSnapshots = 65536;
inline constexpr uint64_t kMaxSnapshotTableBytes = 16 << 20, kMaxSnapshotExtra = 1024;
inline constexpr uint32_t kMaxBitmaps = 65535;
inline constexpr uint64_t kMaxBitmapDirectoryBytes = 64 << 20, kMaxBitmapTableBytes = 8 << 20;
inline constexpr uint64_t kMaxImageBytes = 1ull << 62;

/// Sizes that follow from the header.
struct Geometry {
    uint32_t cluster_bits = 16;
    uint32_t refcount_order = 4;

    uint64_t cluster_size() const { return 1ull << cluster_bits; }
    uint64_t cluster_of(uint64_t offset) const { return offset >> cluster_bits; }
    uint64_t clusters_for(uint64_t bytes) const { return (bytes >> cluster_bits) + (bytes % cluster_size() != 0); }
    uint64_t round_up(uint64_t offset) const { return clusters_for(offset) << cluster_bits; }
    bool aligned(uint64_t offset) const { return offset % cluster_size() == 0; }
    uint64_t l2_entries() const { return cluster_size() / 8; }
    /// Guest bytes below one L1 entry.
    uint64_t l2_span() const { return l2_entries() << cluster_bits; }
    uint64_t l1_entries_for(uint64_t size) const { return size / l2_span() + (size % l2_span() != 0); }
    uint64_t refcounts_per_block() const { return cluster_size() * 8 >> refcount_order; }
    uint64_t refcount_max() const { return refcount_order == 6 ? ~0ull : (1ull << (1u << refcount_order)) - 1; }
    /// How tables are cached: in parts of this size.
    uint64_t slice_size() const { return cluster_size() < 4096 ? cluster_size() : 4096; }
};

/// Where a compressed cluster lies.
struct CompressedPlace {
    uint64_t offset = 0;
    uint64_t length = 0;  ///< whole sectors from `offset`'s; the data may end earlier

    static CompressedPlace of(uint64_t entry, const Geometry& g) {
        const unsigned shift = 62 - (g.cluster_bits - 8);
        const uint64_t offset = entry & ((1ull << shift) - 1);
        const uint64_t sectors = (entry & ~(COPIED | COMPRESSED)) >> shift;
        return {offset, (sectors + 1) * 512 - offset % 512};
    }
};

}  // namespace yado::storage::qcow2
