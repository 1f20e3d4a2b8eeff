// The listening socket of a configuration.
#pragma once

#include <string>

#include "api/guest_config.h"
#include "base/fd.h"

namespace yado::gdb {

struct Listener {
    Fd fd;
    std::string where;   ///< for `target remote`
    std::string unlink;  ///< the unix socket's path, to be removed at the end
};

/// Errors: Conflict (in use), Denied, Usage (path too long), Failed.
Result<Listener> open_listener(const api::GdbConfig& config);

}  // namespace yado::gdb
