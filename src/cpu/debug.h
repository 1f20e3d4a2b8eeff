// What a debugger outside of the guest asks of a vCPU, and what stops it. Addresses are linear. The guest must not see
// any of it where the engine can hide it: its own debug registers and RFLAGS.TF are for its own use.
#pragma once

#include <vector>

#include "base/units.h"

namespace yado::cpu {

enum class WatchKind : uint8_t { Write, Read, Access };
struct Watchpoint {
    GuestLinearAddr address;
    Bytes size;  ///< at least 1
    WatchKind kind = WatchKind::Write;
    friend bool operator==(const Watchpoint&, const Watchpoint&) = default;
};

struct DebugControl {
    /// Stop after one instruction. Interrupts are held back meanwhile, unless the vCPU is halted.
    bool single_step = false;
    /// Stop before the instruction there, also where it is the first to run.
    std::vector<GuestLinearAddr> breakpoints;
    /// Stop after the instruction that accessed any byte of one. An engine on hardware may take reads for accesses.
    std::vector<Watchpoint> watchpoints;

    bool empty() const { return !single_step && breakpoints.empty() && watchpoints.empty(); }
    friend bool operator==(const DebugControl&, const DebugControl&) = default;
};

enum class DebugReason : uint8_t { Step, Breakpoint, Watchpoint };

/// The vCPU stopped between two instructions.
struct DebugStop {
    DebugReason reason = DebugReason::Step;
    GuestLinearAddr address;  ///< Watchpoint: the first watched byte that was accessed; else the next instruction
};

}  // namespace yado::cpu
