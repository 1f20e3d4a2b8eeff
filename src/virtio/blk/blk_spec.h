// Block device, VIRTIO 1.2 section 5.2.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yado::virtio {

inline constexpr uint64_t VIRTIO_BLK_F_SEG_MAX = 1 << 2, VIRTIO_BLK_F_RO = 1 << 5, VIRTIO_BLK_F_BLK_SIZE = 1 << 6,
                          VIRTIO_BLK_F_FLUSH = 1 << 9, VIRTIO_BLK_F_TOPOLOGY = 1 << 10, VIRTIO_BLK_F_CONFIG_WCE = 1 << 11,
                          VIRTIO_BLK_F_MQ = 1 << 12, VIRTIO_BLK_F_DISCARD = 1 << 13, VIRTIO_BLK_F_WRITE_ZEROES = 1 << 14;

enum class BlkRequest : uint32_t {
    VIRTIO_BLK_T_IN = 0,
    VIRTIO_BLK_T_OUT = 1,
    VIRTIO_BLK_T_FLUSH = 4,
    VIRTIO_BLK_T_GET_ID = 8,
    VIRTIO_BLK_T_DISCARD = 11,
    VIRTIO_BLK_T_WRITE_ZEROES = 13,
};
enum class BlkStatus : uint8_t { VIRTIO_BLK_S_OK = 0, VIRTIO_BLK_S_IOERR = 1, VIRTIO_BLK_S_UNSUPP = 2 };

inline constexpr size_t VIRTIO_BLK_ID_BYTES = 20;
inline constexpr uint32_t VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP = 1;

struct BlkHeader {
    uint32_t type, reserved;
    uint64_t sector;
};
struct BlkSegment {  // discard and write-zeroes
    uint64_t sector;
    uint32_t num_sectors, flags;
};

struct BlkConfig {  // 5.2.4
    uint64_t capacity;
    uint32_t size_max, seg_max;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp, alignment_offset;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint8_t writeback, unused0;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap, unused1[3];
} __attribute__((packed));
static_assert(sizeof(BlkConfig) == 60);

}  // namespace yado::virtio
