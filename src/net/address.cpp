#include <arpa/inet.h>

#include "net/user.h"

namespace yado::net {

Result<in_addr> parse_address(std::string_view text) {
    in_addr address{};
    if (inet_pton(AF_INET, std::string(text).c_str(), &address) != 1)
        return fail(ErrorKind::Usage, "'{}' is not an IPv4 address", text);
    return address;
}

}  // namespace yado::net
