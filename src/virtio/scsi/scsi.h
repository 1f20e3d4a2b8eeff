// virtio-scsi (5.6): one controller, at each target at most one disk, its logical unit 0.
//
//     request queues --> handle_request(): header, CDB --> ScsiDisk::execute() --> status, sense data, residual
//     control queue  --> handle_control(): task management waits for what is in flight; no asynchronous notifications
//     event queue    <-- units that came and went, and changed their size
//
// What the guest gets wrong inside a command is answered; a chain without room for header and response needs a reset. A
// disk's image can be taken away while the guest runs: detach_unit(). Executor's thread, configuration space any.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>

#include "base/guarded.h"
#include "virtio/device_model.h"
#include "virtio/scsi/scsi_disk.h"
#include "virtio/scsi/scsi_spec.h"
#include "virtio/scsi/task_set.h"
#include "virtio/serve.h"

namespace yado::virtio {

class Scsi final : public DeviceModel {
  public:
    static constexpr uint8_t kTargets = 64;
    struct Options {
        std::string id;
        uint16_t queues = 1;  ///< for requests, 1 to 16
        uint16_t queue_size = 256;
    };
    /// Errors: Usage.
    static Result<std::unique_ptr<Scsi>> create(Options options);
    ~Scsi() override;

    /// Plugs a disk in, and tells the driver. The image is used on the transport's executor and outlives the unit; closing
    /// it is its owner's. Executor's thread. Errors: Conflict, Usage.
    Result<> attach_unit(uint8_t target, block::DiskImage& image, ScsiDisk::Options options);
    /// Takes a disk away: new commands fail, those that are kept back fail, others are waited for. Then the image is free.
    /// Executor's thread; the device outlives it. Errors: NotFound.
    io::Task<Result<>> detach_unit(uint8_t target);
    /// The image at a target has grown or shrunk: tells the driver. Executor's thread. Errors: NotFound.
    Result<> unit_resized(uint8_t target);
    /// Executor's thread, or paused; nothing for a target without a unit.
    DiskCounters counters(uint8_t target) const;

    // DeviceModel
    DeviceId type() const override { return DeviceId::Scsi; }
    std::string id() const override { return options_.id; }
    std::string kind() const override { return "virtio-scsi"; }
    uint32_t class_code() const override { return 0x010000; }
    uint64_t features() const override { return VIRTIO_SCSI_F_HOTPLUG | VIRTIO_SCSI_F_CHANGE; }
    std::vector<uint16_t> queues() const override;
    uint32_t config_size() const override { return sizeof(ScsiConfig); }
    uint64_t read_config(uint32_t offset, unsigned size) override { return read_field(config(), offset, size); }
    void write_config(uint32_t offset, unsigned size, uint64_t value) override;
    void start(Session& session) override;
    void stop() override;
    void pause() override;
    void resume() override;
    void reset() override;
    std::string save() const override;
    Result<> load(const std::string& state) override;
    std::string detail() const override { return *detail_.lock(); }

  private:
    /// A command keeps its unit alive: it may have been detached meanwhile.
    struct Unit {
        Unit(block::DiskImage& image, ScsiDisk::Options options) : disk(image, std::move(options)) {}
        ScsiDisk disk;
        TaskSet tasks;
        size_t resting = 0;  ///< commands that the disk keeps back
    };
    using UnitPointer = std::shared_ptr<Unit>;
    struct RequestSide {
        Scsi& device;
        io::Task<Result<uint32_t>> handle(Chain& chain) { return device.handle_request(chain); }
    };
    struct ControlSide {
        Scsi& device;
        io::Task<Result<uint32_t>> handle(Chain& chain) { return device.handle_control(chain); }
    };
    struct Event {
        uint32_t event = 0;
        uint8_t target = 0;
        uint32_t reason = 0;
    };
    /// Where a LUN field leads (5.6.6.1).
    struct Address {
        uint8_t target = 0;
        uint16_t lun = 0;
    };
    enum class Waits : uint8_t { Driver, Host };

    explicit Scsi(Options options) : options_(std::move(options)) {}
    ScsiConfig config() const;
    static std::optional<Address> address_of(const ScsiLun& lun);
    static ScsiLun lun_of(uint8_t target) { return {1, target}; }
    Unit* at(uint8_t target) const;
    void attach(Unit& unit);
    void units_changed();
    void tell_resting();

    io::Task<Result<uint32_t>> handle_request(Chain& chain);
    io::Task<ScsiResponse> run(const ScsiRequestHeader& header, const Cdb& cdb, Transfer& data, ScsiFailure& failure);

    // scsi_control.cpp
    io::Task<Result<uint32_t>> handle_control(Chain& chain);
    io::Task<ScsiResponse> manage(const ScsiTaskManagement& request);
    io::Task<ScsiResponse> manage_unit(ScsiFunction function, UnitPointer unit, uint64_t tag);
    io::Task<> ended(TaskSet& tasks, std::optional<uint64_t> tag, Waits who);
    void tell(const Event& event);
    void deliver_events();
    bool wants(const Event& event) const;

    Options options_;
    RequestSide request_side_{*this};
    ControlSide control_side_{*this};
    std::map<uint8_t, UnitPointer> units_;
    mutable Guarded<std::string, LockRank::Leaf> detail_;  ///< of the units, for any thread
    std::atomic<uint32_t> sense_size_{kScsiDefaultSenseSize}, cdb_size_{kScsiDefaultCdbSize};
    Session* session_ = nullptr;
    mem::GuestMemory* memory_ = nullptr;
    io::Executor* executor_ = nullptr;
    uint32_t session_sense_size_ = 0, session_cdb_size_ = 0;  ///< as they were at DRIVER_OK
    size_t waiting_ = 0;  ///< task management functions that wait for commands
    std::deque<Event> events_;
    bool events_missed_ = false;
};

}  // namespace yado::virtio
