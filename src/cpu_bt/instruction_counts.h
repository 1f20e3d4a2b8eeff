// How often which instruction was met: a small hash table, so that counting is a few loads and the names (Zydis) are made when
// somebody asks. One thread counts, any may ask.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <optional>
#include <string>

#include "base/counter.h"
#include "cpu_interp/insn.h"

namespace yado::cpu_bt {

class InstructionCounts {
  public:
    void add(const cpu_interp::Insn& i);
    /// Counts by mnemonic; what the table had no room for as "others".
    std::map<std::string, uint64_t> by_mnemonic() const;

  private:
    static constexpr unsigned kSlots = 1024, kMostProbes = 16;
    struct Slot {
        std::atomic<uint32_t> key{0};  ///< 0: free
        Counter count;
    };
    std::array<Slot, kSlots> slots_;
    Counter others_;
};

/// The instruction's mnemonic, "?" if it has none.
std::string mnemonic_of(const cpu_interp::Insn& i);

}  // namespace yado::cpu_bt
