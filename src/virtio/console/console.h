// virtio-console (5.3) with one port and its size. Executor's thread, configuration space any.
//
//     guest --> transmit queue --> ConsoleBackend::output()
//     input() --> kept (bounded) --> receive queue --> guest;  backend told by room() when more may come
#pragma once

#include "base/guarded.h"
#include "virtio/device_model.h"
#include "virtio/serve.h"

namespace yado::virtio {

/// What a console is connected to. Executor's thread.
class ConsoleBackend {
  public:
    virtual ~ConsoleBackend() = default;
    /// Bytes that the guest wrote; copied before the call returns; never blocks.
    virtual void output(std::span<const std::byte> bytes) = 0;
    /// input() takes bytes again after it took fewer than it was given. Never called inside of input().
    virtual void room() {}
};

class Console final : public DeviceModel {
  public:
    static constexpr size_t kInputLimit = 4096;  ///< bytes kept for a driver that does not take them

    struct Size {
        uint16_t columns = 80, rows = 25;
    };
    Console(std::string id, ConsoleBackend& backend) : Console(std::move(id), backend, Size{}) {}
    Console(std::string id, ConsoleBackend& backend, Size size) : id_(std::move(id)), backend_(backend), size_(size) {}

    /// Bytes for the guest; returns how many were taken. Executor's thread.
    size_t input(std::span<const std::byte> bytes);
    /// The terminal has another size: tells the driver. Any thread.
    void resize(Size size);

    DeviceId type() const override { return DeviceId::Console; }
    std::string id() const override { return id_; }
    std::string kind() const override { return "virtio-console"; }
    uint32_t class_code() const override { return 0x078000; }
    uint64_t features() const override { return 1; }  // VIRTIO_CONSOLE_F_SIZE
    std::vector<uint16_t> queues() const override { return {64, 64}; }
    uint32_t config_size() const override { return 12; }
    uint64_t read_config(uint32_t offset, unsigned size) override;
    void start(Session& session) override;
    void stop() override { receive_ = nullptr; }
    void reset() override { input_.clear(); }
    std::string save() const override;
    Result<> load(const std::string& state) override;

    /// serve()'s, for the transmit queue.
    io::Task<Result<uint32_t>> handle(Chain& chain);

  private:
    void take_kick();
    void push_input();

    std::string id_;
    ConsoleBackend& backend_;
    Guarded<Size> size_;
    std::string input_;
    bool starved_ = false;
    VirtQueue* receive_ = nullptr;
    mem::GuestMemory* memory_ = nullptr;
};

}  // namespace yado::virtio
