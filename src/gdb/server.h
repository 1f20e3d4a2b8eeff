// Listens for a debugger and serves one at a time.
//
//     listen() -> serve() -> a client connects -> Conversation: the guest stops -> it leaves -> the next may come
//
// A second client is hung up on. Sockets are served on the port's executor; listen(), serve() and the destructor are called on
// another thread.
#pragma once

#include <memory>
#include <string>

#include "api/guest_config.h"
#include "vm/debug_port.h"

namespace yado::gdb {

class Server {
  public:
    /// The port outlives the server. `config` is not GdbKind::None. A unix socket is made with mode 0600. Errors: Conflict (port
    /// or path in use), Denied, Usage (path too long), Failed.
    static Result<std::unique_ptr<Server>> listen(const api::GdbConfig& config, vm::DebugPort& port);
    /// Takes connections from now on. Once; the guest has been started. Errors: Failed.
    Result<> serve();
    /// What GDB's `target remote` takes.
    const std::string& where() const;
    /// Hangs up; a guest that is stopped stays so.
    ~Server();

    class Impl;

  private:
    explicit Server(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace yado::gdb
