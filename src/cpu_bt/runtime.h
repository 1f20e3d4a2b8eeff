// The code that translated blocks share, at the start of the code cache: the way in, the way out, and calls into C++.
//
//   enter()        C++ -> translated code, until it is left
//   interpret      run one instruction by the interpreter in the middle of a block
//   load_vectors   XMM registers and MXCSR into the host's
//   leave          translated code -> C++, guest registers back into Core; NativeState says why
// Thread: the vCPU's own.
#pragma once

#include "cpu_bt/assembler.h"

namespace yado::cpu_bt {

/// NativeState::exit_insn where it is not the number of the instruction to go on with.
namespace exit_reason {
inline constexpr uint32_t kResume = 0x100;        ///< Core::rip says where, or Core::faulted
inline constexpr uint32_t kFollow = 0x101;        ///< to Core::rip in the same page, flags in memory; exit_link may be set
inline constexpr uint32_t kFollowFlags = 0x102;   ///< the same; a link enters with flags in the host
inline constexpr uint32_t kUntranslated = 0x103;  ///< to Core::rip, whose block has no translation
}  // namespace exit_reason

/// Called from translated code; what the interpreter does for it. noexcept: no exception passes through translated code.
struct Callbacks {
    /// Runs instruction n of the block. 0: go on behind it; else leave (exit_insn and rip are set).
    uint64_t (*interpret)(Core* core, cpu_interp::Block* block, uint32_t n);
    /// Makes MXCSR the guest's. 0: vector instructions have to be interpreted now.
    uint64_t (*begin_vectors)(Core* core);
};

/// Offsets of the shared parts; `interpret` and `load_vectors` are called, `leave` is jumped to.
class Runtime {
  public:
    Runtime(Assembler& code, const Callbacks& callbacks);

    size_t interpret() const { return interpret_; }
    size_t load_vectors() const { return load_vectors_; }
    /// Flags must be in Core::aflags or dead.
    size_t leave() const { return leave_; }
    size_t untranslated() const { return untranslated_; }
    size_t enter() const { return enter_; }
    size_t end() const { return end_; }

  private:
    void emit_enter();
    void emit_leave();
    void emit_interpret(const Callbacks& callbacks);
    void emit_load_vectors(const Callbacks& callbacks);
    void emit_untranslated();
    void registers_out(bool volatile_only);
    void registers_in(bool volatile_only);
    void vectors_out();
    void call_out(const void* function);

    Assembler& code_;
    size_t enter_ = 0, leave_ = 0, leave_saved_ = 0, interpret_ = 0, load_vectors_ = 0, untranslated_ = 0, end_ = 0;
};

}  // namespace yado::cpu_bt
