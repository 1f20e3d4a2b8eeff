// The common configuration structure (4.1.4.3): a register file with the status machine. Queue registers are fixed at
// DRIVER_OK: later writes change nothing until reset. Not locked: the transport holds it inside its lock.
#pragma once

#include <vector>

#include "base/error.h"
#include "virtio/session.h"
#include "virtio/spec.h"

namespace yado::virtio {

namespace pb {
class Device;
}

struct QueueRegisters {
    uint16_t max_size = 0, size = 0, vector = VIRTIO_MSI_NO_VECTOR;
    bool enabled = false;
    uint64_t desc = 0, driver = 0, device = 0;
};

class CommonConfig {
  public:
    static constexpr uint32_t kSize = 60;
    enum class Effect : uint8_t { None, Reset, DriverOk };

    CommonConfig(uint64_t offered, const std::vector<uint16_t>& queue_sizes, uint16_t vectors);

    uint8_t read_byte(uint32_t offset) const;
    /// Writes of a field's own width count (8-byte fields: either half too); all others do nothing.
    Effect write(uint32_t offset, unsigned size, uint64_t value);
    void reset();

    uint8_t status = 0, generation = 0;
    uint16_t config_vector = VIRTIO_MSI_NO_VECTOR;
    std::vector<QueueRegisters> queues;

    bool driver_ok() const { return status & VIRTIO_STATUS_DRIVER_OK; }
    /// What the queues start with.
    SessionConfig session() const;

    void save(pb::Device& out) const;
    /// Errors: Corrupt; nothing changed then.
    Result<> load(const pb::Device& in);

  private:
    Effect write_status(uint8_t value);
    bool features_acceptable() const;
    void write_queue(uint32_t offset, unsigned size, uint64_t value);
    uint16_t valid_vector(uint64_t v) const { return v < vectors_ ? static_cast<uint16_t>(v) : VIRTIO_MSI_NO_VECTOR; }
    bool packed() const { return driver_features_ & VIRTIO_F_RING_PACKED; }

    uint64_t offered_;
    uint16_t vectors_;
    uint32_t device_feature_select_ = 0, driver_feature_select_ = 0;
    uint64_t driver_features_ = 0;
    bool unknown_features_ = false;  // bits above 63 that nobody offered
    uint16_t queue_select_ = 0;
};

}  // namespace yado::virtio
