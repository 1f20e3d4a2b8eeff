// The control socket's routes, once: the server dispatches by this table and the OpenAPI document lists it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace yado::api {

enum class Operation : uint8_t {
    GetGuest, GetDevices, GetCounters, GetEngine, GetEvents, GetConsole, TypeConsole, ResizeConsole, GetOpenApi,
    Pause, Resume, Reset, PowerButton, PowerOff,
    GetDisks, AttachDisk, DetachDisk, LimitDisk, SnapshotDisks, CommitDisk, GetJobs, CancelJob,
};

struct Route {
    std::string_view method;
    std::string_view path;       ///< "{id}" at its end stands for one segment
    Operation operation;
    std::string_view id;         ///< OpenAPI operationId
    std::string_view summary;
    std::string_view response;   ///< schema name, "[]NAME" for a list of it, "text/event-stream" and the like, or "" (204)
    std::string_view parameters; ///< query parameters, space-separated: all optional whole numbers
    std::string_view body;       ///< media type of the request body, schema name of a JSON one, or ""
    unsigned success = 0;        ///< HTTP status; 0: 204 without a response, 200 with one
};

std::span<const Route> routes();

}  // namespace yado::api
