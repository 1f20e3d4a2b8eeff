#include "virtio/pci/common_config.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "virtio/virtio.pb.h"

namespace yado::virtio {

namespace {

// struct virtio_pci_common_cfg, 4.1.4.3
struct Layout {
    uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
    uint16_t config_msix_vector, num_queues;
    uint8_t device_status, config_generation;
    uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
    uint64_t queue_desc, queue_driver, queue_device;
    uint16_t queue_notify_data, queue_reset;
} __attribute__((packed));
static_assert(sizeof(Layout) == CommonConfig::kSize);

#define AT(field) (offset == offsetof(Layout, field) && size == sizeof(Layout::field))

/// Replaces the half or the whole of a 64-bit register that this access covers.
bool write_address(uint64_t& reg, uint32_t at, uint32_t offset, unsigned size, uint64_t value) {
    if (offset == at && size == 8) {
        reg = value;
    } else if (offset == at && size == 4) {
        reg = (reg & ~0xffffffffull) | (value & 0xffffffff);
    } else if (offset == at + 4 && size == 4) {
        reg = (reg & 0xffffffff) | value << 32;
    } else {
        return false;
    }
    return true;
}

uint32_t word(uint64_t features, uint32_t select) { return select < 2 ? static_cast<uint32_t>(features >> (32 * select)) : 0; }

}  // namespace

CommonConfig::CommonConfig(uint64_t offered, const std::vector<uint16_t>& queue_sizes, uint16_t vectors) : offered_(offered), vectors_(vectors) {
    for (const uint16_t size : queue_sizes) queues.push_back({.max_size = size, .size = size});
}

uint8_t CommonConfig::read_byte(uint32_t offset) const {
    if (offset >= sizeof(Layout)) return 0;
    const bool exists = queue_select_ < queues.size();
    const QueueRegisters q = exists ? queues[queue_select_] : QueueRegisters{};
    const Layout now{
        .device_feature_select = device_feature_select_,
        .device_feature = word(offered_, device_feature_select_),
        .driver_feature_select = driver_feature_select_,
        .driver_feature = word(driver_features_, driver_feature_select_),
        .config_msix_vector = config_vector,
        .num_queues = static_cast<uint16_t>(queues.size()),
        .device_status = status,
        .config_generation = generation,
        .queue_select = queue_select_,
        .queue_size = q.size,
        .queue_msix_vector = q.vector,
        .queue_enable = q.enabled,
        .queue_notify_off = exists ? queue_select_ : uint16_t{0},
        .queue_desc = q.desc,
        .queue_driver = q.driver,
        .queue_device = q.device,
        .queue_notify_data = 0,
        .queue_reset = 0,
    };
    uint8_t byte;
    std::memcpy(&byte, reinterpret_cast<const char*>(&now) + offset, 1);
    return byte;
}

CommonConfig::Effect CommonConfig::write(uint32_t offset, unsigned size, uint64_t value) {
    if AT (device_status) return write_status(static_cast<uint8_t>(value));
    if AT (device_feature_select) {
        device_feature_select_ = static_cast<uint32_t>(value);
    } else if AT (driver_feature_select) {
        driver_feature_select_ = static_cast<uint32_t>(value);
    } else if AT (driver_feature) {
        if (status & VIRTIO_STATUS_FEATURES_OK) return Effect::None;  // fixed by then (3.1.1)
        const unsigned shift = 32 * (driver_feature_select_ & 1);
        if (driver_feature_select_ < 2) {
            driver_features_ = (driver_features_ & ~(0xffffffffull << shift)) | (value & 0xffffffff) << shift;
        } else if (value) {
            unknown_features_ = true;
        }
    } else if AT (config_msix_vector) {
        config_vector = valid_vector(value);
    } else if AT (queue_select) {
        queue_select_ = static_cast<uint16_t>(value);
    } else if (queue_select_ < queues.size()) {
        write_queue(offset, size, value);
    }
    return Effect::None;
}

void CommonConfig::write_queue(uint32_t offset, unsigned size, uint64_t value) {
    QueueRegisters& q = queues[queue_select_];
    if AT (queue_msix_vector) {
        q.vector = valid_vector(value);
        return;
    }
    if (driver_ok() || q.enabled) return;  // fixed from here to reset
    if AT (queue_size) {
        const bool shape = packed() || std::has_single_bit(value);
        if (value > 0 && value <= q.max_size && shape) q.size = static_cast<uint16_t>(value);
    } else if AT (queue_enable) {
        q.enabled = value == 1;
    } else if (!write_address(q.desc, offsetof(Layout, queue_desc), offset, size, value) &&
               !write_address(q.driver, offsetof(Layout, queue_driver), offset, size, value)) {
        write_address(q.device, offsetof(Layout, queue_device), offset, size, value);
    }
}

#undef AT

bool CommonConfig::features_acceptable() const {
    return !unknown_features_ && !(driver_features_ & ~offered_) && driver_features_ & VIRTIO_F_VERSION_1;
}

CommonConfig::Effect CommonConfig::write_status(uint8_t value) {
    if (value == 0) {
        reset();
        return Effect::Reset;
    }
    constexpr uint8_t kDrivers = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED;
    uint8_t fresh = value & kDrivers & ~status;  // bits are set, never cleared, until reset (2.1.1)
    if (fresh & VIRTIO_STATUS_FEATURES_OK && !features_acceptable()) fresh &= ~VIRTIO_STATUS_FEATURES_OK;
    if (!((status | fresh) & VIRTIO_STATUS_FEATURES_OK)) fresh &= ~VIRTIO_STATUS_DRIVER_OK;
    status |= fresh;
    return fresh & VIRTIO_STATUS_DRIVER_OK ? Effect::DriverOk : Effect::None;
}

void CommonConfig::reset() {
    status = 0;
    config_vector = VIRTIO_MSI_NO_VECTOR;
    device_feature_select_ = driver_feature_select_ = 0;
    driver_features_ = 0;
    unknown_features_ = false;
    queue_select_ = 0;
    for (QueueRegisters& q : queues) q = {.max_size = q.max_size, .size = q.max_size};
}

SessionConfig CommonConfig::session() const {
    SessionConfig config{.features = driver_features_};
    for (const QueueRegisters& q : queues) {
        auto& ring = config.queues.emplace_back();
        if (q.enabled)
            ring = RingConfig{q.size, GuestPhysAddr(q.desc), GuestPhysAddr(q.driver), GuestPhysAddr(q.device), packed(),
                              !!(driver_features_ & VIRTIO_F_EVENT_IDX), !!(driver_features_ & VIRTIO_F_INDIRECT_DESC)};
    }
    return config;
}

void CommonConfig::save(pb::Device& out) const {
    out.set_status(status);
    out.set_driver_features(driver_features_);
    out.set_unknown_features(unknown_features_);
    out.set_device_feature_select(device_feature_select_);
    out.set_driver_feature_select(driver_feature_select_);
    out.set_queue_select(queue_select_);
    out.set_config_vector(config_vector);
    out.set_generation(generation);
    for (const QueueRegisters& q : queues) {
        pb::Queue& m = *out.add_queues();
        m.set_size(q.size);
        m.set_vector(q.vector);
        m.set_enabled(q.enabled);
        m.set_desc(q.desc);
        m.set_driver(q.driver);
        m.set_device(q.device);
    }
}

Result<> CommonConfig::load(const pb::Device& in) {
    const auto corrupt = [](const char* what) { return fail(ErrorKind::Corrupt, "saved virtio state: {}", what); };
    const auto vector_fits = [&](uint32_t v) { return v < vectors_ || v == VIRTIO_MSI_NO_VECTOR; };
    const bool features_ok = in.status() & VIRTIO_STATUS_FEATURES_OK, ring_packed = in.driver_features() & VIRTIO_F_RING_PACKED;
    if (in.status() > 0xff || (in.status() & VIRTIO_STATUS_DRIVER_OK && !features_ok)) return corrupt("status");
    if (features_ok && (in.driver_features() & ~offered_ || !(in.driver_features() & VIRTIO_F_VERSION_1))) return corrupt("features that are not offered here");
    if (static_cast<size_t>(in.queues_size()) != queues.size()) return corrupt("number of queues");
    if (!vector_fits(in.config_vector()) || in.queue_select() > 0xffff || in.generation() > 0xff) return corrupt("a register");
    for (int i = 0; i < in.queues_size(); ++i) {
        const pb::Queue& q = in.queues(i);
        if (q.size() == 0 || q.size() > queues[i].max_size || (!ring_packed && !std::has_single_bit(q.size())) || !vector_fits(q.vector())) return corrupt("a queue");
        if (q.next() > 0xffff || q.used() > 0xffff || (ring_packed && (q.next() >= q.size() || q.used() >= q.size()))) return corrupt("a ring position");
    }
    status = static_cast<uint8_t>(in.status());
    driver_features_ = in.driver_features();
    unknown_features_ = in.unknown_features();
    device_feature_select_ = in.device_feature_select();
    driver_feature_select_ = in.driver_feature_select();
    queue_select_ = static_cast<uint16_t>(in.queue_select());
    config_vector = static_cast<uint16_t>(in.config_vector());
    generation = static_cast<uint8_t>(in.generation());
    for (int i = 0; i < in.queues_size(); ++i) {
        const pb::Queue& q = in.queues(i);
        queues[i] = {queues[i].max_size, static_cast<uint16_t>(q.size()), static_cast<uint16_t>(q.vector()), q.enabled(), q.desc(), q.driver(), q.device()};
    }
    return {};
}

}  // namespace yado::virtio
