// What a virtio device is to its transport: features, queues, configuration, and what it does with running queues.
//
//     DRIVER_OK --> start(session) ... stop() <-- reset by the driver, or power-on reset, or a load
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "virtio/session.h"
#include "virtio/spec.h"

namespace yado::virtio {

class DeviceModel {
  public:
    virtual ~DeviceModel() = default;

    virtual DeviceId type() const = 0;
    virtual std::string id() const = 0;    ///< "disk0"
    virtual std::string kind() const = 0;  ///< "virtio-blk"
    virtual uint32_t class_code() const = 0;
    /// Device-specific feature bits that are offered. Never changes.
    virtual uint64_t features() const = 0;
    /// The largest size of each queue. Never changes.
    virtual std::vector<uint16_t> queues() const = 0;

    /// Device configuration space. Any vCPU thread, no lock held; offset and size are within config_size().
    virtual uint32_t config_size() const = 0;
    virtual uint64_t read_config(uint32_t offset, unsigned size) = 0;
    virtual void write_config(uint32_t offset, unsigned size, uint64_t value) { static_cast<void>(offset), static_cast<void>(size), static_cast<void>(value); }

    /// The driver is ready (or a saved state is running again). Executor's thread.
    virtual void start(Session& session) = 0;
    /// The queues are about to go; forget the session. Requests in flight may still complete. Executor's thread.
    virtual void stop() = 0;
    /// The transport is about to wait for the requests in flight, and takes no new ones. Executor's thread.
    virtual void pause() {}
    /// The queues go on after a pause, or begin to. Executor's thread.
    virtual void resume() {}
    /// Back to power-on state, after stop(). Executor's thread.
    virtual void reset() {}

    /// State beyond the queues, as a serialized message. While paused. load: Corrupt, and nothing changes.
    virtual std::string save() const { return {}; }
    virtual Result<> load(const std::string& state) {
        if (!state.empty()) return fail(ErrorKind::Corrupt, "{}: state that this device does not have", id());
        return {};
    }
    virtual std::string detail() const { return {}; }

    /// What a device may ask of its transport. Any thread, no lock of rank Device or above held.
    class Host {
      public:
        virtual ~Host() = default;
        virtual void config_changed() = 0;
    };
    void bind(Host* host) { host_ = host; }

  protected:
    void config_changed() {
        if (host_) host_->config_changed();
    }

  private:
    Host* host_ = nullptr;
};

/// A device's configuration space kept as the structure that the specification shows.
template <typename T>
uint64_t read_field(const T& config, uint32_t offset, unsigned size) {
    uint64_t value = 0;
    if (offset < sizeof config)
        __builtin_memcpy(&value, reinterpret_cast<const char*>(&config) + offset, size < sizeof config - offset ? size : sizeof config - offset);
    return value;
}

}  // namespace yado::virtio
