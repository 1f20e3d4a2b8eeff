// Runs a case on the host CPU, in this process: code at its address, registers loaded by a small assembly trampoline,
// faults caught as signals on a stack of their own. Linux x86-64 only; one instance a process, one thread.
#pragma once

#include "machine.h"

namespace yado::oracle {

/// Whether the host's CPU and kernel know YMM registers.
inline bool has_avx() { return __builtin_cpu_supports("avx"); }

class Native {
  public:
    Native();
    ~Native();
    Native(const Native&) = delete;

    /// The window's bytes, to set up and to compare; page 2 is writable only through this.
    uint8_t* window() const { return window_alias_; }
    uint8_t* code() const { return reinterpret_cast<uint8_t*>(kCode); }
    Outcome run(const Case& test);

  private:
    uint8_t* window_alias_ = nullptr;
};

}  // namespace yado::oracle
