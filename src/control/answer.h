// What a request that is no stream answers: pure, so that it is tested without a socket.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/guest_port.h"
#include "api/routes.h"

namespace yado::control {

struct Request {
    std::string_view method;
    std::string_view target;  ///< "/v1/console?tail=100"
    std::string_view body;
};

struct Answer {
    unsigned status = 200;
    std::string content_type = "application/json";
    std::string body;
    std::string allow;  ///< the Allow header of a 405
};

unsigned http_status(ErrorKind kind);
Answer error_answer(const Error& error);

/// The route of a request, or the 404 or 405 answer.
struct Routed {
    const api::Route* route = nullptr;
    std::string_view id;  ///< what stood for "{id}"
    Answer refusal;
};
Routed route_request(const Request& request);

/// A whole-number query parameter. Errors: Usage (malformed).
Result<std::optional<uint64_t>> query_number(std::string_view target, std::string_view name);

/// Runs an operation that is no stream.
Answer perform(const Routed& routed, const Request& request, api::GuestPort& port);

}  // namespace yado::control
