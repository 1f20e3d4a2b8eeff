// virtio-net (5.1) on a PacketBackend: mergeable receive buffers, status, receive filters; no offloads, so every frame
// is complete in both directions. Executor's thread, configuration space any.
//
//     transmit queue --> header skipped --> frame copied out --> PacketBackend::send()
//     PacketBackend --> deliver(): filter --> as many receive buffers as it takes, or false and later ready()
#pragma once

#include "base/guarded.h"
#include "link/packet_port.h"
#include "virtio/device_model.h"
#include "virtio/net/receive_filter.h"
#include "virtio/serve.h"

namespace yado::virtio {

class Net final : public DeviceModel, private link::FrameSink {
  public:
    struct Options {
        std::string id;
        MacAddress mac{};
        uint16_t mtu = 0;  ///< 0: not told to the driver; else 68 to 65535
        uint16_t queue_size = 256;
    };
    /// Errors: Usage. The backend is used on the transport's executor and must outlive the device.
    static Result<std::unique_ptr<Net>> create(link::PacketBackend& backend, Options options);
    ~Net() override;

    /// Plugs the cable in or out: tells the driver. Any thread.
    void set_link(bool up);

    struct Counters {
        uint64_t sent = 0, received = 0, bad_sends = 0, filtered = 0;
    };
    Counters counters() const { return counters_; }

    DeviceId type() const override { return DeviceId::Net; }
    std::string id() const override { return options_.id; }
    std::string kind() const override { return "virtio-net"; }
    uint32_t class_code() const override { return 0x020000; }
    uint64_t features() const override;
    std::vector<uint16_t> queues() const override;
    uint32_t config_size() const override { return 12; }
    uint64_t read_config(uint32_t offset, unsigned size) override;
    void start(Session& session) override;
    void stop() override;
    void reset() override;
    std::string save() const override;
    Result<> load(const std::string& state) override;
    std::string detail() const override;

  private:
    struct Shared {  // with vCPU threads
        MacAddress mac;
        bool link_up = true;
    };
    struct Transmit;
    struct Control;

    Net(link::PacketBackend& backend, Options options);
    bool deliver(std::span<const std::byte> frame) override;
    void fill(std::vector<Chain>& buffers, std::span<const std::byte> frame);

    link::PacketBackend& backend_;
    Options options_;
    Guarded<Shared> shared_;
    ReceiveFilter filter_;
    bool mergeable_ = false, vlan_filter_ = false, starved_ = false;
    VirtQueue* receive_ = nullptr;
    mem::GuestMemory* memory_ = nullptr;
    std::unique_ptr<Transmit> transmit_;
    std::unique_ptr<Control> control_;
    Counters counters_;
};

}  // namespace yado::virtio
