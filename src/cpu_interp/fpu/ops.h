// What the handlers of fpu/ are made of: checks, operands, the wrappers that turn one host instruction into a handler, and
// the table that select_fpu looks into.
//
// An instruction is a struct with `static Xmm run(Xmm a, Xmm b)`: the host's own instruction on the two operands. Forms
// with an immediate call a stub: 256 copies of the instruction, one for each immediate.
#pragma once

#include <bit>

#include "cpu_interp/core.h"
#include "cpu_interp/fpu/fpu.h"

namespace yado::cpu_interp {

using cpu::Feature;
inline constexpr Feature kAlways = Feature::Count;

// --- checks (SDM vol. 3, 13.1 and vol. 2, 2.4 of the legacy SIMD exception classes) -----------------------------------

[[noreturn]] void raise_sse_unavailable(Core& c, const Insn* i);

template <Feature F>
void need_feature(Core& c, const Insn* i) {
    if constexpr (F != kAlways)
        if (!c.wiring.model.has(F)) [[unlikely]] c.raise(i, Vec::UD);
}

template <Feature F = kAlways>
void sse_check(Core& c, const Insn* i) {
    need_feature<F>(c, i);
    if ((c.cr0 & (cpu::cr0::EM | cpu::cr0::TS)) | (~c.cr4 & cpu::cr4::OSFXSR)) [[unlikely]] raise_sse_unavailable(c, i);
}

/// MMX: EM, TS and pending x87 exceptions.
void mmx_check_slow(Core& c, const Insn* i);
template <Feature F = kAlways>
void mmx_check(Core& c, const Insn* i) {
    need_feature<F>(c, i);
    if ((c.cr0 & (cpu::cr0::EM | cpu::cr0::TS)) | (c.fpu->fsw & x87::ES)) [[unlikely]] mmx_check_slow(c, i);
}
/// Changes TOP; the physical registers stay as they are, so their places relative to TOP turn.
void set_top(Fpu& f, unsigned top);
/// Sets FCW and recomputes the exception summary (ES, B).
void set_control_word(Fpu& f, uint16_t fcw);
/// The x87 part as read from an untrusted image: reserved bits fixed, the exception summary consistent.
void normalize_x87(Fpu& f);
/// What every MMX instruction does to x87: TOP 0, all registers valid (SDM vol. 1, 9.5.1).
void mmx_transition(Fpu& f);
inline void set_mm(Fpu& f, unsigned n, uint64_t v) {
    f.mm(n) = v;
    f.st[n & 7].exponent = 0xffff;
}

// --- operands ---------------------------------------------------------------------------------------------------------

enum class Align : uint8_t { None, Natural16 };

template <unsigned W>
struct UintOf;
template <> struct UintOf<1> { using type = uint8_t; };
template <> struct UintOf<2> { using type = uint16_t; };
template <> struct UintOf<4> { using type = uint32_t; };
template <> struct UintOf<8> { using type = uint64_t; };
template <> struct UintOf<16> { using type = Xmm; };

template <unsigned W>
Xmm widen(typename UintOf<W>::type v) {
    if constexpr (W == 16) return v;
    else return Xmm{static_cast<long long>(v), 0};
}

inline void check_aligned16(Core& c, const Insn* i, uint64_t linear) {
    if (linear & 15) [[unlikely]] c.raise(i, Vec::GP, 0);
}

/// The memory operand, W bytes, zero-extended.
template <unsigned W, Align A>
Xmm memory_operand(Core& c, const Insn* i) {
    const uint64_t linear = c.address(i, W, Acc::Read);
    if constexpr (W == 16 && A == Align::Natural16) check_aligned16(c, i, linear);
    return widen<W>(c.load<typename UintOf<W>::type>(i, linear));
}
template <unsigned W, Align A = Align::Natural16>
Xmm operand(Core& c, const Insn* i) {
    return i->mem ? memory_operand<W, A>(c, i) : c.fpu->xmm[i->rm];
}
/// As operand, for a general-purpose register or memory.
template <unsigned W>
uint64_t gpr_operand(Core& c, const Insn* i) {
    using T = typename UintOf<W>::type;
    if (i->mem) return c.load<T>(i, c.address(i, W, Acc::Read));
    return static_cast<T>(c.gpr[i->rm]);
}
template <typename T>
void store_operand(Core& c, const Insn* i, T v) {
    c.store<T>(i, c.address(i, sizeof(T), Acc::Write), v);
}

inline uint64_t low(const Xmm& v) { return static_cast<uint64_t>(v[0]); }
inline uint64_t high(const Xmm& v) { return static_cast<uint64_t>(v[1]); }
inline uint8_t imm8(const Insn* i) { return static_cast<uint8_t>(i->imm); }
template <typename T>
T element(const Xmm& v, unsigned n) {
    T t;
    std::memcpy(&t, reinterpret_cast<const char*>(&v) + sizeof(T) * n, sizeof(T));
    return t;
}
template <typename T>
void set_element(Xmm& v, unsigned n, uint64_t value) {
    std::memcpy(reinterpret_cast<char*>(&v) + sizeof(T) * n, &value, sizeof(T));
}
/// MASKMOVDQU: bytes whose mask has its top bit set go to seg:rDI; what is between them may be probed but is not written.
void masked_byte_store(Core& c, const Insn* i);

// --- floating point ---------------------------------------------------------------------------------------------------

/// Which elements of a result may be exact denormals, for the unmasked underflow exception.
enum class Elem : uint8_t { None, Ps, Pd, Ss, Sd, Ph };

void begin_fp_slow(Fpu& f);
/// `high`: bits 255:128 of the result.
void end_fp_precise(Core& c, const Insn* i, Xmm result, Xmm high, Elem elem);

/// Puts the guest's rounding and flags into the host.
inline void begin_fp(Fpu& f) {
    if (f.place != MxcsrPlace::Host) [[unlikely]] begin_fp_slow(f);
}
/// Raises what the instruction caused and the guest has unmasked. Call before the destination is written.
inline void end_fp(Core& c, const Insn* i, Xmm result = Xmm{0, 0}, Elem elem = Elem::None) {
    if (c.fpu->place == MxcsrPlace::Precise) [[unlikely]] end_fp_precise(c, i, result, Xmm{0, 0}, elem);
}

// --- instructions as types ---------------------------------------------------------------------------------------------

#define YADO_XMM_INSN(prefix, name)                                  \
    struct prefix##name {                                            \
        [[gnu::always_inline]] static Xmm run(Xmm a, Xmm b) {        \
            asm volatile(#name " %1,%0" : "+x"(a) : "x"(b));         \
            return a;                                                \
        }                                                            \
    }

using Stub = Xmm (*)(Xmm a, Xmm b);
/// name(a, b, imm): `text` is the instruction on %xmm1 and %xmm0 with the immediate yado_n. Eight bytes a copy.
#define YADO_IMM_STUBS(name, text)                                                                                     \
    extern "C" [[gnu::visibility("hidden")]] const uint8_t yado_stubs_##name[];                                        \
    asm(".pushsection .text.yado_stubs,\"ax\",@progbits\n.balign 16\nyado_stubs_" #name ":\n.set yado_n,0\n.rept 256\n"  \
        ".balign 8\n" text "\nret\n.set yado_n,yado_n+1\n.endr\n.popsection");                                         \
    struct imm_##name {                                                                                                \
        static Xmm run(Xmm a, Xmm b, uint8_t imm) {                                                                    \
            return reinterpret_cast<Stub>(reinterpret_cast<uintptr_t>(yado_stubs_##name) + imm * 8u)(a, b);            \
        }                                                                                                              \
    }

// --- handlers ------------------------------------------------------------------------------------------------------------

template <class Op, Feature F = kAlways, unsigned W = 16, Align A = Align::Natural16>
void xmm_int(Core& c, const Insn* i) {
    sse_check<F>(c, i);
    const Xmm b = operand<W, A>(c, i);
    Xmm& d = c.fpu->xmm[i->reg];
    d = Op::run(d, b);
    return next(c, i);
}

template <class Op, Feature F = kAlways, unsigned W = 16, Align A = Align::Natural16>
void xmm_int_imm(Core& c, const Insn* i) {
    sse_check<F>(c, i);
    const Xmm b = operand<W, A>(c, i);
    Xmm& d = c.fpu->xmm[i->reg];
    d = Op::run(d, b, imm8(i));
    return next(c, i);
}

template <class Op, unsigned W, Elem E, Feature F = kAlways>
void xmm_fp(Core& c, const Insn* i) {
    sse_check<F>(c, i);
    const Xmm b = operand<W>(c, i);
    Fpu& f = *c.fpu;
    begin_fp(f);
    const Xmm r = Op::run(f.xmm[i->reg], b);
    end_fp(c, i, r, E);
    f.xmm[i->reg] = r;
    return next(c, i);
}

template <class Op, unsigned W, Elem E, Feature F = kAlways>
void xmm_fp_imm(Core& c, const Insn* i) {
    sse_check<F>(c, i);
    const Xmm b = operand<W>(c, i);
    Fpu& f = *c.fpu;
    begin_fp(f);
    const Xmm r = Op::run(f.xmm[i->reg], b, imm8(i));
    end_fp(c, i, r, E);
    f.xmm[i->reg] = r;
    return next(c, i);
}

/// For work with a local buffer: its address must not live on into the tail call.
template <void (*Work)(Core&, const Insn*)>
void then_next(Core& c, const Insn* i) {
    Work(c, i);
    return next(c, i);
}

// --- the table ------------------------------------------------------------------------------------------------------------

/// nullptr: no such form.
struct Row {
    Handler reg = nullptr;
    Handler mem = nullptr;
};

class Table {
  public:
    void both(Map m, Mandatory p, uint8_t op, Handler h) { at(m, p, op) = {h, h}; }
    void reg(Map m, Mandatory p, uint8_t op, Handler h) { at(m, p, op).reg = h; }
    void mem(Map m, Mandatory p, uint8_t op, Handler h) { at(m, p, op).mem = h; }
    const Row& find(const Insn& i) const { return rows_[static_cast<int>(i.map)][static_cast<int>(i.mandatory)][i.opcode]; }

  private:
    Row& at(Map m, Mandatory p, uint8_t op) { return rows_[static_cast<int>(m)][static_cast<int>(p)][op]; }
    Row rows_[4][4][256];
};

void add_sse_int(Table& t);
void add_sse_fp(Table& t);
void add_sse_move(Table& t);
void add_sse_imm(Table& t);
void add_mmx(Table& t);
void add_mmx_convert(Table& t);

/// 0F 71, 72, 73: shifts by an immediate.
Handler select_vector_shift(const Insn& i);
/// D8 to DF and 9B.
Handler select_x87(const Insn& i);
/// FLDCW, FLDENV, FSAVE and the like: what reads or writes the environment only.
Handler select_x87_environment(const Insn& i);
/// #NM, and #MF for instructions that wait.
enum class Waits : bool { No, Yes };
void raise_x87_unavailable(Core& c, const Insn* i, Waits waits);
inline void x87_check(Core& c, const Insn* i, Waits waits) {
    if ((c.cr0 & (cpu::cr0::EM | cpu::cr0::TS)) | (c.fpu->fsw & x87::ES)) [[unlikely]] raise_x87_unavailable(c, i, waits);
}
/// 0F AE: FXSAVE, XSAVE, MXCSR.
Handler select_save(const Insn& i);

}  // namespace yado::cpu_interp
