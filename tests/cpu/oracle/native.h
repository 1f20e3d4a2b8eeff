// Runs a case on the host CPU, in this process: code at its address, registers loaded by a small assembly trampoline,
// faults caught as signals on a stack of their own. Linux x86-64 only; one instance a process, one thread.
#pragma once

#include <sys/auxv.h>

#include "machine.h"

namespace yado::oracle {

/// Whether the host's CPU and kernel know YMM registers.
inline bool has_avx() { return __builtin_cpu_supports("avx"); }

/// Whether the host's kernel keeps FS and GS bases that a process has written (Linux, HWCAP2_FSGSBASE). One that does not sets
/// them back when it switches processes: rarely inside a case, and for good after FS was loaded with a selector.
inline bool keeps_segment_bases() { return getauxval(AT_HWCAP2) & 2; }

class Native {
  public:
    Native();
    ~Native();
    Native(const Native&) = delete;

    /// The window's bytes, to set up and to compare; page 2 is writable only through this.
    uint8_t* window() const { return window_alias_; }
    uint8_t* code() const { return reinterpret_cast<uint8_t*>(kCode); }
    Outcome run(const Case& test);
    /// Whether the host's kernel lets a process run code of this mode; 16-bit code is in segments of the LDT. Some kernels are
    /// built without, some virtual machines' do not get them.
    bool runs(Mode mode) const { return runs_[static_cast<int>(mode)]; }

  private:
    bool probe(Mode mode);

    uint8_t* window_alias_ = nullptr;
    bool runs_[3] = {};
};

}  // namespace yado::oracle
