// A guest as a debugger outside of it may touch it. All calls, and the listener's, on the executor's thread.
//
//   attach() -> stopped --resume()--> running --stopped()--> stopped ... -> detach(), or ended()
//
// State and memory can be touched while the guest is stopped only; otherwise the answer is Conflict.
#pragma once

#include <optional>
#include <span>

#include "api/guest_info.h"
#include "cpu/debug.h"
#include "cpu/state.h"
#include "io/executor.h"

namespace yado::vm {

/// Why the guest stopped; without a DebugStop: because it was asked to.
struct DebugEvent {
    unsigned vcpu = 0;
    std::optional<cpu::DebugStop> stop;
};

class DebugListener {
  public:
    virtual ~DebugListener() = default;
    virtual void stopped(const DebugEvent& event) = 0;
    /// The guest has ended: nothing is left to debug. Detaching is allowed, not needed.
    virtual void ended(const api::ExitReport& report) = 0;
};

/// What a vCPU does when the guest goes on.
enum class VcpuAction : uint8_t { Stay, Step, Continue };

class DebugPort {
  public:
    virtual ~DebugPort() = default;

    virtual io::Executor& executor() = 0;
    virtual unsigned vcpus() const = 0;
    virtual bool has_avx() const = 0;

    /// Stops the guest for one debugger. The listener outlives the debugging. Errors: Conflict (another debugger is
    /// attached, the guest has not started or has ended).
    virtual Result<> attach(DebugListener& listener) = 0;
    /// Ends the debugging: breakpoints go. Stopped guests stay so unless told to run.
    enum class Leave : uint8_t { AsItIs, Running };
    virtual void detach(Leave leave) = 0;
    /// Ends the guest.
    virtual void kill() = 0;

    /// Makes a running guest stop; stopped() may be called before this returns. Nothing if it is stopped.
    virtual Result<> interrupt() = 0;
    /// One action a vCPU. stopped() may be called before this returns. Errors: Conflict (not stopped), Usage (no action for
    /// each vCPU, or all stay), what the engine says of breakpoints.
    virtual Result<> resume(std::span<const VcpuAction> actions) = 0;

    virtual Result<cpu::CpuState> state(unsigned vcpu) = 0;
    /// Errors: Corrupt (no processor can hold it; nothing changed).
    virtual Result<> set_state(unsigned vcpu, const cpu::CpuState& state) = 0;

    /// Memory as a vCPU's page tables show it, whatever their rights, and RAM itself. Errors: OutOfRange (not all of it is RAM;
    /// nothing was written).
    virtual Result<> read(unsigned vcpu, GuestLinearAddr address, std::span<std::byte> out) = 0;
    virtual Result<> write(unsigned vcpu, GuestLinearAddr address, std::span<const std::byte> in) = 0;
    virtual Result<> read_physical(GuestPhysAddr address, std::span<std::byte> out) = 0;
    virtual Result<> write_physical(GuestPhysAddr address, std::span<const std::byte> in) = 0;

    /// On all vCPUs. Adding what is there, and removing what is not, changes nothing. Errors: OutOfRange (too many).
    virtual Result<> add_breakpoint(GuestLinearAddr address) = 0;
    virtual void remove_breakpoint(GuestLinearAddr address) = 0;
    virtual Result<> add_watchpoint(const cpu::Watchpoint& watchpoint) = 0;
    virtual void remove_watchpoint(const cpu::Watchpoint& watchpoint) = 0;
};

}  // namespace yado::vm
