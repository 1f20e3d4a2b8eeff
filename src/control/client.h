// The client's side of a control socket. Blocking calls with a deadline; one thread at a time.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"

namespace yado::control {

class Client {
  public:
    /// Errors: NotFound (no socket), Unreachable (nobody listens), Denied.
    static Result<Client> connect(const std::string& socket_path, Nanoseconds patience = std::chrono::seconds(10));

    /// The body of a good answer, "" where it has none. Errors: what the guest answered, Unreachable (hung up), TimedOut.
    Result<std::string> get(std::string_view target) { return ask("GET", target, {}); }
    Result<std::string> post(std::string_view target, std::string_view body = {}) { return ask("POST", target, body); }
    Result<std::string> remove(std::string_view target) { return ask("DELETE", target, {}); }

    /// A stream after its head: bytes come until end of file; what came with the head is in `first`.
    struct Stream {
        Fd socket;
        std::string first;
    };
    enum class Direction : uint8_t { Read, ReadAndWrite };
    /// Gives the connection up to a stream (/v1/events, /v1/console).
    Result<Stream> stream(std::string_view target, Direction direction) &&;

  private:
    Client(Fd socket, Nanoseconds patience) : socket_(std::move(socket)), patience_(patience) {}
    struct Reply {
        unsigned status;
        std::string body;
    };
    Result<std::string> ask(std::string_view method, std::string_view target, std::string_view body);
    Result<Reply> exchange(std::string_view method, std::string_view target, std::string_view body);
    Result<> send_all(std::string_view bytes);
    Result<size_t> receive(std::string& into);

    Fd socket_;
    Nanoseconds patience_;
};

}  // namespace yado::control
