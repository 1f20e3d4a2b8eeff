// The guest behind create_guest(): threads, memory, chipset, plugged devices, run control, and the port to the outside.
//
// guest_port.cpp: what comes from outside; guest_hotplug.cpp: disks that come and go.
//
//     threads: control (verbs, one at a time) · io (virtio, back ends, console) · time (timers) · one a vCPU
//
// Members are in order of construction; destruction in reverse ends the vCPUs first, then the devices, then the threads.
#pragma once

#include <condition_variable>
#include <shared_mutex>

#include "api/guest_config.h"
#include "assemble/chipset.h"
#include "assemble/console_feed.h"
#include "assemble/engine_choice.h"
#include "assemble/guest.h"
#include "assemble/plugged.h"
#include "io/executor.h"
#include "machine/acpi/tables.h"
#include "machine/boot/boot.h"
#include "machine/layout.h"
#include "vm/debugger.h"
#include "vm/exit_router.h"
#include "vm/run_control.h"

namespace yado::assemble {

class GuestImpl final : public Guest, private api::GuestPort {
  public:
    GuestImpl(const api::GuestConfig& config, const std::string& verdict_file);
    ~GuestImpl() override;

    // Guest
    Result<> build() override;
    Result<> start() override;
    api::ExitReport wait() override;
    api::GuestPort& port() override { return *this; }
    vm::DebugPort* debug() override { return debugger_.get(); }

  private:
    // api::GuestPort
    api::GuestInfo info() const override;
    std::vector<api::DeviceInfo> devices() const override;
    api::Counters counters() const override;
    api::EngineStats engine_stats() const override;
    std::vector<api::DiskState> disks() const override;
    Result<> limit_disk(const api::LimitsRequest& request) override;
    Result<api::JobInfo> snapshot_disks(const api::SnapshotRequest& request) override;
    Result<api::JobInfo> commit_disk(const api::CommitRequest& request) override;
    std::vector<api::JobInfo> jobs() const override;
    Result<> cancel_job(uint64_t id) override;
    Result<> pause() override;
    Result<> resume() override;
    Result<> reset() override;
    Result<> power_button() override;
    Result<> power_off() override;
    Result<api::DeviceInfo> attach_disk(api::DiskConfig disk) override;
    Result<> detach_disk(std::string_view id, api::Detach how) override;
    api::ConsoleHub& console() override { return console_; }
    api::EventLog& events() override { return events_; }

    api::RunState state() const;
    std::vector<api::DeviceInfo> list_devices() const;
    api::Counters count() const;
    /// With the plugged parts, which stay meanwhile. Errors: Conflict (before the machine is there, after its end).
    template <typename F>
    std::invoke_result_t<F&, Plugged&> with_parts(F f) const {
        const std::shared_lock lock(parts_mutex_);
        if (!parts_there_) return fail(ErrorKind::Conflict, "the guest is {}", api::to_string(state()));
        return f(*plugged_);
    }
    api::EngineStats ask_engine() const;
    Result<> on_control(std::function<Result<>(vm::RunControl&)> verb) const;
    Result<> change_machine(const std::function<Result<>(vm::RunControl::Devices)>& change);
    Result<> settle_id(api::DiskConfig& disk) const;
    Result<> cut_off(std::string_view id);
    void service_slots();
    void on_disk_closed(const std::string& id, const Result<>& closed);
    Result<> assemble();
    Result<> load();
    Result<> make_chipset();
    Result<> make_processors();
    Result<> boot();
    machine::PowerEvents power_events();
    void on_shutdown(const cpu::ShutdownRequest& request);
    void on_event(std::string_view kind, std::string_view detail);

    api::GuestConfig config_;
    std::string verdict_file_;
    mem::GuestMemory memory_;  ///< outlives the engine, which watches it for changed code
    ChosenEngine engine_;
    std::optional<machine::Layout> layout_;  ///< from the engine's choice on
    cpu::CpuModel model_;
    SystemClock clock_;
    api::EventLog events_{clock_};
    api::ConsoleHub console_;
    bus::AddressSpace ports_{"port", 0x10000};
    bus::AddressSpace mmio_{"memory", 1ull << 52};
    mutable io::ExecutorThread control_{"control"};
    io::ExecutorThread time_{"time"};
    io::ExecutorThread io_{"io"};
    ConsoleFeed feed_{console_, io_.executor()};
    std::unique_ptr<Chipset> chipset_;
    std::unique_ptr<Plugged> plugged_;
    vm::Inventory inventory_;
    std::vector<std::unique_ptr<vm::ExitRouter>> routers_;
    vm::Processors processors_;
    std::unique_ptr<vm::RunControl> run_;
    std::unique_ptr<vm::Debugger> debugger_;
    std::optional<machine::boot::Entry> loaded_;  ///< in memory already, for the first boot

    std::atomic<bool> assembled_{false};     ///< release after run_ is made; acquired by the port before it uses engine_ and run_
    mutable std::shared_mutex parts_mutex_;  ///< exclusive when the following change
    bool parts_there_ = false;               ///< assembled, and not yet ended
    std::vector<api::DeviceInfo> last_devices_;
    api::Counters last_counters_;
    api::EngineStats last_engine_stats_;

    std::atomic<Nanoseconds> started_{};  ///< the port reads it at any time
    mutable std::mutex ended_mutex_;
    std::condition_variable ended_;
    bool has_ended_ = false;
};

}  // namespace yado::assemble
