// A running guest as those outside of its machine may touch it: the control socket's verbs, the terminal of `yado run`.
#pragma once

#include <vector>

#include "api/console_hub.h"
#include "api/event_log.h"
#include "api/guest_config.h"
#include "api/guest_info.h"

namespace yado::api {

/// How a device leaves a running guest: it is asked to let go, or not asked.
enum class Detach : uint8_t { Ask, Force };

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
    /// Opens an image and puts it into a hot-plug slot; the guest is told. What it is and where. Errors: those of opening a disk (NotFound, Conflict:
    /// locked), Usage, Conflict (its id is taken, no port is free, not running or paused).
    virtual Result<DeviceInfo> attach_disk(DiskConfig disk) = 0;
    /// The event "disk-removed" tells when the disk is gone and its image closed. Asked, the guest decides when that is; again, it is asked again.
    /// Errors: NotFound, Conflict (not in a hot-plug slot; not running or paused).
    virtual Result<> detach_disk(std::string_view id, Detach how) = 0;

    virtual ConsoleHub& console() = 0;
    virtual EventLog& events() = 0;
};

}  // namespace yado::api
