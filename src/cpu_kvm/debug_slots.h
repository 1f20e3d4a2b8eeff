// A debugger's breakpoints and watchpoints in the four debug registers of the processor. Pure: no file descriptor here.
// SDM vol. 3, 17.2.
#pragma once

#include <array>
#include <optional>

#include "base/error.h"
#include "cpu/debug.h"

namespace yado::cpu_kvm {

class DebugSlots {
  public:
    /// Errors: OutOfRange (they need more than four registers; a watchpoint needs one for every aligned piece of 1, 2, 4 or
    /// 8 bytes).
    static Result<DebugSlots> create(const cpu::DebugControl& control);

    uint64_t address(size_t slot) const { return slots_[slot].address; }
    /// DR7 with all used slots enabled.
    uint64_t dr7() const;
    /// What the hits in DR6 mean; nullopt: none of ours.
    std::optional<cpu::DebugStop> stop_of(uint64_t dr6) const;

  private:
    struct Slot {
        uint64_t address = 0;
        unsigned size = 1;
        unsigned access = 0;  ///< DR7's R/W field: 0 execution, 1 writes, 3 reads and writes
        bool used = false;
    };
    Result<> add(const Slot& slot);
    Result<> add(const cpu::Watchpoint& watchpoint);

    std::array<Slot, 4> slots_{};
};

}  // namespace yado::cpu_kvm
