// SCSI host device, VIRTIO 1.2 section 5.6.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace yado::virtio {

inline constexpr uint64_t VIRTIO_SCSI_F_INOUT = 1 << 0, VIRTIO_SCSI_F_HOTPLUG = 1 << 1, VIRTIO_SCSI_F_CHANGE = 1 << 2;  // 5.6.3

inline constexpr unsigned kScsiControlQueue = 0, kScsiEventQueue = 1, kScsiFirstRequestQueue = 2;  // 5.6.2

struct ScsiConfig {  // 5.6.4
    uint32_t num_queues, seg_max, max_sectors, cmd_per_lun, event_info_size, sense_size, cdb_size;
    uint16_t max_channel, max_target;
    uint32_t max_lun;
};
static_assert(sizeof(ScsiConfig) == 36);
inline constexpr uint32_t kScsiDefaultSenseSize = 96, kScsiDefaultCdbSize = 32;

using ScsiLun = std::array<uint8_t, 8>;

struct ScsiRequestHeader {  // 5.6.6.1; the CDB and data-out follow
    ScsiLun lun;
    uint64_t id;
    uint8_t task_attr, prio, crn;
} __attribute__((packed));
static_assert(sizeof(ScsiRequestHeader) == 19);

struct ScsiResponseHeader {  // 5.6.6.1; sense data and data-in follow
    uint32_t sense_len, residual;
    uint16_t status_qualifier;
    uint8_t status, response;
};
static_assert(sizeof(ScsiResponseHeader) == 12);

enum class ScsiResponse : uint8_t {
    VIRTIO_SCSI_S_OK = 0,
    VIRTIO_SCSI_S_OVERRUN = 1,
    VIRTIO_SCSI_S_BAD_TARGET = 3,
    VIRTIO_SCSI_S_FAILURE = 9,
    VIRTIO_SCSI_S_FUNCTION_SUCCEEDED = 10,
    VIRTIO_SCSI_S_FUNCTION_REJECTED = 11,
    VIRTIO_SCSI_S_INCORRECT_LUN = 12,
};
inline constexpr ScsiResponse VIRTIO_SCSI_S_FUNCTION_COMPLETE{0};

enum class ScsiControl : uint32_t { VIRTIO_SCSI_T_TMF = 0, VIRTIO_SCSI_T_AN_QUERY = 1, VIRTIO_SCSI_T_AN_SUBSCRIBE = 2 };  // 5.6.6.2

enum class ScsiFunction : uint32_t {  // 5.6.6.2.1: task management
    VIRTIO_SCSI_T_TMF_ABORT_TASK = 0,
    VIRTIO_SCSI_T_TMF_ABORT_TASK_SET = 1,
    VIRTIO_SCSI_T_TMF_CLEAR_ACA = 2,
    VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET = 3,
    VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET = 4,
    VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET = 5,
    VIRTIO_SCSI_T_TMF_QUERY_TASK = 6,
    VIRTIO_SCSI_T_TMF_QUERY_TASK_SET = 7,
};
struct ScsiTaskManagement {  // behind the type; a byte of response follows
    uint32_t subtype;
    ScsiLun lun;
    uint64_t id;
} __attribute__((packed));
struct ScsiNotification {  // 5.6.6.2.2: behind the type
    ScsiLun lun;
    uint32_t event_requested;
};
struct ScsiNotificationAnswer {
    uint32_t event_actual;
    uint8_t response;
} __attribute__((packed));

struct ScsiEvent {  // 5.6.6.3
    uint32_t event;
    ScsiLun lun;
    uint32_t reason;
};
static_assert(sizeof(ScsiEvent) == 16);
inline constexpr uint32_t VIRTIO_SCSI_T_EVENTS_MISSED = 0x80000000, VIRTIO_SCSI_T_NO_EVENT = 0, VIRTIO_SCSI_T_TRANSPORT_RESET = 1,
                          VIRTIO_SCSI_T_PARAM_CHANGE = 3;
inline constexpr uint32_t VIRTIO_SCSI_EVT_RESET_RESCAN = 1, VIRTIO_SCSI_EVT_RESET_REMOVED = 2;

}  // namespace yado::virtio
