// A running guest as those outside of its machine may touch it: the control socket's verbs, the terminal of `yado run`.
#pragma once

#include <vector>

#include "api/console_hub.h"
#include "api/event_log.h"
#include "api/guest_info.h"

namespace yado::api {

/// All calls: any thread, at any time between creation and destruction of the guest: before its machine is built (there are
/// no devices and counters yet) and after it stopped, too; verbs answer Conflict then. The verbs return once the request is in force or on its way; they never wait for the guest.
class GuestPort {
  public:
    virtual ~GuestPort() = default;

    virtual GuestInfo info() const = 0;
    virtual std::vector<DeviceInfo> devices() const = 0;
    virtual Counters counters() const = 0;
    virtual EngineStats engine_stats() const = 0;

    /// Stops all vCPUs; returns when none runs. Errors: Conflict (not running).
    virtual Result<> pause() = 0;
    /// Errors: Conflict (not paused).
    virtual Result<> resume() = 0;
    /// As the reset button.
    virtual Result<> reset() = 0;
    /// ACPI power button (fixed event): the guest decides what follows. Errors: Conflict (not running).
    virtual Result<> power_button() = 0;
    /// Ends the guest now, as pulling the plug; disks are flushed.
    virtual Result<> power_off() = 0;

    virtual std::vector<DiskState> disks() const = 0;
    /// From now on. Errors: NotFound, Conflict.
    virtual Result<> limit_disk(const LimitsRequest& request) = 0;
    /// Begins a job. Errors: NotFound (no such disk), Usage (none that could be taken), Conflict (another job runs).
    virtual Result<JobInfo> snapshot_disks(const SnapshotRequest& request) = 0;
    virtual Result<JobInfo> commit_disk(const CommitRequest& request) = 0;
    virtual std::vector<JobInfo> jobs() const = 0;
    /// It ends soon, as a failed one. Errors: NotFound (it does not run).
    virtual Result<> cancel_job(uint64_t id) = 0;

    virtual ConsoleHub& console() = 0;
    virtual EventLog& events() = 0;
};

}  // namespace yado::api
