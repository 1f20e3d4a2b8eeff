// A guest run in this process: name claimed, guest created, console bridged, control socket served.
#pragma once

#include <memory>
#include <thread>
#include <string>

#include "apps/program.h"
#include "control/console_bridge.h"
#include "control/runtime_dir.h"
#include "control/server.h"
#include "gdb/server.h"

namespace yado::apps {

class HostRun {
  public:
    /// Everything up to the guest's start. On failure nothing is left behind.
    static Result<std::unique_ptr<HostRun>> create(const api::GuestConfig& config, const Platform& platform);
    /// Ends a guest that still runs.
    ~HostRun();

    Result<> start();
    /// Readable once the guest has ended.
    int ended_fd() const { return ended_.get(); }
    api::GuestPort& port() { return guest_->port(); }
    const std::string& socket() const { return socket_; }
    const std::string& console_place() const { return place_; }
    /// What GDB's `target remote` takes; empty if no debugger may connect.
    std::string debugger_place() const { return debugger_ ? debugger_->where() : ""; }
    /// Powers off if it still runs, lets clients read to the end, and tells how the guest ended. Once.
    api::ExitReport finish();
    /// What the engine had counted when the guest ended; after finish().
    const api::EngineStats& engine_stats() const { return engine_stats_; }
    /// Whether they are to be printed then.
    bool wants_engine_stats() const { return wants_engine_stats_; }
    /// Leaves the folder with the report for `yado ps` instead of deleting it.
    void leave_report(const api::ExitReport& report);

  private:
    HostRun() = default;
    Result<> open_debugger(const api::GuestConfig& config);
    control::RuntimeDir::Claim claim_;
    bool keep_folder_ = false;
    std::string socket_, place_;
    std::unique_ptr<assemble::Guest> guest_;
    std::unique_ptr<control::ConsoleBridge> bridge_;
    std::unique_ptr<control::Server> server_;
    std::unique_ptr<gdb::Server> debugger_;
    Fd ended_;
    api::ExitReport report_;
    api::EngineStats engine_stats_;
    bool wants_engine_stats_ = false;
    std::thread waiter_;  ///< calls Guest::wait()
};

}  // namespace yado::apps
