// A debugger outside of the guest: where its breakpoints and watchpoints are, and what was hit. The guest sees nothing of it.
//
// Breakpoints: no block is entered in a linear page that holds one (run.cpp: breakpoints_near), so its code runs instruction
//   by instruction and the run loop looks before each. Blocks and translations end at their page and are found by linear
//   address when control comes there, so nothing else has to know, and all other pages run at full speed. Whoever finds
//   blocks in another way, or makes them cross pages, has to ask, too.
// Watchpoints: a watched page has no TLB entry, so that accesses come to memory.cpp's slow side. In a block the instruction
//   is given up before it has done anything and run alone; then, and where translated code called for it, a request makes
//   the run loop look.
// Thread: the vCPU's own, or while it is stopped.
#pragma once

#include <optional>

#include "cpu/debug.h"
#include "cpu_interp/core.h"

namespace yado::cpu_interp {

class ExternalDebug {
  public:
    explicit ExternalDebug(const cpu::DebugControl& control);

    bool single_step() const { return control_.single_step; }
    bool breaks_at(uint64_t linear) const;
    bool breaks_in_page(uint64_t linear) const;
    bool watches_page(uint64_t linear) const;
    /// The first watched byte of an access.
    std::optional<uint64_t> watched(uint64_t linear, unsigned size, Acc acc) const;

    std::optional<uint64_t> hit;  ///< the first watched byte that was accessed since the last stop
    const cpu::DebugControl& control() const { return control_; }

  private:
    cpu::DebugControl control_;  // breakpoints sorted
};

/// Makes a vCPU stop where `control` says and nowhere else. While it is stopped.
void arm(Core& c, const cpu::DebugControl& control);

inline bool stepped(const Core& c) { return c.debug && c.debug->single_step(); }
/// Before the next instruction and after one or more were done: whether the debugger wants the vCPU now.
std::optional<cpu::DebugStop> stop_before(Core& c);
std::optional<cpu::DebugStop> stop_after(Core& c);

}  // namespace yado::cpu_interp
