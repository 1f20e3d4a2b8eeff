// What translator and interpreter must agree on after the same instructions: registers and the bytes that either has stored.
// Thread: the vCPU's own.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "cpu_bt/store_log.h"
#include "cpu_interp/core.h"
#include "cpu_interp/fpu/fpu.h"

namespace yado::cpu_bt {

using cpu_interp::Core;

/// All that user-mode instructions change without help of the system, and what an attempt at one may leave behind.
struct Registers {
    /// The guest's MXCSR comes home.
    void take(Core& c);
    void put(Core& c) const;

    static constexpr uint16_t kArithmetic = 0xd501;  ///< of aflags: SF ZF AF PF CF, OF

    std::array<uint64_t, 16> gpr;
    uint64_t rip, sysflags, cr2, icount;
    uint16_t aflags;
    /// As Fpu begins: FXSAVE's layout, then the upper halves of YMM. What lies behind them are the interpreter's own temporaries.
    std::array<std::byte, offsetof(cpu_interp::Fpu, temporary)> fpu;
};

/// Bytes that one of two engines stored or both did, and that are not the same afterwards.
struct MemoryDifference {
    uint64_t linear;  ///< 0: not known
    uint8_t before, translator, interpreter;
};

struct Difference {
    Registers before, translator, interpreter;
    bool rip = false;                ///< RIP counts
    std::vector<MemoryDifference> memory;
    std::string interpreter_raised;  ///< what the interpreter did instead of coming to the end; may be empty

    bool any() const;
};

/// What the translator had stored, kept after it was undone.
class StoredBytes {
  public:
    /// To be called before the log is undone.
    void keep(const StoreLog& log);
    /// Compares memory as the interpreter has left it.
    void compare(const StoreLog& translator, const StoreLog& interpreter, std::vector<MemoryDifference>& found) const;

  private:
    std::array<std::array<uint8_t, StoreRecord::kMostBytes>, StoreLog::kMostRecords> after_;
};

}  // namespace yado::cpu_bt
