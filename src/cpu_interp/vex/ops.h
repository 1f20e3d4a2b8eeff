// What the handlers of vex/ are made of: checks, operands, and the wrappers that turn a stub (stubs.h) into a handler.
//
// A pointer to the lower half of a YMM register or temporary names the whole: the upper half lies 256 bytes behind it
// (Fpu::vectors).
#pragma once

#include "cpu_interp/fpu/ops.h"
#include "cpu_interp/vex/stubs.h"
#include "cpu_interp/vex/table.h"

namespace yado::cpu_interp::vex {

// --- checks ---------------------------------------------------------------------------------------------------------------

[[noreturn]] void raise_unavailable(Core& c, const Insn* i);

/// SDM vol. 2, 2.4, exception classes of VEX instructions: #UD in real and virtual-8086 mode, without OSXSAVE, without
/// XCR0[2:1] = 11b; #NM for TS. A model that lacks AVX cannot set XCR0.AVX.
template <Feature F = Feature::AVX>
[[gnu::always_inline]] inline void avx_check(Core& c, const Insn* i) {
    need_feature<F>(c, i);
    constexpr uint64_t kState = cpu::kXcr0Sse | cpu::kXcr0Avx;
    const uint64_t cr0 = (c.cr0 ^ cpu::cr0::PE) & (cpu::cr0::PE | cpu::cr0::TS);
    const uint64_t missing = cr0 | (~c.cr4 & cpu::cr4::OSXSAVE) | (~c.xcr0 & kState) | (c.sysflags & cpu::rflags::VM);
    if (missing) [[unlikely]] raise_unavailable(c, i);
}

/// L0: 128 bits, L1: 256.
inline constexpr bool L0 = false, L1 = true;
/// Integer instructions of 256 bits came with AVX2.
template <bool L>
inline constexpr Feature kInteger = L ? Feature::AVX2 : Feature::AVX;

// --- operands -------------------------------------------------------------------------------------------------------------

inline Xmm* ymm(Fpu& f, unsigned n) { return &f.vectors[n]; }
inline Xmm& upper(Xmm* low) { return low[16]; }
inline const Xmm& upper(const Xmm* low) { return low[16]; }
/// Temporaries by use.
inline constexpr unsigned kMemory = 32, kResult = 33, kCount = 34, kSplit = 36;

/// Writes a 128-bit result and clears what lies above.
inline void set_xmm(Fpu& f, unsigned n, Xmm v) {
    f.xmm[n] = v;
    f.ymm_high[n] = Xmm{};
}

enum class Aligned : bool { No, Yes };

inline uint64_t checked_address(Core& c, const Insn* i, unsigned size, Acc acc, Aligned aligned) {
    const uint64_t linear = c.address(i, size, acc);
    if (aligned == Aligned::Yes && linear & (size - 1)) [[unlikely]] c.raise(i, Vec::GP, 0);
    return linear;
}

/// Loads 16 or 32 bytes. Halves fault as the whole does.
template <bool L>
void load_vector(Core& c, const Insn* i, uint64_t linear, Xmm* to) {
    *to = c.load<Xmm>(i, linear);
    if constexpr (L) upper(to) = c.load<Xmm>(i, linear + 16);
}
/// Stores 16 or 32 bytes; nothing if it faults.
template <bool L>
void store_vector(Core& c, const Insn* i, uint64_t linear, const Xmm* from) {
    if constexpr (!L) return c.store<Xmm>(i, linear, *from);
    if ((linear & 4095) > 4096 - 32) [[unlikely]] {
        Xmm* const both = ymm(*c.fpu, kSplit);
        both[0] = *from;
        both[1] = upper(from);
        return c.store_slow(i, linear, both, 32);
    }
    const Xmm high = upper(from);
    c.store<Xmm>(i, linear, *from);
    c.store<Xmm>(i, linear + 16, high);
}

/// The r/m operand: the register, or the temporary that W bytes of memory were loaded into. No alignment.
template <unsigned W>
const Xmm* source(Core& c, const Insn* i) {
    Fpu& f = *c.fpu;
    if (!i->mem) return ymm(f, i->rm);
    Xmm* const to = ymm(f, kMemory);
    const uint64_t linear = c.address(i, W, Acc::Read);
    if constexpr (W == 32) load_vector<L1>(c, i, linear, to);
    else *to = widen<W>(c.load<typename UintOf<W>::type>(i, linear));
    return to;
}

/// Bytes of a memory operand that is as wide as the vector, or a half, a quarter, an eighth of it.
template <bool L, unsigned Part = 1>
inline constexpr unsigned kWidth = (L ? 32 : 16) / Part;

// --- stubs ----------------------------------------------------------------------------------------------------------------

/// The guest's own instruction.
struct ByOpcode {
    static uintptr_t stub(const Insn* i) { return stub_at(stub_index(i->map, i->rex_w, i->vex_l, i->mandatory, i->opcode)); }
};
/// As above for forms whose W is the size of a general-purpose register.
struct BySize {
    static uintptr_t stub(const Insn* i) { return stub_at(stub_index(i->map, i->opsize == 8, false, i->mandatory, i->opcode)); }
};
/// A copy by immediate (YADO_VEX_IMM).
template <const uint8_t* Copies>
struct ByImm {
    static uintptr_t stub(const Insn* i) { return reinterpret_cast<uintptr_t>(Copies) + imm8(i) * kStubBytes; }
};

template <bool L>
void run(Xmm* d, const Xmm* reg, const Xmm* vvvv, const Xmm* rm, uintptr_t stub) {
    if constexpr (L) return yado_vex_run256(d, reg, vvvv, rm, stub);
    yado_vex_run128(d, reg, vvvv, rm, stub);
    upper(d) = Xmm{};
}

// --- handlers -------------------------------------------------------------------------------------------------------------

/// reg = op(reg, vvvv, r/m) without MXCSR.
template <class Stub, bool L, unsigned W, Feature F>
void vector(Core& c, const Insn* i) {
    avx_check<F>(c, i);
    const Xmm* const rm = source<W>(c, i);
    Fpu& f = *c.fpu;
    run<L>(ymm(f, i->reg), ymm(f, i->reg), ymm(f, i->vvvv), rm, Stub::stub(i));
    return next(c, i);
}

/// Raises what the instruction caused and the guest has unmasked, else takes the result over.
template <bool L>
[[gnu::noinline, gnu::cold]] void finish_precise(Core& c, const Insn* i, unsigned destination, Elem elem) {
    Fpu& f = *c.fpu;
    const Xmm* const result = ymm(f, kResult);
    end_fp_precise(c, i, *result, upper(result), elem);
    f.xmm[destination] = *result;
    f.ymm_high[destination] = upper(result);
}

/// As vector, under MXCSR. With unmasked exceptions the destination has to wait.
template <class Stub, bool L, unsigned W, Elem E = Elem::None, Feature F = Feature::AVX>
void fp(Core& c, const Insn* i) {
    avx_check<F>(c, i);
    const Xmm* const rm = source<W>(c, i);
    Fpu& f = *c.fpu;
    begin_fp(f);
    const bool precise = f.place == MxcsrPlace::Precise;
    run<L>(ymm(f, precise ? kResult : i->reg), ymm(f, i->reg), ymm(f, i->vvvv), rm, Stub::stub(i));
    if (precise) [[unlikely]] finish_precise<L>(c, i, i->reg, E);
    return next(c, i);
}

}  // namespace yado::cpu_interp::vex
