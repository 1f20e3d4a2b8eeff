// What a guest says of itself: the answers of the control socket. Their JSON and the OpenAPI schema come from the same
// field tables (fields.h), so that neither can drift from these structs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/guest_config.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/units.h"

namespace yado::api {

enum class RunState : uint8_t { Starting, Running, Paused, Stopped };

enum class StopReason : uint8_t {
    None,         ///< not stopped
    PoweredOff,   ///< the guest powered itself off (ACPI S5)
    Rebooted,     ///< the guest reset itself under --no-reboot
    Stopped,      ///< power_off() from outside
    DebugExit,    ///< a write to the isa-debug-exit port
    Crashed,      ///< triple fault, pvpanic
    Failed,       ///< the host side failed: engine, disk, memory
};

/// How a guest ended.
struct ExitReport {
    StopReason reason = StopReason::None;
    std::string detail;        ///< one line: "triple fault at rip 0x..."; may be empty. A lock-step report has many lines
    uint32_t debug_code = 0;   ///< what was written to the debug-exit port
    friend bool operator==(const ExitReport&, const ExitReport&) = default;
};
/// The documented exit status of `yado run`: PoweredOff, Rebooted and Stopped 0, DebugExit 0 or 1 (code 0 or not), Crashed 8, Failed 1.
int exit_status(const ExitReport& report);

struct DeviceInfo {
    std::string id;        ///< "disk0"
    std::string kind;      ///< "virtio-blk", "uart16550", "pci-host"
    std::string location;  ///< "0000:00:03.0", "port 0x3f8", "mmio 0xfec00000"
    std::string detail;    ///< "raw /path (snapshot)", "user, mac 52:54:..."; may be empty
    friend bool operator==(const DeviceInfo&, const DeviceInfo&) = default;
};

using Counters = std::map<std::string, uint64_t>;  ///< "vcpu0.exits", "disk0.read_bytes", "console.output_bytes"

/// What an engine counts, in groups that it names itself (docs/engines.md).
struct CounterGroup {
    std::string name;      ///< "interpreted": counters by mnemonic
    std::string unit;      ///< "" (counts), "bytes", "ns"
    bool parts = false;    ///< of a whole, so that their sum says something
    Counters counters;
    friend bool operator==(const CounterGroup&, const CounterGroup&) = default;
};
struct VcpuStats {
    uint32_t vcpu = 0;
    std::vector<CounterGroup> groups;
    friend bool operator==(const VcpuStats&, const VcpuStats&) = default;
};
struct EngineStats {
    std::string engine;
    std::vector<VcpuStats> vcpus;
    friend bool operator==(const EngineStats&, const EngineStats&) = default;
};

struct GuestInfo {
    std::string name;
    int32_t pid = 0;
    RunState state = RunState::Starting;
    std::string pause_reason;   ///< one line where something on the host failed; "" if somebody asked for the pause
    StopReason stop_reason = StopReason::None;
    std::string engine;         ///< "kvm" or "bt"; "" while it is being chosen
    std::string engine_reason;  ///< why auto took it
    std::string cpu;            ///< model
    uint32_t cpus = 0;
    Bytes memory;
    Nanoseconds uptime{};       ///< since the guest was first started
    std::string image;          ///< name of its image, if any
    std::string console;        ///< "stdio", "pty /dev/pts/3"
    friend bool operator==(const GuestInfo&, const GuestInfo&) = default;
};

/// A disk as it is now.
struct DiskState {
    std::string id;
    std::string path;                ///< the image that is written to
    std::string format;
    std::vector<std::string> chain;  ///< paths of the images below it, from the top down
    Bytes size;
    bool readonly = false;
    DiskLimits limits;
    friend bool operator==(const DiskState&, const DiskState&) = default;
};
struct LimitsRequest {
    std::string disk;
    DiskLimits limits;
};
struct SnapshotRequest {
    std::string name;
    std::vector<std::string> disks;  ///< ids; none: all that the guest may write to
};
struct CommitRequest {
    std::string disk;
};

/// What a snapshot made of a disk.
struct DiskSnapshot {
    std::string disk;
    std::string base;     ///< has what the disk showed at that moment, and is not written any more
    std::string active;   ///< has what is written from then on
    std::string format;   ///< of the active image
    Nanoseconds stall{};  ///< that requests had to wait
    friend bool operator==(const DiskSnapshot&, const DiskSnapshot&) = default;
};

/// Work on a guest's disks that takes its time: one at a time, begun by a POST, its end told by the event "job-ended".
enum class JobState : uint8_t { Running, Done, Failed };
struct JobInfo {
    uint64_t id = 0;            ///< 1, 2, 3 ... within a guest
    std::string kind;           ///< "snapshot", "commit"
    JobState state = JobState::Running;
    Bytes done, total;          ///< total 0: not known
    std::string error_kind, error;  ///< of a job that failed: kind_name(), and the message
    std::vector<DiskSnapshot> snapshots;
    friend bool operator==(const JobInfo&, const JobInfo&) = default;
};

/// Something that happened: "started", "paused", "resumed", "reset", "power-button", "powered-off", "crashed",
/// "stopped", "disk-error" (the guest is paused for it), "disk-added", "disk-detaching" (the guest was asked), "disk-removed", "device-needs-reset",
/// "balloon", "debugger-attached", "debugger-detached", "job-ended".
struct Event {
    uint64_t number = 0;        ///< 1, 2, 3 ... within a guest
    Nanoseconds time{};         ///< since 1970-01-01 UTC
    std::string kind;
    std::string detail;
    friend bool operator==(const Event&, const Event&) = default;
};

/// The body of every error answer.
struct ApiError {
    std::string kind;           ///< "not-found", "conflict" ...: kind_name()
    std::string message;
};

std::string_view kind_name(ErrorKind kind);
/// Failed for a name that is none.
ErrorKind kind_from_name(std::string_view name);
std::string_view to_string(RunState state);
std::string_view to_string(StopReason reason);

std::string to_json(const GuestInfo&);
std::string to_json(const std::vector<GuestInfo>&);
std::string to_json(const DeviceInfo&);
std::string to_json(const std::vector<DeviceInfo>&);
std::string to_json(const Counters&);
std::string to_json(const EngineStats&);
std::string to_json(const Event&);
std::string to_json(const std::vector<DiskState>&);
std::string to_json(const JobInfo&);
std::string to_json(const std::vector<JobInfo>&);
std::string to_json(const LimitsRequest&);
std::string to_json(const SnapshotRequest&);
std::string to_json(const CommitRequest&);
std::string to_json(const ExitReport&);
std::string to_json(const Error&);  ///< as ApiError

/// Errors: Corrupt, naming the field. Unknown fields are ignored: a newer guest may say more.
Result<GuestInfo> guest_info_from_json(std::string_view);
Result<DeviceInfo> device_from_json(std::string_view);
Result<std::vector<DeviceInfo>> devices_from_json(std::string_view);
Result<Counters> counters_from_json(std::string_view);
Result<EngineStats> engine_stats_from_json(std::string_view);
Result<Event> event_from_json(std::string_view);
Result<std::vector<DiskState>> disks_from_json(std::string_view);
Result<JobInfo> job_from_json(std::string_view);
Result<std::vector<JobInfo>> jobs_from_json(std::string_view);
/// Requests. Errors: Usage, naming the field; also for a field that there is not.
Result<LimitsRequest> limits_request_from_json(std::string_view);
Result<SnapshotRequest> snapshot_request_from_json(std::string_view);
Result<CommitRequest> commit_request_from_json(std::string_view);
Result<ExitReport> exit_report_from_json(std::string_view);
/// The Error an error answer carries.
Result<Error> error_from_json(std::string_view);

/// The OpenAPI 3.1 document of the control socket (docs/control-api.md), made from the field and route tables.
std::string openapi_document();

}  // namespace yado::api
