#include "gdb/listener.h"

#include <cstring>

#include "io/listener.h"

namespace yado::gdb {

Result<Listener> open_listener(const api::GdbConfig& config) {
    const std::string name = "gdb " + api::to_string(config);
    if (config.kind == api::GdbKind::Unix) return Listener{YADO_TRY(io::listen_unix(config.path, name)), config.path, config.path};
    io::TcpListener listening = YADO_TRY(io::listen_tcp(config.address, config.port, name));
    api::GdbConfig bound = config;
    bound.port = listening.port;
    return Listener{std::move(listening.fd), api::to_string(bound).substr(std::strlen("tcp:")), {}};
}

}  // namespace yado::gdb
