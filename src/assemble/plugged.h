// What is plugged in: virtio devices on PCI slots, and the disks and packet back ends behind them.
#pragma once

#include <memory>
#include <vector>

#include "api/guest_config.h"
#include "assemble/chipset.h"
#include "assemble/console_feed.h"
#include "assemble/disk_jobs.h"
#include "link/packet_port.h"
#include "storage/live/live_disk.h"
#include "virtio/pci/virtio_pci.h"

namespace yado::virtio {
class Net;
class Scsi;
struct DiskCounters;
}

namespace yado::assemble {

class Plugged {
  public:
    struct Wiring {
        const api::GuestConfig& config;
        Chipset& chipset;
        cpu::Engine& engine;
        io::Executor& executor;
        ConsoleFeed& console;  ///< a virtio console connects itself
        /// A disk keeps requests back until the guest is resumed: one line with the reason. Executor's thread.
        std::function<void(std::string reason)> disk_failed;
        /// As the guest's events. Executor's thread.
        std::function<void(std::string_view kind, std::string_view detail)> event;
    };
    /// Opens and locks every disk, sets up every back end. Errors name the device: "disk0: ...".
    static Result<std::unique_ptr<Plugged>> create(const Wiring& wiring);
    ~Plugged();

    void list(vm::Inventory& inventory);
    void count(api::Counters& counters);
    DiskJobs& jobs() { return jobs_; }
    std::vector<api::DiskState> disks();
    /// Errors: NotFound.
    Result<> limit_disk(const api::LimitsRequest& request);
    /// Ends the devices, flushes and closes the disks. vCPUs are stopped. Once; later calls do nothing.
    /// Errors: the first that a disk reports.
    Result<> close();

  private:
    explicit Plugged(const Wiring& wiring);
    Result<> plug(std::unique_ptr<virtio::DeviceModel> model);
    Result<> plug_disk(const api::DiskConfig& config);
    Result<> plug_net(const api::NetConfig& config);
    Result<> plug_standard();
    void count_now(api::Counters& counters) const;
    std::vector<DiskJobs::Disk> list_disks() const;

    /// KVM's ioeventfd behind the transport's wish.
    class EngineDoorbells final : public virtio::Doorbells {
      public:
        explicit EngineDoorbells(cpu::Engine& engine) : engine_(engine) {}
        Result<> bind(GuestPhysAddr address, int eventfd) override { return engine_.attach_doorbell(address, eventfd); }
        void unbind(GuestPhysAddr address, int eventfd) override { engine_.detach_doorbell(address, eventfd); }

      private:
        cpu::Engine& engine_;
    };
    struct Disk {
        std::string id;
        std::unique_ptr<storage::LiveDisk> image;
        std::function<virtio::DiskCounters()> counters;  ///< executor's thread
    };
    Result<> plug_blk(const api::DiskConfig& config, Disk& disk);
    Result<> plug_scsi(const api::DiskConfig& config, Disk& disk);

    struct Nic {
        std::string id;
        std::unique_ptr<link::PacketBackend> backend;
        virtio::Net* device = nullptr;
    };

    Wiring wiring_;
    EngineDoorbells doorbells_;
    std::vector<Disk> disks_;
    DiskJobs jobs_;
    virtio::Scsi* scsi_ = nullptr;  ///< the controller of all SCSI disks; their targets count from 0
    uint8_t next_target_ = 0;
    std::vector<Nic> nics_;
    std::vector<std::unique_ptr<virtio::VirtioPci>> functions_;
    unsigned next_slot_ = 1;
};

}  // namespace yado::assemble
