#include "io/listener.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

namespace yado::io {

namespace {

constexpr int kBacklog = 16;

Result<Fd> listen_at(int family, const sockaddr* address, socklen_t size, const std::string& name) {
    Fd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    if (!fd || (family != AF_UNIX && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)) return fail_errno(name);
    if (bind(fd.get(), address, size) != 0 || ::listen(fd.get(), kBacklog) != 0) return fail_errno(name);
    return fd;
}

uint16_t bound_port(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
    if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

Result<Fd> listen_ipv4(const std::string& text, uint16_t port, const std::string& name) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    if (inet_pton(AF_INET, text.c_str(), &address.sin_addr) != 1) return fail(ErrorKind::Usage, "{}: no such address", name);
    return listen_at(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof address, name);
}

Result<Fd> listen_ipv6(const std::string& text, uint16_t port, const std::string& name) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    if (inet_pton(AF_INET6, text.c_str(), &address.sin6_addr) != 1) return fail(ErrorKind::Usage, "{}: no such address", name);
    return listen_at(AF_INET6, reinterpret_cast<const sockaddr*>(&address), sizeof address, name);
}

}  // namespace

Result<Fd> listen_unix(const std::string& path, const std::string& name, SocketAccess access) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    if (path.size() >= sizeof address.sun_path) return fail(ErrorKind::Usage, "{}: the path is too long", name);
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const auto listen = [&] { return listen_at(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address, name); };
    if (access == SocketAccess::Umask) return listen();
    const mode_t old = umask(0177);
    auto listening = listen();
    umask(old);
    return listening;
}

Result<TcpListener> listen_tcp(const std::string& address, uint16_t port, const std::string& name) {
    const bool six = address.find(':') != std::string::npos;
    Fd fd = YADO_TRY(six ? listen_ipv6(address, port, name) : listen_ipv4(address, port, name));
    const uint16_t bound = bound_port(fd.get());
    return TcpListener{std::move(fd), bound};
}

}  // namespace yado::io
