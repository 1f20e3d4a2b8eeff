// The code that translated blocks share, at the start of the code cache: the way in, the way out, and calls into C++.
//
//   enter()        C++ -> translated code, until it is left
//   interpret      run one instruction by the interpreter in the middle of a block
//   load_vectors   XMM registers and MXCSR into the host's
//   load_x87       x87 state into the host's
//   find           the jump cache does not know a target: look at the decoded blocks
//   miss           the TLB does not serve an access: walk the page tables, or fault
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
    /// Puts the x87 state into the host's; XMM registers may be lost. 0: x87 and MMX instructions have to be interpreted now.
    uint64_t (*begin_x87)(Core* core);
    /// Fills the TLB: what tlb_fill() answers. `what` as packed by Miss.
    uint64_t (*fill)(Core* core, uint64_t linear, uint64_t what);
    /// Enters the block at NativeState::missed into the jump cache. 0: it can't.
    uint64_t (*find)(Core* core);
};

/// An access that missed, packed into 64 bits. For a group's check the linear address is that of the group's lowest byte.
struct Miss {
    unsigned size;
    bool write;
    bool aligned;             ///< must lie at a multiple of its size
    uint32_t insn;            ///< of the block
    uint16_t at = 0;          ///< of the access in its group
    uint16_t span = 0;        ///< of the group; 0: none
    bool group_write = false;

    cpu_interp::Acc access() const { return write ? cpu_interp::Acc::Write : cpu_interp::Acc::Read; }
    cpu_interp::Acc group_access() const { return group_write ? cpu_interp::Acc::Write : cpu_interp::Acc::Read; }
    uint64_t packed() const {
        return size | uint64_t{write} << 6 | uint64_t{aligned} << 7 | uint64_t{insn} << 8 | uint64_t{at} << 16 | uint64_t{span} << 32 |
               uint64_t{group_write} << 48;
    }
    static Miss unpack(uint64_t v) {
        return {static_cast<unsigned>(v & 63), (v >> 6 & 1) != 0, (v >> 7 & 1) != 0, static_cast<uint32_t>(v >> 8 & 0xff),
                static_cast<uint16_t>(v >> 16), static_cast<uint16_t>(v >> 32), (v >> 48 & 1) != 0};
    }
};

inline constexpr int kTlbEntryBits = 4;
static_assert(sizeof(cpu_interp::TlbEntry) == 1 << kTlbEntryBits);

/// Offsets of the shared parts; `interpret`, `load_vectors`, `load_x87`, `miss` and `spanned` are called, `leave` is jumped to.
class Runtime {
  public:
    /// upper_halves: YMM registers, not XMM registers, are the guest's vectors.
    Runtime(Assembler& code, const Callbacks& callbacks, bool upper_halves);

    size_t interpret() const { return interpret_; }
    size_t load_vectors() const { return load_vectors_; }
    size_t load_x87() const { return load_x87_; }
    /// rcx: a packed Miss; NativeState::missed, exit_block. Returns with rax = the linear address, ZF: try again.
    size_t miss() const { return miss_; }
    /// rax: linear address of a group, rcx: offset of its table of the TLB in Core. Returns with CF if the group goes on from a page that the
    /// TLB knows into the next, which it knows, too, and the two are neighbours in the host's memory, as in large pages: rax is then the
    /// offset in the first page, rcx that page's host address. Else rax as it was.
    size_t spanned() const { return spanned_; }
    /// rax: a target that the jump cache does not know. Returns with rax as it was, ZF clear: try again.
    size_t find() const { return find_; }
    /// rax: host address of a store to come, NativeState::store_size: appends to NativeState::store_log. Changes nothing else.
    size_t log_store() const { return log_store_; }
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
    void emit_load_x87(const Callbacks& callbacks);
    void emit_miss(const Callbacks& callbacks);
    void emit_spanned();
    void emit_find(const Callbacks& callbacks);
    void emit_untranslated();
    void emit_log_store();
    void registers_out(bool volatile_only);
    void registers_in(bool volatile_only);
    void save_vectors(HostReg fpu);
    void load_vectors_from(HostReg fpu);
    void vectors_out();
    void x87_out();
    void vectors_around(const void* function);
    void call_out(const void* function);

    Assembler& code_;
    bool upper_halves_;
    size_t enter_ = 0, leave_ = 0, leave_saved_ = 0, interpret_ = 0, load_vectors_ = 0, load_x87_ = 0, miss_ = 0, spanned_ = 0, find_ = 0, untranslated_ = 0, log_store_ = 0, end_ = 0;
};

}  // namespace yado::cpu_bt
