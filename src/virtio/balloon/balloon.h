// virtio-balloon (5.5): the guest gives pages back, for good (inflate) or until it touches them again (reporting).
// Executor's thread, except where it says otherwise.
#pragma once

#include <atomic>
#include <functional>
#include <map>

#include "virtio/device_model.h"
#include "virtio/serve.h"

namespace yado::virtio {

class Balloon final : public DeviceModel {
  public:
    /// `ram` bounds what can be asked for.
    Balloon(std::string id, mem::GuestMemory& memory);
    ~Balloon() override;

    /// Asks the guest to give up this much (rounded down to pages, at most all RAM). Any thread.
    void set_target(Bytes size);
    Bytes target() const { return Bytes(target_pages_.load() * kPageSize); }
    /// What the guest says it has given up. Any thread.
    Bytes actual() const { return Bytes(actual_pages_.load() * kPageSize); }
    /// What the driver last told about its memory (5.5.6.3), by tag. Asks for fresh numbers, which a later call returns.
    std::map<uint16_t, uint64_t> statistics();
    uint64_t reported_bytes() const { return reported_bytes_; }

    DeviceId type() const override { return DeviceId::Balloon; }
    std::string id() const override { return id_; }
    std::string kind() const override { return "virtio-balloon"; }
    uint32_t class_code() const override { return 0x00ff00; }
    uint64_t features() const override;
    std::vector<uint16_t> queues() const override { return {128, 128, 128, 128}; }
    uint32_t config_size() const override { return 8; }
    uint64_t read_config(uint32_t offset, unsigned size) override;
    void write_config(uint32_t offset, unsigned size, uint64_t value) override;
    void start(Session& session) override;
    void stop() override { statistics_queue_ = nullptr; }
    void reset() override;
    std::string save() const override;
    Result<> load(const std::string& state) override;
    std::string detail() const override;

  private:
    struct Inflate;
    struct Deflate;
    struct Report;
    void read_statistics();
    void discard_run(uint64_t first_page, uint64_t pages);

    std::string id_;
    mem::GuestMemory& memory_;
    std::atomic<uint32_t> target_pages_{0}, actual_pages_{0};
    uint64_t reported_bytes_ = 0;
    std::unique_ptr<Inflate> inflate_;
    std::unique_ptr<Deflate> deflate_;
    std::unique_ptr<Report> report_;
    VirtQueue* statistics_queue_ = nullptr;
    std::map<uint16_t, uint64_t> statistics_;
};

}  // namespace yado::virtio
