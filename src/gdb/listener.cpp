#include "gdb/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

namespace yado::gdb {

namespace {

constexpr int kBacklog = 4;

std::string what(const api::GdbConfig& config) { return "gdb " + api::to_string(config); }

Result<Fd> listen_at(int family, const sockaddr* address, socklen_t size, const std::string& name) {
    Fd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    if (!fd || (family != AF_UNIX && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)) return fail_errno(name);
    if (bind(fd.get(), address, size) != 0 || ::listen(fd.get(), kBacklog) != 0) return fail_errno(name);
    return fd;
}

Result<Listener> open_unix(const api::GdbConfig& config) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    if (config.path.size() >= sizeof address.sun_path) return fail(ErrorKind::Usage, "{}: the path is too long", what(config));
    config.path.copy(address.sun_path, sizeof address.sun_path - 1);
    const mode_t old = umask(0177);
    auto listening = listen_at(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address, what(config));
    umask(old);
    Fd fd = YADO_TRY(std::move(listening));
    return Listener{std::move(fd), config.path, config.path};
}

uint16_t bound_port(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
    if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

Result<Fd> open_ipv4(const api::GdbConfig& config) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(config.port);
    if (inet_pton(AF_INET, config.address.c_str(), &address.sin_addr) != 1) return fail(ErrorKind::Usage, "{}: no such address", what(config));
    return listen_at(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof address, what(config));
}

Result<Fd> open_ipv6(const api::GdbConfig& config) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(config.port);
    if (inet_pton(AF_INET6, config.address.c_str(), &address.sin6_addr) != 1) return fail(ErrorKind::Usage, "{}: no such address", what(config));
    return listen_at(AF_INET6, reinterpret_cast<const sockaddr*>(&address), sizeof address, what(config));
}

Result<Listener> open_tcp(const api::GdbConfig& config) {
    const bool six = config.address.find(':') != std::string::npos;
    Fd fd = YADO_TRY(six ? open_ipv6(config) : open_ipv4(config));
    api::GdbConfig bound = config;
    bound.port = bound_port(fd.get());
    return Listener{std::move(fd), api::to_string(bound).substr(std::strlen("tcp:")), {}};
}

}  // namespace

Result<Listener> open_listener(const api::GdbConfig& config) {
    if (config.kind == api::GdbKind::Unix) return open_unix(config);
    return open_tcp(config);
}

}  // namespace yado::gdb
