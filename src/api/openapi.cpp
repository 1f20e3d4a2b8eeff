// The OpenAPI 3.1 document: schemas from the field tables, paths from the route table.
#include "api/encode.h"
#include "api/routes.h"

namespace yado::api {

namespace {

constexpr Route kRoutes[] = {
    {"GET", "/v1/guest", Operation::GetGuest, "getGuest", "State and make of the guest", "GuestInfo", "", ""},
    {"GET", "/v1/devices", Operation::GetDevices, "getDevices", "Its devices", "[]DeviceInfo", "", ""},
    {"GET", "/v1/counters", Operation::GetCounters, "getCounters", "Its counters by name", "Counters", "", ""},
    {"GET", "/v1/engine", Operation::GetEngine, "getEngine", "What its engine counted, by vCPU", "EngineStats", "", ""},
    {"POST", "/v1/pause", Operation::Pause, "pause", "Stop all vCPUs", "", "", ""},
    {"POST", "/v1/resume", Operation::Resume, "resume", "Let a paused guest go on", "", "", ""},
    {"POST", "/v1/reset", Operation::Reset, "reset", "Press the reset button", "", "", ""},
    {"POST", "/v1/power-button", Operation::PowerButton, "powerButton", "Press the ACPI power button", "", "", ""},
    {"POST", "/v1/power-off", Operation::PowerOff, "powerOff", "Pull the plug", "", "", ""},
    {"GET", "/v1/disks", Operation::GetDisks, "getDisks", "Its disks as they are now", "[]DiskState", "", ""},
    {"POST", "/v1/disks/limits", Operation::LimitDisk, "limitDisk", "Change a disk's limits (LimitsRequest)", "", "", "application/json"},
    {"POST", "/v1/disks/snapshot", Operation::SnapshotDisks, "snapshotDisks",
     "Begin a snapshot of disks, all at one moment (SnapshotRequest); the event job-ended tells when it is there", "JobInfo", "", "application/json"},
    {"POST", "/v1/disks/commit", Operation::CommitDisk, "commitDisk", "Begin to fold a disk's image into the one below it (CommitRequest)", "JobInfo", "",
     "application/json"},
    {"GET", "/v1/jobs", Operation::GetJobs, "getJobs", "The last jobs, the newest last", "[]JobInfo", "", ""},
    {"POST", "/v1/jobs/cancel", Operation::CancelJob, "cancelJob", "Cut a job off", "", "job", ""},
    {"POST", "/v1/disks", Operation::AttachDisk, "attachDisk", "Put a disk into a hot-plug slot; the guest is told", "DeviceInfo", "", "DiskConfig", 201},
    {"DELETE", "/v1/disks/{id}", Operation::DetachDisk, "detachDisk",
     "Ask the guest to let go of a disk, or with force=1 pull it out; the event disk-removed tells when its image is closed", "", "force", ""},
    {"GET", "/v1/events", Operation::GetEvents, "getEvents", "Events: those after number `after`, then new ones as they come",
     "text/event-stream", "after", ""},
    {"GET", "/v1/console", Operation::GetConsole, "getConsole",
     "What the console printed from position `from`, or its last `tail` bytes, then more as it comes. With `Upgrade: yado-console`: 101, and the connection "
     "carries typed bytes to the guest as well (one typist at a time)",
     "application/octet-stream", "from tail", ""},
    {"POST", "/v1/console", Operation::TypeConsole, "typeConsole", "Type the body", "", "", "application/octet-stream"},
    {"POST", "/v1/console/size", Operation::ResizeConsole, "resizeConsole", "Tell the guest the terminal's size", "", "columns rows", ""},
    {"GET", "/v1/openapi.json", Operation::GetOpenApi, "getOpenApi", "This document", "application/json", "", ""},
};

Json schema_of(const std::string*) { return {{"type", "string"}}; }
Json schema_of(const Bytes*) { return {{"type", "integer"}, {"format", "int64"}, {"minimum", 0}}; }
Json schema_of(const std::chrono::seconds*) { return {{"type", "integer"}, {"minimum", 0}, {"maximum", 86'400}}; }
Json schema_of(const Nanoseconds*) { return {{"type", "integer"}, {"format", "int64"}}; }
template <typename T>
    requires std::is_integral_v<T>
Json schema_of(const T*) {
    Json out = {{"type", "integer"}};
    if constexpr (std::is_unsigned_v<T>) out["minimum"] = 0;
    return out;
}
template <typename T>
    requires std::is_enum_v<T>
Json schema_of(const T*) {
    Json words = Json::array();
    for (const std::string_view word : kWords<T>) words.push_back(std::string(word));
    return {{"type", "string"}, {"enum", words}};
}

Json reference(std::string_view name) { return {{"$ref", "#/components/schemas/" + std::string(name)}}; }

Json schema_of(const Counters*) { return reference("Counters"); }
Json schema_of(const std::vector<CounterGroup>*) { return {{"type", "array"}, {"items", reference("CounterGroup")}}; }
Json schema_of(const std::vector<std::string>*) { return {{"type", "array"}, {"items", {{"type", "string"}}}}; }
Json schema_of(const std::vector<DiskSnapshot>*) { return {{"type", "array"}, {"items", reference("DiskSnapshot")}}; }
Json schema_of(const std::vector<VcpuStats>*) { return {{"type", "array"}, {"items", reference("VcpuStats")}}; }

struct SchemaMaker {
    Json properties = Json::object();
    Json required = Json::array();
    template <typename T>
    void operator()(const char* name, const T& member, const char* description) {
        properties[name] = schema_of(&member);
        properties[name]["description"] = description;
        required.push_back(name);
    }
};

template <typename T>
Json object_schema() {
    SchemaMaker maker;
    const T object{};
    fields(maker, object);
    return {{"type", "object"}, {"properties", maker.properties}, {"required", maker.required}};
}

/// Of a disk that is asked for, only the path is needed.
Json disk_schema() {
    Json schema = object_schema<DiskConfig>();
    schema["required"] = Json::array({"path"});
    return schema;
}

Json success_of(const Route& route) {
    if (route.response.empty()) return {{"description", "Done"}};
    std::string media = "application/json";
    Json schema;
    if (route.response.find('/') != route.response.npos) {
        media = route.response;
        schema = {{"type", media == "application/json" ? "object" : "string"}};
    } else if (route.response.starts_with("[]")) {
        schema = {{"type", "array"}, {"items", reference(route.response.substr(2))}};
    } else {
        schema = reference(route.response);
    }
    return {{"description", "Done"}, {"content", {{media, {{"schema", schema}}}}}};
}

Json parameters_of(const Route& route) {
    Json out = Json::array();
    if (route.path.ends_with("{id}")) out.push_back(Json{{"name", "id"}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
    std::string_view rest = route.parameters;
    while (!rest.empty()) {
        const size_t space = std::min(rest.find(' '), rest.size());
        out.push_back({{"name", std::string(rest.substr(0, space))}, {"in", "query"}, {"schema", {{"type", "integer"}, {"minimum", 0}}}});
        rest.remove_prefix(std::min(space + 1, rest.size()));
    }
    return out;
}

Json body_of(std::string_view body) {
    if (body.find('/') == body.npos) return {{"content", {{"application/json", {{"schema", reference(body)}}}}}};
    return {{"content", {{std::string(body), {{"schema", {{"type", "string"}}}}}}}};
}

std::string lower(std::string_view method) {
    std::string word(method);
    for (char& c : word) c = static_cast<char>(c | 0x20);
    return word;
}

Json operation_of(const Route& route) {
    Json out = {{"operationId", std::string(route.id)}, {"summary", std::string(route.summary)}};
    if (Json parameters = parameters_of(route); !parameters.empty()) out["parameters"] = std::move(parameters);
    if (!route.body.empty()) out["requestBody"] = body_of(route.body);
    const Json error = {{"description", "Refused"}, {"content", {{"application/json", {{"schema", reference("ApiError")}}}}}};
    const std::string status = route.success ? std::to_string(route.success) : route.response.empty() ? "204" : "200";
    out["responses"] = {{status, success_of(route)}, {"default", error}};
    return out;
}

}  // namespace

std::span<const Route> routes() { return kRoutes; }

std::string openapi_document() {
    Json paths = Json::object();
    for (const Route& route : kRoutes)
        paths[std::string(route.path)][lower(route.method)] = operation_of(route);
    const Json counters = {{"type", "object"}, {"additionalProperties", {{"type", "integer"}, {"minimum", 0}}}};
    const Json schemas = {{"GuestInfo", object_schema<GuestInfo>()}, {"DeviceInfo", object_schema<DeviceInfo>()},
                          {"Event", object_schema<Event>()},         {"Counters", counters},
                          {"CounterGroup", object_schema<CounterGroup>()}, {"VcpuStats", object_schema<VcpuStats>()},
                          {"EngineStats", object_schema<EngineStats>()},
                          {"DiskState", object_schema<DiskState>()}, {"LimitsRequest", object_schema<LimitsRequest>()},
                          {"SnapshotRequest", object_schema<SnapshotRequest>()}, {"CommitRequest", object_schema<CommitRequest>()},
                          {"DiskSnapshot", object_schema<DiskSnapshot>()}, {"JobInfo", object_schema<JobInfo>()}, {"ApiError", object_schema<ApiError>()},
                          {"DiskConfig", disk_schema()}};
    return dump({{"openapi", "3.1.0"},
                 {"info", {{"title", "Yado guest control socket"}, {"version", "1"}}},
                 {"paths", paths},
                 {"components", {{"schemas", schemas}}}});
}

}  // namespace yado::api
