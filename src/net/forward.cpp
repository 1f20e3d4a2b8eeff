#include <arpa/inet.h>

#include <array>
#include <charconv>

#include "net/user.h"

namespace yado::net {
namespace {

Result<uint16_t> parse_port(std::string_view text, std::string_view whole) {
    uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size() || port == 0)
        return fail(ErrorKind::Usage, "forward={}: '{}' is not a port (1 to 65535)", whole, text);
    return port;
}

}  // namespace

Result<in_addr> parse_address(std::string_view text) {
    in_addr address{};
    if (inet_pton(AF_INET, std::string(text).c_str(), &address) != 1)
        return fail(ErrorKind::Usage, "'{}' is not an IPv4 address", text);
    return address;
}

Result<Forward> parse_forward(std::string_view text) {
    std::array<std::string_view, 4> part;
    std::string_view rest = text;
    for (size_t i = 0; i < 4; ++i) {
        const size_t colon = i < 3 ? rest.find(':') : rest.size();
        if (colon == std::string_view::npos || (i == 3 && rest.find(':') != std::string_view::npos))
            return fail(ErrorKind::Usage, "forward={}: write tcp:HOSTIP:PORT:GUESTPORT or udp:HOSTIP:PORT:GUESTPORT", text);
        part[i] = rest.substr(0, colon);
        rest.remove_prefix(i < 3 ? colon + 1 : colon);
    }
    Forward f;
    if (part[0] != "tcp" && part[0] != "udp")
        return fail(ErrorKind::Usage, "forward={}: '{}' is neither tcp nor udp", text, part[0]);
    f.protocol = part[0] == "tcp" ? Forward::Protocol::Tcp : Forward::Protocol::Udp;
    f.host = YADO_TRY(parse_address(part[1].empty() ? "127.0.0.1" : part[1]));
    f.host_port = YADO_TRY(parse_port(part[2], text));
    f.guest_port = YADO_TRY(parse_port(part[3], text));
    return f;
}

}  // namespace yado::net
