// The control socket: HTTP/1.1 with JSON on a unix socket, on a thread of its own.
//
//     client -> accept -> session (one coroutine a connection) -> route table (api/routes.h) -> GuestPort
//
// A client can slow down or starve nobody but itself: connections, headers, bodies and waiting are bounded (Limits).
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "api/guest_port.h"
#include "base/error.h"

namespace yado::control {

struct Limits {
    size_t connections = 64;
    size_t header_bytes = 8 * 1024;
    size_t body_bytes = 1024 * 1024;
    std::chrono::milliseconds request_time{10'000};  ///< for a whole request to arrive, and between requests
    std::chrono::milliseconds write_time{30'000};    ///< for an answer or a piece of a stream to be taken
    std::chrono::milliseconds drain_time{1'000};     ///< for streams to be read to their end at close()
};

class Server {
  public:
    /// Listens at `path` (made with mode 0600; its folder is the caller's to protect) and serves until close(). The port
    /// outlives the server. Errors: Conflict (the path exists), Usage (too long a path), Denied, Failed.
    static Result<std::unique_ptr<Server>> start(const std::string& path, api::GuestPort& port, Limits limits = {});
    /// Refuses new connections, lets streams read what is left, then ends all and removes the socket. Once.
    void close();
    ~Server();

    class Impl;

  private:
    explicit Server(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace yado::control
