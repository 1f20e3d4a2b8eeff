#include "api/decode.h"

namespace yado::api {

namespace {
constexpr std::array<std::pair<ErrorKind, std::string_view>, 10> kKinds{{
    {ErrorKind::Failed, "failed"},
    {ErrorKind::Usage, "usage"},
    {ErrorKind::NotFound, "not-found"},
    {ErrorKind::Conflict, "conflict"},
    {ErrorKind::Denied, "denied"},
    {ErrorKind::Unreachable, "unreachable"},
    {ErrorKind::TimedOut, "timed-out"},
    {ErrorKind::GuestCrashed, "guest-crashed"},
    {ErrorKind::OutOfRange, "out-of-range"},
    {ErrorKind::Corrupt, "corrupt"},
}};

template <typename T>
Result<T> answer(std::string_view text) {
    return decode_text<T>(text, UnknownKeys::Ignore, ErrorKind::Corrupt);
}
template <typename T>
Result<T> request(std::string_view text) {
    return decode_text<T>(text, UnknownKeys::Refuse, ErrorKind::Usage);
}
}  // namespace

std::string_view kind_name(ErrorKind kind) {
    for (const auto& [value, name] : kKinds)
        if (value == kind) return name;
    return "failed";
}

ErrorKind kind_from_name(std::string_view name) {
    for (const auto& [value, known] : kKinds)
        if (known == name) return value;
    return ErrorKind::Failed;
}

std::string_view to_string(RunState state) { return word_of(state); }
std::string_view to_string(StopReason reason) { return word_of(reason); }

int exit_status(const ExitReport& report) {
    switch (report.reason) {
    case StopReason::PoweredOff:
    case StopReason::Rebooted:
    case StopReason::Stopped: return 0;
    case StopReason::DebugExit: return report.debug_code == 0 ? 0 : 1;
    case StopReason::Crashed: return yado::exit_status(ErrorKind::GuestCrashed);
    case StopReason::None:
    case StopReason::Failed: break;
    }
    return yado::exit_status(ErrorKind::Failed);
}

std::string to_json(const GuestInfo& v) { return dump(encode(v)); }
std::string to_json(const std::vector<GuestInfo>& v) { return dump(encode(v)); }
std::string to_json(const DeviceInfo& v) { return dump(encode(v)); }
std::string to_json(const std::vector<DeviceInfo>& v) { return dump(encode(v)); }
std::string to_json(const Counters& v) { return dump(encode(v)); }
std::string to_json(const EngineStats& v) { return dump(encode(v)); }
std::string to_json(const Event& v) { return dump(encode(v)); }
std::string to_json(const std::vector<DiskState>& v) { return dump(encode(v)); }
std::string to_json(const JobInfo& v) { return dump(encode(v)); }
std::string to_json(const std::vector<JobInfo>& v) { return dump(encode(v)); }
std::string to_json(const LimitsRequest& v) { return dump(encode(v)); }
std::string to_json(const SnapshotRequest& v) { return dump(encode(v)); }
std::string to_json(const CommitRequest& v) { return dump(encode(v)); }
std::string to_json(const ExitReport& v) { return dump(encode(v)); }
std::string to_json(const Error& v) { return dump(encode(ApiError{std::string(kind_name(v.kind())), v.message()})); }

Result<GuestInfo> guest_info_from_json(std::string_view text) { return answer<GuestInfo>(text); }
Result<DeviceInfo> device_from_json(std::string_view text) { return answer<DeviceInfo>(text); }
Result<std::vector<DeviceInfo>> devices_from_json(std::string_view text) { return answer<std::vector<DeviceInfo>>(text); }
Result<Counters> counters_from_json(std::string_view text) { return answer<Counters>(text); }
Result<EngineStats> engine_stats_from_json(std::string_view text) { return answer<EngineStats>(text); }
Result<Event> event_from_json(std::string_view text) { return answer<Event>(text); }
Result<std::vector<DiskState>> disks_from_json(std::string_view text) { return answer<std::vector<DiskState>>(text); }
Result<JobInfo> job_from_json(std::string_view text) { return answer<JobInfo>(text); }
Result<std::vector<JobInfo>> jobs_from_json(std::string_view text) { return answer<std::vector<JobInfo>>(text); }
Result<LimitsRequest> limits_request_from_json(std::string_view text) { return request<LimitsRequest>(text); }
Result<SnapshotRequest> snapshot_request_from_json(std::string_view text) { return request<SnapshotRequest>(text); }
Result<CommitRequest> commit_request_from_json(std::string_view text) { return request<CommitRequest>(text); }
Result<ExitReport> exit_report_from_json(std::string_view text) { return answer<ExitReport>(text); }

Result<Error> error_from_json(std::string_view text) {
    const ApiError error = YADO_TRY(answer<ApiError>(text));
    return Error(kind_from_name(error.kind), error.message);
}

}  // namespace yado::api
