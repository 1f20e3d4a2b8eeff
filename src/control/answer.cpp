#include "control/answer.h"

#include <charconv>

namespace yado::control {

namespace {

Answer json(std::string body) { return {200, "application/json", std::move(body), {}}; }

Answer done(const Result<>& result) {
    if (!result) return error_answer(result.error());
    return {204, {}, {}, {}};
}

Result<> type(api::ConsoleHub& hub, std::string_view bytes) {
    auto typist = YADO_TRY(hub.type());
    const size_t taken = typist.write(bytes);
    if (taken == bytes.size()) return {};
    return fail(ErrorKind::Conflict, "the guest took {} of {} bytes; type the rest later", taken, bytes.size());
}

Result<> resize(api::ConsoleHub& hub, std::string_view target) {
    const auto columns = YADO_TRY(query_number(target, "columns"));
    const auto rows = YADO_TRY(query_number(target, "rows"));
    if (!columns || !rows || *columns > 0xffff || *rows > 0xffff)
        return fail(ErrorKind::Usage, "columns and rows are needed, from 0 to 65535");
    hub.resize(static_cast<uint16_t>(*columns), static_cast<uint16_t>(*rows));
    return {};
}

Answer begun(const Result<api::JobInfo>& job) { return job ? json(api::to_json(*job)) : error_answer(job.error()); }

Result<> limit_disk(api::GuestPort& port, std::string_view body) { return port.limit_disk(YADO_TRY(api::limits_request_from_json(body))); }
Result<api::JobInfo> snapshot_disks(api::GuestPort& port, std::string_view body) {
    return port.snapshot_disks(YADO_TRY(api::snapshot_request_from_json(body)));
}
Result<api::JobInfo> commit_disk(api::GuestPort& port, std::string_view body) { return port.commit_disk(YADO_TRY(api::commit_request_from_json(body))); }

Result<> cancel_job(api::GuestPort& port, std::string_view target) {
    const auto job = YADO_TRY(query_number(target, "job"));
    if (!job) return fail(ErrorKind::Usage, "job is needed: its number");
    return port.cancel_job(*job);
}

Answer attach(api::GuestPort& port, const Request& request) {
    auto disk = api::disk_config_from_json(request.body);
    if (!disk) return error_answer(disk.error());
    const auto attached = port.attach_disk(std::move(*disk));
    if (!attached) return error_answer(attached.error());
    Answer answer = json(api::to_json(*attached));
    answer.status = 201;
    return answer;
}

Result<> detach(api::GuestPort& port, std::string_view id, std::string_view target) {
    const auto force = YADO_TRY(query_number(target, "force"));
    return port.detach_disk(id, force.value_or(0) ? api::Detach::Force : api::Detach::Ask);
}

/// What stands for "{id}" at the end of a route's path, or nothing if it is another path. Without one: "", if they are equal.
std::optional<std::string_view> match(std::string_view pattern, std::string_view path) {
    constexpr std::string_view kId = "{id}";
    if (!pattern.ends_with(kId)) return pattern == path ? std::optional<std::string_view>("") : std::nullopt;
    pattern.remove_suffix(kId.size());
    if (!path.starts_with(pattern) || path.size() == pattern.size()) return std::nullopt;
    path.remove_prefix(pattern.size());
    return path.find('/') == path.npos ? std::optional(path) : std::nullopt;
}

}  // namespace

unsigned http_status(ErrorKind kind) {
    switch (kind) {
    case ErrorKind::Usage:
    case ErrorKind::OutOfRange:
    case ErrorKind::Corrupt: return 400;
    case ErrorKind::NotFound: return 404;
    case ErrorKind::Conflict: return 409;
    case ErrorKind::Denied: return 403;
    case ErrorKind::Unreachable: return 502;
    case ErrorKind::TimedOut: return 504;
    case ErrorKind::Failed:
    case ErrorKind::GuestCrashed: break;
    }
    return 500;
}

Answer error_answer(const Error& error) { return {http_status(error.kind()), "application/json", api::to_json(error), {}}; }

Routed route_request(const Request& request) {
    const std::string_view path = request.target.substr(0, request.target.find('?'));
    std::string allow;
    for (const api::Route& route : api::routes()) {
        const auto id = match(route.path, path);
        if (!id) continue;
        if (route.method == request.method) return {&route, *id, {}};
        allow += (allow.empty() ? "" : ", ") + std::string(route.method);
    }
    if (allow.empty())
        return {nullptr, {}, error_answer(Error(ErrorKind::NotFound, "no such path; GET /v1/openapi.json lists them"))};
    Routed routed{nullptr, {}, error_answer(Error(ErrorKind::Usage, "this path takes " + allow))};
    routed.refusal.status = 405;
    routed.refusal.allow = allow;
    return routed;
}

Result<std::optional<uint64_t>> query_number(std::string_view target, std::string_view name) {
    size_t at = target.find('?');
    while (at != target.npos) {
        std::string_view item = target.substr(at + 1);
        at = target.find('&', at + 1);
        item = item.substr(0, item.find('&'));
        if (!item.starts_with(name) || item.size() == name.size() || item[name.size()] != '=') continue;
        item.remove_prefix(name.size() + 1);
        uint64_t number = 0;
        const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), number);
        if (error != std::errc() || end != item.data() + item.size() || item.empty())
            return fail(ErrorKind::Usage, "{} must be a whole number", name);
        return std::optional(number);
    }
    return std::optional<uint64_t>();
}

Answer perform(const Routed& routed, const Request& request, api::GuestPort& port) {
    switch (routed.route->operation) {
    case api::Operation::GetGuest: return json(api::to_json(port.info()));
    case api::Operation::GetDevices: return json(api::to_json(port.devices()));
    case api::Operation::GetCounters: return json(api::to_json(port.counters()));
    case api::Operation::GetEngine: return json(api::to_json(port.engine_stats()));
    case api::Operation::GetOpenApi: return json(api::openapi_document());
    case api::Operation::Pause: return done(port.pause());
    case api::Operation::Resume: return done(port.resume());
    case api::Operation::Reset: return done(port.reset());
    case api::Operation::PowerButton: return done(port.power_button());
    case api::Operation::PowerOff: return done(port.power_off());
    case api::Operation::AttachDisk: return attach(port, request);
    case api::Operation::DetachDisk: return done(detach(port, routed.id, request.target));
    case api::Operation::TypeConsole: return done(type(port.console(), request.body));
    case api::Operation::ResizeConsole: return done(resize(port.console(), request.target));
    case api::Operation::GetDisks: return json(api::to_json(port.disks()));
    case api::Operation::LimitDisk: return done(limit_disk(port, request.body));
    case api::Operation::SnapshotDisks: return begun(snapshot_disks(port, request.body));
    case api::Operation::CommitDisk: return begun(commit_disk(port, request.body));
    case api::Operation::GetJobs: return json(api::to_json(port.jobs()));
    case api::Operation::CancelJob: return done(cancel_job(port, request.target));
    case api::Operation::GetEvents:
    case api::Operation::GetConsole: break;  // streams
    }
    return error_answer(Error(ErrorKind::Failed, "not a plain operation"));
}

}  // namespace yado::control
