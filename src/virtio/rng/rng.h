// virtio-rng (5.4): fills what the driver offers with the host's random bytes, bounded for each request.
// Executor's thread.
#pragma once

#include <functional>

#include "virtio/device_model.h"
#include "virtio/serve.h"

namespace yado::virtio {

/// Fills the span with random bytes; tests pass their own.
using RandomSource = std::function<Result<>(std::span<std::byte>)>;
/// getrandom(2).
Result<> system_random(std::span<std::byte> out);

class Rng final : public DeviceModel {
  public:
    static constexpr size_t kMaxBytes = 64 << 10;  ///< answered for one request

    explicit Rng(std::string id, RandomSource source = system_random) : id_(std::move(id)), source_(std::move(source)) {}

    DeviceId type() const override { return DeviceId::Entropy; }
    std::string id() const override { return id_; }
    std::string kind() const override { return "virtio-rng"; }
    uint32_t class_code() const override { return 0x00ff00; }
    uint64_t features() const override { return 0; }
    std::vector<uint16_t> queues() const override { return {64}; }
    uint32_t config_size() const override { return 0; }
    uint64_t read_config(uint32_t, unsigned) override { return 0; }
    void start(Session& session) override;
    void stop() override {}

    io::Task<Result<uint32_t>> handle(Chain& chain);

  private:
    std::string id_;
    RandomSource source_;
    mem::GuestMemory* memory_ = nullptr;
};

}  // namespace yado::virtio
