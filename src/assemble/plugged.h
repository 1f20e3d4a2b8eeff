// What is plugged in: virtio devices on PCI slots, and the disks and packet back ends behind them. What comes while the guest runs goes
// into a hot-plug port.
#pragma once

#include <memory>
#include <vector>

#include "api/guest_config.h"
#include "api/guest_port.h"
#include "assemble/chipset.h"
#include "assemble/console_feed.h"
#include "assemble/disk_jobs.h"
#include "assemble/disks.h"
#include "assemble/hotplug_ports.h"
#include "link/packet_port.h"
#include "virtio/pci/virtio_pci.h"
#include "vm/run_control.h"

namespace yado::virtio {
class Net;
class Scsi;
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
        /// A disk that was detached is closed. Executor's thread.
        std::function<void(const std::string& id, const Result<>& closed)> disk_closed;
        /// service() is to be called. vCPU thread.
        std::function<void()> slot_wants_service;
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

    /// Where disks are opened that come while the guest runs.
    Disks& drives() { return disks_; }

    // Hot-plug: no vCPU runs; the control executor's thread.
    /// Puts a device into a free port. Errors: Conflict (no port is free).
    Result<> attach(std::unique_ptr<virtio::DeviceModel> model, vm::Inventory& inventory, vm::RunControl::Devices devices);
    /// The same with a disk, which is taken from the caller only if it fits. Errors: Conflict (also: its id is taken).
    Result<> attach_disk(Disks::Opened& disk, vm::Inventory& inventory, vm::RunControl::Devices devices);
    /// Asks the guest to let go of a disk, or takes it away where there is nobody to ask or force is used (Off). Errors: NotFound, Conflict (not
    /// in a port).
    Result<pci::RootPort::Asked> detach_disk(std::string_view id, api::Detach how, vm::Inventory& inventory);
    /// The port that a disk can leave by. Errors: as detach_disk's.
    Result<pci::RootPort*> way_out(std::string_view id) const;
    /// Does what the ports' registers say, and takes away what the guest has let go of.
    void service(vm::Inventory& inventory);
    /// A guest that is reset has let go of what it was asked for.
    void after_reset(vm::Inventory& inventory);

  private:
    explicit Plugged(const Wiring& wiring);
    enum class Place : uint8_t { RootBus, Port };
    virtio::VirtioPci& make_function(std::unique_ptr<virtio::DeviceModel> model, Place place);
    void remove(pci::RootPort& port, vm::Inventory& inventory);
    Result<> plug(std::unique_ptr<virtio::DeviceModel> model);
    Result<> plug_disk(const api::DiskConfig& config);
    Result<> plug_scsi(const api::DiskConfig& config, Disks::Opened disk);
    Result<> plug_net(const api::NetConfig& config);
    Result<> plug_standard();
    void count_now(api::Counters& counters) const;

    /// KVM's ioeventfd behind the transport's wish.
    class EngineDoorbells final : public virtio::Doorbells {
      public:
        explicit EngineDoorbells(cpu::Engine& engine) : engine_(engine) {}
        Result<> bind(GuestPhysAddr address, int eventfd) override { return engine_.attach_doorbell(address, eventfd); }
        void unbind(GuestPhysAddr address, int eventfd) override { engine_.detach_doorbell(address, eventfd); }

      private:
        cpu::Engine& engine_;
    };
    struct Nic {
        std::string id;
        std::unique_ptr<link::PacketBackend> backend;
        virtio::Net* device = nullptr;
    };

    Wiring wiring_;
    EngineDoorbells doorbells_;
    Disks disks_;
    DiskJobs jobs_;
    virtio::Scsi* scsi_ = nullptr;  ///< the controller of all SCSI disks; their targets count from 0
    uint8_t next_target_ = 0;
    std::vector<Nic> nics_;
    std::vector<std::unique_ptr<virtio::VirtioPci>> functions_;
    std::unique_ptr<HotplugPorts> ports_;
    unsigned next_slot_ = 1;
};

}  // namespace yado::assemble
