// Carries a guest's console to a pty, file or socket, on a thread of its own. (A terminal attaches through the control
// socket instead: src/apps/terminal.h.)
#pragma once

#include <memory>
#include <string>

#include "api/console_hub.h"
#include "api/guest_config.h"
#include "base/error.h"

namespace yado::control {

class ConsoleBridge {
  public:
    /// The hub outlives the bridge. Errors: Denied, NotFound, Conflict (socket path exists), Failed; they name the path.
    static Result<std::unique_ptr<ConsoleBridge>> start(const api::ConsoleConfig& config, api::ConsoleHub& hub);
    /// Writes out what is left and ends.
    virtual ~ConsoleBridge() = default;
    /// "pty /dev/pts/3", "file out.log", "none".
    virtual std::string where() const = 0;
};

}  // namespace yado::control
