// Listening sockets of this host: a path, or an address and a port. Non-blocking. Any thread.
#pragma once

#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace yado::io {

enum class SocketAccess : uint8_t {
    Owner,  ///< only this user may connect
    Umask,  ///< whoever the umask lets
};
/// `name` begins the errors. Errors: Usage (the path is too long), Conflict (it exists), Denied, NotFound.
Result<Fd> listen_unix(const std::string& path, const std::string& name, SocketAccess access = SocketAccess::Owner);

struct TcpListener {
    Fd fd;
    uint16_t port;  ///< the one that was given; if that was 0, the one that was free
};
/// `address` is IPv4 or IPv6, as numbers. Errors: Usage (no such address), Conflict (in use), Denied.
Result<TcpListener> listen_tcp(const std::string& address, uint16_t port, const std::string& name);

}  // namespace yado::io
