// virtio-blk (5.2) on a DiskImage. Many requests in flight; data goes straight between the image and guest memory.
//
//     serve() --> handle(chain): header copied --> in, out, flush, id, discard, write-zeroes --> status byte
//
// What the guest gets wrong inside a request is answered (IOERR, UNSUPP); a chain without room for header and status
// needs a reset. Executor's thread, configuration space any.
#pragma once

#include <atomic>

#include "virtio/blk/blk_spec.h"
#include "virtio/device_model.h"
#include "virtio/disk/disk_access.h"
#include "virtio/serve.h"

namespace yado::virtio {

class Blk final : public DeviceModel {
  public:
    struct Options {
        std::string id;
        std::string serial;             ///< at most 20 bytes reach the guest
        uint16_t queues = 1;            ///< 1 to 16
        uint16_t queue_size = 256;
        uint32_t block_size = 512;      ///< logical, a power of two from 512 to 4096
        uint8_t physical_block_exp = 3;  ///< physical block = logical << exp
        block::Attachment* attachment = nullptr;  ///< outlives the device
    };
    /// Errors: Usage. The image is used on the transport's executor and must outlive the device; closing it is its owner's.
    static Result<std::unique_ptr<Blk>> create(block::DiskImage& image, Options options);

    /// Executor's thread, or paused.
    DiskCounters counters() const { return disk_.counters; }
    /// The image has grown or shrunk: tells the driver. Executor's thread.
    void resized();

    // DeviceModel
    DeviceId type() const override { return DeviceId::Block; }
    std::string id() const override { return options_.id; }
    std::string kind() const override { return "virtio-blk"; }
    uint32_t class_code() const override { return 0x010000; }
    uint64_t features() const override;
    std::vector<uint16_t> queues() const override { return std::vector<uint16_t>(options_.queues, options_.queue_size); }
    uint32_t config_size() const override { return sizeof(BlkConfig); }
    uint64_t read_config(uint32_t offset, unsigned size) override { return read_field(config(), offset, size); }
    void write_config(uint32_t offset, unsigned size, uint64_t value) override;
    void start(Session& session) override;
    void stop() override;
    void pause() override;
    void resume() override;
    void reset() override { writeback_ = true; }
    std::string save() const override;
    Result<> load(const std::string& state) override;
    std::string detail() const override { return disk_.describe(); }

    /// serve()'s: bytes written, or the chain is malformed.
    io::Task<Result<uint32_t>> handle(Chain& chain);

  private:
    Blk(block::DiskImage& image, Options options);
    BlkConfig config() const;
    bool writethrough() const;

    io::Task<BlkStatus> execute(const BlkHeader& header, Chain& chain, uint32_t& written);
    io::Task<BlkStatus> read(const BlkHeader& header, Chain& chain, uint32_t& written);
    io::Task<BlkStatus> write(const BlkHeader& header, Chain& chain);
    io::Task<BlkStatus> flush();
    BlkStatus get_id(Chain& chain, uint32_t& written);
    io::Task<BlkStatus> clear_segments(BlkRequest type, Chain& chain);
    io::Task<BlkStatus> clear_segment(BlkRequest type, BlkSegment segment);

    DiskAccess disk_;
    Options options_;
    std::atomic<bool> writeback_{true};
    Session* session_ = nullptr;
    mem::GuestMemory* memory_ = nullptr;
    bool flush_negotiated_ = false, wce_negotiated_ = false;
};

}  // namespace yado::virtio
