// Names and numbers of Virtual I/O Device (VIRTIO) version 1.2, spelled as the specification spells them.
#pragma once

#include <cstdint>

namespace yado::virtio {

enum class DeviceId : uint16_t { Net = 1, Block = 2, Console = 3, Entropy = 4, Balloon = 5, Scsi = 8 };  // 5

// 6: reserved feature bits
inline constexpr uint64_t VIRTIO_F_INDIRECT_DESC = 1ull << 28, VIRTIO_F_EVENT_IDX = 1ull << 29, VIRTIO_F_VERSION_1 = 1ull << 32,
                          VIRTIO_F_RING_PACKED = 1ull << 34;

// 2.1: device status
inline constexpr uint8_t VIRTIO_STATUS_ACKNOWLEDGE = 1, VIRTIO_STATUS_DRIVER = 2, VIRTIO_STATUS_DRIVER_OK = 4,
                         VIRTIO_STATUS_FEATURES_OK = 8, VIRTIO_STATUS_NEEDS_RESET = 64, VIRTIO_STATUS_FAILED = 128;

// 2.7.5, 2.8.1: descriptor flags
inline constexpr uint16_t VIRTQ_DESC_F_NEXT = 1, VIRTQ_DESC_F_WRITE = 2, VIRTQ_DESC_F_INDIRECT = 4, VIRTQ_DESC_F_AVAIL = 1 << 7,
                          VIRTQ_DESC_F_USED = 1 << 15;
inline constexpr uint16_t VIRTQ_AVAIL_F_NO_INTERRUPT = 1, VIRTQ_USED_F_NO_NOTIFY = 1;                             // 2.7.6, 2.7.8
inline constexpr uint16_t RING_EVENT_FLAGS_ENABLE = 0, RING_EVENT_FLAGS_DISABLE = 1, RING_EVENT_FLAGS_DESC = 2;  // 2.8.10

inline constexpr uint16_t VIRTIO_MSI_NO_VECTOR = 0xffff;  // 4.1.4.3

// 4.1.4: capability types
enum class CfgType : uint8_t { Common = 1, Notify = 2, Isr = 3, Device = 4, Pci = 5 };

// 4.1.4.5: ISR bits
inline constexpr uint8_t kIsrQueue = 1, kIsrConfig = 2;

struct SplitDescriptor {  // 2.7.5
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};
struct PackedDescriptor {  // 2.8.13
    uint64_t addr;
    uint32_t len;
    uint16_t id, flags;
};

}  // namespace yado::virtio
