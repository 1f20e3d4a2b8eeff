// A guest's run state and the verbs that change it.
//
//   starting --start--> running <--pause/resume--> paused
//                         |  reset: as it was, running or paused (or stopped, where reboots end the guest)
//                         v
//                      stopped (power off, crash, debug exit, force; while starting, too): final
//
// A debugger stops the guest as pause does, and while it holds it, nobody else can resume it.
//
// Verbs run one at a time on the control executor's thread. What the guest itself asks for (power-off port, reset
// line, triple fault), and what the host cannot give it (a disk that is full), comes from a vCPU's or device's thread: it holds the vCPUs at once, so that the guest does not run on, and the
// rest follows on the control executor.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "api/guest_info.h"
#include "io/executor.h"
#include "vm/inventory.h"
#include "vm/processors.h"

namespace yado::vm {

class RunControl {
  public:
    struct Wiring {
        io::Executor& executor;
        Processors& processors;
        Inventory& inventory;
        /// Puts memory and vCPUs into their boot state; everything is stopped. Used by start and by reset.
        std::function<Result<>()> boot;
        /// Says what happened, in the words of api::Event ("paused", "powered-off" ...). Control executor's thread.
        std::function<void(std::string_view kind, std::string_view detail)> event;
        bool stop_on_reset = false;
    };
    explicit RunControl(Wiring wiring) : wiring_(std::move(wiring)) {}

    // Control executor's thread. Errors: Conflict (not in a state that allows it).
    enum class Then : uint8_t { Run, StayPaused };
    /// Once. One that was stopped before stays so.
    Result<> start(Then then = Then::Run);
    Result<> pause();
    Result<> resume();
    Result<> reset();
    Result<> stop(api::ExitReport why);
    /// Changes the machine while no vCPU runs: `change` is told whether its devices do. Errors: Conflict (not started, ended), and its own.
    enum class Devices : uint8_t { Quiet, Running };
    Result<> change_machine(const std::function<Result<>(Devices)>& change);

    // A debugger's, often and without events. Control executor's thread. Errors: Conflict (not started, ended).
    Result<> debugger_holds();
    Result<> debugger_continues();
    /// It holds the guest no longer; what is paused stays so.
    void debugger_leaves() { held_by_debugger_ = false; }

    // Any thread: what the guest asked for.
    void guest_wants_reset();
    void guest_stops(api::ExitReport why);
    /// Holds the vCPUs now and calls `change` as change_machine() does; nothing is called in a guest that has ended.
    void guest_changes_machine(std::function<void(Devices)> change);
    /// Something on the host failed that the guest cannot go on without: told as an event of that kind, and the guest is
    /// paused until somebody resumes it. Any thread.
    void host_pauses(std::string_view kind, std::string reason);

    api::RunState state() const { return state_; }
    std::optional<api::ExitReport> stopped() const { return *stopped_.lock(); }
    /// host_pauses()'s, until the guest runs again or is reset.
    std::string pause_reason() const { return *pause_reason_.lock(); }

  private:
    Result<> restart(Then then);
    void freeze();
    void thaw();
    void pause_for(const std::string& reason);

    Wiring wiring_;
    bool started_ = false;  ///< control executor's thread
    bool held_by_debugger_ = false;
    std::atomic<api::RunState> state_{api::RunState::Starting};
    Guarded<std::optional<api::ExitReport>, LockRank::Leaf> stopped_;
    Guarded<std::string, LockRank::Leaf> pause_reason_;
};

}  // namespace yado::vm
