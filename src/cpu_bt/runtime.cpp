#include "cpu_bt/runtime.h"

#include "cpu_bt/flag_tracker.h"
#include "cpu_bt/store_log.h"
#include "cpu_interp/fpu/fpu.h"

namespace yado::cpu_bt {

using cpu_interp::Fpu;
using cpu_interp::TlbEntry;

namespace {

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"
constexpr int kXmmAt = static_cast<int>(offsetof(Fpu, xmm)), kHighAt = static_cast<int>(offsetof(Fpu, ymm_high));
constexpr int kStAt = static_cast<int>(offsetof(Fpu, st)), kTagsAt = static_cast<int>(offsetof(Fpu, ftw));
constexpr int kImageAt = static_cast<int>(offsetof(Fpu, host_image));
static_assert(offsetof(Fpu, fcw) == 0 && offsetof(Fpu, fsw) == 2);
#pragma GCC diagnostic pop

constexpr int jump_entry(size_t member) { return at::kJumps + static_cast<int>(member); }

}  // namespace

Runtime::Runtime(Assembler& code, const Callbacks& callbacks, bool upper_halves) : code_(code), upper_halves_(upper_halves) {
    emit_enter();
    emit_leave();
    emit_interpret(callbacks);
    emit_load_vectors(callbacks);
    emit_load_x87(callbacks);
    emit_miss(callbacks);
    emit_spanned();
    emit_find(callbacks);
    emit_untranslated();
    emit_log_store();
    end_ = code_.here();
}

void Runtime::registers_out(bool volatile_only) {
    for (unsigned guest = 0; guest < kHostOf.size(); ++guest)
        if (const HostReg r = kHostOf[guest]; r != kAtHome && (!volatile_only || is_volatile(r))) code_.store(at::home(guest), r);
}

void Runtime::registers_in(bool volatile_only) {
    for (unsigned guest = 0; guest < kHostOf.size(); ++guest)
        if (const HostReg r = kHostOf[guest]; r != kAtHome && (!volatile_only || is_volatile(r))) code_.load(r, at::home(guest));
}

void Runtime::save_vectors(HostReg fpu) {
    const Xbyak::Reg64 at = Assembler::r64(fpu);
    for (int n = 0; n < 16; ++n) {
        code_.movaps(code_.xword[at + kXmmAt + 16 * n], Xbyak::Xmm(n));
        if (upper_halves_) code_.vextractf128(code_.xword[at + kHighAt + 16 * n], Xbyak::Ymm(n), 1);
    }
    if (upper_halves_) code_.vzeroupper();  // what is called mixes in SSE
}

/// Upper halves of zeros are left "clean": else every SSE instruction would have to merge with what lies above.
void Runtime::load_vectors_from(HostReg fpu) {
    const Xbyak::Reg64 at = Assembler::r64(fpu);
    if (!upper_halves_) {
        for (int n = 0; n < 16; ++n) code_.movaps(Xbyak::Xmm(n), code_.xword[at + kXmmAt + 16 * n]);
        return;
    }
    code_.vmovaps(code_.xmm0, code_.xword[at + kHighAt]);
    for (int n = 1; n < 16; ++n) code_.vorps(code_.xmm0, code_.xmm0, code_.xword[at + kHighAt + 16 * n]);
    code_.vptest(code_.xmm0, code_.xmm0);
    const size_t clean = code_.jump_if(cc::kEqual);
    for (int n = 0; n < 16; ++n) {
        code_.vmovaps(Xbyak::Xmm(n), code_.xword[at + kXmmAt + 16 * n]);
        code_.vinsertf128(Xbyak::Ymm(n), Xbyak::Ymm(n), code_.xword[at + kHighAt + 16 * n], 1);
    }
    const size_t done = code_.jump();
    code_.bind(clean);
    for (int n = 0; n < 16; ++n) code_.vmovaps(Xbyak::Xmm(n), code_.xword[at + kXmmAt + 16 * n]);
    code_.vzeroupper();
    code_.bind(done);
}

/// If they are in the host's: back into Fpu. MXCSR stays, Fpu::place knows. Clobbers rax.
void Runtime::vectors_out() {
    code_.cmp(code_.byte[code_.rbp + at::kVectors], 0);
    const size_t none = code_.jump_if(cc::kEqual);
    code_.load(kRax, at::kFpu);
    save_vectors(kRax);
    code_.mov(code_.byte[code_.rbp + at::kVectors], 0);
    code_.bind(none);
}

/// If it is in the host's: back into Fpu, and what the ABI wants of the host's. FOP, FIP and FDP are not taken: the translation
/// keeps the guest's, and the host's tell of its own addresses. Clobbers rax, rcx, xmm0.
void Runtime::x87_out() {
    code_.cmp(code_.byte[code_.rbp + at::kX87], 0);
    const size_t none = code_.jump_if(cc::kEqual);
    code_.load(kRcx, at::kFpu);
    code_.encode({.map = cpu_interp::Map::Of, .opcode = 0xae, .w = true}, 0, Rm::at(kRcx, -1, 0, kImageAt));  // FXSAVE64
    code_.mov(code_.eax, code_.dword[code_.rcx + kImageAt]);
    code_.mov(code_.dword[code_.rcx], code_.eax);
    code_.mov(code_.al, code_.byte[code_.rcx + kImageAt + kTagsAt]);
    code_.mov(code_.byte[code_.rcx + kTagsAt], code_.al);
    for (int n = 0; n < 8; ++n) {
        code_.movaps(code_.xmm0, code_.xword[code_.rcx + kImageAt + kStAt + 16 * n]);
        code_.movaps(code_.xword[code_.rcx + kStAt + 16 * n], code_.xmm0);
    }
    code_.emms();
    code_.mov(code_.dword[code_.rbp + at::kKept], cpu_interp::kHostControl);
    code_.fldcw(code_.ptr[code_.rbp + at::kKept]);
    code_.mov(code_.byte[code_.rbp + at::kX87], 0);
    code_.bind(none);
}

/// rdi = the Core; other arguments are set already. In a called part: the stack is 8 off.
void Runtime::call_out(const void* function) {
    code_.sub(code_.rsp, 8);
    code_.lea(code_.rdi, code_.ptr[code_.rbp - kBias]);
    code_.mov(code_.rax, reinterpret_cast<uint64_t>(function));
    code_.call(code_.rax);
    code_.add(code_.rsp, 8);
}

/// enter(core, code): translated code runs with rsp a multiple of 16.
void Runtime::emit_enter() {
    enter_ = code_.here();
    for (const HostReg r : {kRbx, kRbp, kR12, kR13, kR14, kR15}) code_.push(Assembler::r64(r));
    code_.sub(code_.rsp, 8);
    code_.lea(code_.rbp, code_.ptr[code_.rdi + kBias]);
    code_.mov(code_.rax, code_.rsi);
    registers_in(false);
    code_.jmp(code_.rax);
}

void Runtime::emit_leave() {
    leave_ = code_.here();
    registers_out(false);
    vectors_out();
    x87_out();
    leave_saved_ = code_.here();
    code_.add(code_.rsp, 8);
    for (const HostReg r : {kR15, kR14, kR13, kR12, kRbp, kRbx}) code_.pop(Assembler::r64(r));
    code_.ret();
}

/// eax: instruction, rcx: block. Returns with the flags in both places, XMM and x87 registers in Fpu.
void Runtime::emit_interpret(const Callbacks& callbacks) {
    interpret_ = code_.here();
    registers_out(false);
    code_.mov(code_.edx, code_.eax);
    code_.mov(code_.rsi, code_.rcx);
    vectors_out();
    x87_out();
    call_out(reinterpret_cast<const void*>(callbacks.interpret));
    code_.test(code_.eax, code_.eax);
    const size_t leaving = code_.jump_if(cc::kNotEqual);
    registers_in(false);
    FlagTracker::emit_load(code_);
    code_.ret();
    code_.bind(leaving);
    code_.add(code_.rsp, 8);
    code_.jump_to(leave_saved_);
}

/// Leaves in front of exit_insn if vector instructions cannot run natively now.
void Runtime::emit_load_vectors(const Callbacks& callbacks) {
    load_vectors_ = code_.here();
    registers_out(true);
    call_out(reinterpret_cast<const void*>(callbacks.begin_vectors));
    registers_in(true);
    code_.test(code_.eax, code_.eax);
    const size_t refused = code_.jump_if(cc::kEqual);
    code_.load(kRax, at::kFpu);
    load_vectors_from(kRax);
    code_.mov(code_.byte[code_.rbp + at::kVectors], 1);
    code_.ret();
    code_.bind(refused);
    code_.add(code_.rsp, 8);
    code_.jump_to(leave_);
}

/// A call that leaves XMM registers as they are. Those of x87 stay where they are: C++ code computes by SSE. Clobbers rcx.
void Runtime::vectors_around(const void* function) {
    code_.cmp(code_.byte[code_.rbp + at::kVectors], 0);
    const size_t none = code_.jump_if(cc::kEqual);
    code_.load(kRcx, at::kFpu);
    save_vectors(kRcx);
    call_out(function);
    code_.load(kRcx, at::kFpu);
    load_vectors_from(kRcx);
    const size_t done = code_.jump();
    code_.bind(none);
    call_out(function);
    code_.bind(done);
}

/// Leaves in front of exit_insn if x87 instructions cannot run natively now.
void Runtime::emit_load_x87(const Callbacks& callbacks) {
    load_x87_ = code_.here();
    registers_out(true);
    vectors_around(reinterpret_cast<const void*>(callbacks.begin_x87));
    registers_in(true);
    code_.mov(code_.byte[code_.rbp + at::kX87], code_.al);
    code_.test(code_.eax, code_.eax);
    const size_t refused = code_.jump_if(cc::kEqual);
    code_.ret();
    code_.bind(refused);
    code_.add(code_.rsp, 8);
    code_.jump_to(leave_);
}

void Runtime::emit_miss(const Callbacks& callbacks) {
    static_assert(static_cast<int>(cpu_interp::TlbFill::Filled) == 0 && static_cast<int>(cpu_interp::TlbFill::Refused) == 1 &&
                  static_cast<int>(cpu_interp::TlbFill::Fault) == 2);
    miss_ = code_.here();
    registers_out(true);
    code_.mov(code_.rdx, code_.rcx);
    code_.load(kRsi, at::kMissed);
    vectors_around(reinterpret_cast<const void*>(callbacks.fill));
    registers_in(true);
    code_.cmp(code_.eax, static_cast<int>(cpu_interp::TlbFill::Fault));
    const size_t fault = code_.jump_if(cc::kEqual);
    code_.cmp(code_.eax, static_cast<int>(cpu_interp::TlbFill::Refused));
    code_.load(kRax, at::kMissed);
    code_.ret();
    code_.bind(fault);
    code_.add(code_.rsp, 8);
    code_.jump_to(leave_);
}

/// An entry's tag equals the address of a page if the page is the entry's (TlbEntry::hit).
void Runtime::emit_spanned() {
    const int tag = static_cast<int>(offsetof(TlbEntry, tag)), host = static_cast<int>(offsetof(TlbEntry, host));
    const auto entry_of = [&](const Xbyak::Reg64& page) {  // into rdx
        code_.mov(code_.edx, page.cvt32());
        code_.shr(code_.edx, 12 - kTlbEntryBits);
        code_.and_(code_.edx, (cpu_interp::kTlbSize - 1) << kTlbEntryBits);
    };
    spanned_ = code_.here();
    code_.push(code_.rdx);
    code_.push(code_.rsi);
    code_.push(code_.rdi);
    code_.lea(code_.rsi, code_.ptr[code_.rbp + code_.rcx]);
    code_.mov(code_.rdi, code_.rax);
    code_.and_(code_.rdi, -4096);
    entry_of(code_.rdi);
    code_.cmp(code_.rdi, code_.qword[code_.rsi + code_.rdx + tag]);
    const size_t first_unknown = code_.jump_if(cc::kNotEqual);
    code_.mov(code_.rcx, code_.qword[code_.rsi + code_.rdx + host]);
    code_.add(code_.rdi, 4096);
    entry_of(code_.rdi);
    code_.cmp(code_.rdi, code_.qword[code_.rsi + code_.rdx + tag]);
    const size_t second_unknown = code_.jump_if(cc::kNotEqual);
    code_.lea(code_.rdi, code_.ptr[code_.rcx + 4096]);
    code_.cmp(code_.rdi, code_.qword[code_.rsi + code_.rdx + host]);
    const size_t apart = code_.jump_if(cc::kNotEqual);
    code_.and_(code_.eax, 4095);
    code_.stc();
    const size_t done = code_.jump();
    for (const size_t jump : {first_unknown, second_unknown, apart}) code_.bind(jump);
    code_.clc();
    code_.bind(done);
    code_.pop(code_.rdi);
    code_.pop(code_.rsi);
    code_.pop(code_.rdx);
    code_.ret();
}

void Runtime::emit_find(const Callbacks& callbacks) {
    find_ = code_.here();
    code_.store(at::kMissed, kRax);
    registers_out(true);
    vectors_around(reinterpret_cast<const void*>(callbacks.find));
    registers_in(true);
    code_.test(code_.eax, code_.eax);
    code_.load(kRax, at::kMissed);
    code_.ret();
}

/// rcx: offset of the jump entry.
void Runtime::emit_untranslated() {
    untranslated_ = code_.here();
    code_.mov(code_.rax, code_.qword[code_.rbp + code_.rcx + jump_entry(offsetof(cpu_interp::JumpEntry, rip))]);
    code_.store(at::kRip, kRax);
    code_.mov(code_.dword[code_.rbp + at::kExitInsn], exit_reason::kUntranslated);
    code_.jump_to(leave_);
}

void Runtime::emit_log_store() {
    log_store_ = code_.here();
    code_.pushfq();
    for (const HostReg r : {kRcx, kRsi, kRdi}) code_.push(Assembler::r64(r));
    code_.load(kRdi, at::kStoreLog);
    code_.mov(code_.ecx, code_.dword[code_.rbp + at::kStoreSize]);
    code_.mov(code_.qword[code_.rdi + offsetof(StoreRecord, host)], code_.rax);
    code_.mov(code_.qword[code_.rdi + offsetof(StoreRecord, size)], code_.rcx);
    code_.mov(code_.qword[code_.rdi + offsetof(StoreRecord, linear)], 0);
    code_.mov(code_.rsi, code_.rax);
    code_.add(code_.rdi, offsetof(StoreRecord, before));
    code_.rep();
    code_.movsb();
    code_.add(code_.qword[code_.rbp + at::kStoreLog], sizeof(StoreRecord));
    for (const HostReg r : {kRdi, kRsi, kRcx}) code_.pop(Assembler::r64(r));
    code_.popfq();
    code_.ret();
}

}  // namespace yado::cpu_bt
