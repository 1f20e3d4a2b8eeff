// net=user: a NAT network inside this process (libslirp). The guest gets 10.0.2.15 by DHCP, the host is 10.0.2.2, names
// are resolved by 10.0.2.3 as the host resolves them. Needs no privilege.
//
// Made on any thread; all else, and its end, on the executor's thread (or once the executor no longer runs).
#pragma once

#include <netinet/in.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/executor.h"
#include "link/packet_port.h"

namespace yado::net {

/// A port of the host whose connections go to the guest.
struct Forward {
    enum class Protocol : uint8_t { Tcp, Udp };
    Protocol protocol = Protocol::Tcp;
    in_addr host{};             ///< address to listen on
    uint16_t host_port = 0;     ///< not 0
    uint16_t guest_port = 0;    ///< not 0
};

struct UserConfig {
    std::vector<Forward> forwards;
    std::string hostname;           ///< what DHCP tells the guest its name is; empty: nothing
    std::optional<in_addr> dns;     ///< name server that DHCP announces; default 10.0.2.3, the host's own
    bool restrict_to_forwards = false;  ///< restrict=on: the guest reaches nothing outside
};
/// A dotted IPv4 address. Errors: Usage.
Result<in_addr> parse_address(std::string_view text);

/// Errors: Conflict (a forwarded port is taken), Denied (needs privilege), Failed.
Result<std::unique_ptr<link::PacketBackend>> make_user(io::Executor& executor, const UserConfig& config);

}  // namespace yado::net
