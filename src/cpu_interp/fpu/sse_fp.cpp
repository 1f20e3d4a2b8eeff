// SSE floating point under MXCSR: arithmetic, comparison, conversion.
#include "cpu_interp/fpu/ops.h"

namespace yado::cpu_interp {

namespace {

// clang-format off
#define YADO_ARITH(X) \
    X(0x51, sqrt, None) X(0x58, add, Arith) X(0x59, mul, Arith) X(0x5c, sub, Arith) X(0x5d, min, None) X(0x5e, div, Arith) X(0x5f, max, None)
// clang-format on

#define X(op, name, kind) \
    YADO_XMM_INSN(f_, name##ps); YADO_XMM_INSN(f_, name##pd); YADO_XMM_INSN(f_, name##ss); YADO_XMM_INSN(f_, name##sd);
YADO_ARITH(X)
#undef X
YADO_XMM_INSN(f_, rsqrtps); YADO_XMM_INSN(f_, rsqrtss); YADO_XMM_INSN(f_, rcpps); YADO_XMM_INSN(f_, rcpss);
YADO_XMM_INSN(f_, haddps); YADO_XMM_INSN(f_, haddpd); YADO_XMM_INSN(f_, hsubps); YADO_XMM_INSN(f_, hsubpd);
YADO_XMM_INSN(f_, addsubps); YADO_XMM_INSN(f_, addsubpd);
YADO_XMM_INSN(f_, cvtps2pd); YADO_XMM_INSN(f_, cvtpd2ps); YADO_XMM_INSN(f_, cvtss2sd); YADO_XMM_INSN(f_, cvtsd2ss);
YADO_XMM_INSN(f_, cvtdq2ps); YADO_XMM_INSN(f_, cvtps2dq); YADO_XMM_INSN(f_, cvttps2dq);
YADO_XMM_INSN(f_, cvtdq2pd); YADO_XMM_INSN(f_, cvtpd2dq); YADO_XMM_INSN(f_, cvttpd2dq);

// --- comparisons into EFLAGS ---------------------------------------------------------------------------------------------

#define YADO_COMPARE(name)                                                                                         \
    struct f_##name {                                                                                              \
        static uint16_t run(Xmm a, Xmm b) {                                                                        \
            uint16_t flags;                                                                                        \
            asm volatile(#name " %1,%2\n\tlahf\n\tseto %%al" : "=a"(flags) : "x"(b), "x"(a) : "cc");               \
            return flags;                                                                                          \
        }                                                                                                          \
    }
YADO_COMPARE(comiss); YADO_COMPARE(comisd); YADO_COMPARE(ucomiss); YADO_COMPARE(ucomisd);

template <class Op, unsigned W>
void compare(Core& c, const Insn* i) {
    sse_check(c, i);
    const Xmm b = operand<W>(c, i);
    Fpu& f = *c.fpu;
    begin_fp(f);
    const uint16_t flags = Op::run(f.xmm[i->reg], b);
    end_fp(c, i);
    c.aflags = flags;
    return next(c, i);
}

// --- conversions with general-purpose registers ----------------------------------------------------------------------------

#define YADO_FROM_GPR(name)                                                          \
    struct f_##name {                                                                \
        static Xmm run32(Xmm a, uint32_t b) {                                        \
            asm volatile(#name "l %1,%0" : "+x"(a) : "r"(b));                        \
            return a;                                                                \
        }                                                                            \
        static Xmm run64(Xmm a, uint64_t b) {                                        \
            asm volatile(#name "q %1,%0" : "+x"(a) : "r"(b));                        \
            return a;                                                                \
        }                                                                            \
    }
YADO_FROM_GPR(cvtsi2ss); YADO_FROM_GPR(cvtsi2sd);

template <class Op>
void from_gpr(Core& c, const Insn* i) {
    sse_check(c, i);
    const uint64_t b = i->rex_w ? gpr_operand<8>(c, i) : gpr_operand<4>(c, i);
    Fpu& f = *c.fpu;
    begin_fp(f);
    const Xmm a = f.xmm[i->reg];
    const Xmm r = i->rex_w ? Op::run64(a, b) : Op::run32(a, static_cast<uint32_t>(b));
    end_fp(c, i);
    f.xmm[i->reg] = r;
    return next(c, i);
}

#define YADO_TO_GPR(name)                                                            \
    struct f_##name {                                                                \
        static uint64_t run32(Xmm b) {                                               \
            uint32_t r;                                                              \
            asm volatile(#name " %1,%0" : "=r"(r) : "x"(b));                         \
            return r;                                                                \
        }                                                                            \
        static uint64_t run64(Xmm b) {                                               \
            uint64_t r;                                                              \
            asm volatile(#name " %1,%0" : "=r"(r) : "x"(b));                         \
            return r;                                                                \
        }                                                                            \
    }
YADO_TO_GPR(cvtss2si); YADO_TO_GPR(cvttss2si); YADO_TO_GPR(cvtsd2si); YADO_TO_GPR(cvttsd2si);

template <class Op, unsigned W>
void to_gpr(Core& c, const Insn* i) {
    sse_check(c, i);
    const Xmm b = operand<W>(c, i);
    begin_fp(*c.fpu);
    const uint64_t r = i->rex_w ? Op::run64(b) : Op::run32(b);
    end_fp(c, i);
    c.gpr[i->reg] = r;
    return next(c, i);
}

/// Result elements that can be exact denormals, by form.
struct None_ {
    static constexpr Elem ps = Elem::None, pd = Elem::None, ss = Elem::None, sd = Elem::None;
};
struct Arith_ {
    static constexpr Elem ps = Elem::Ps, pd = Elem::Pd, ss = Elem::Ss, sd = Elem::Sd;
};

void add_arithmetic(Table& t) {
    using enum Mandatory;
#define X(op, name, kind)                                                 \
    t.both(Map::Of, None, op, xmm_fp<f_##name##ps, 16, kind##_::ps>);     \
    t.both(Map::Of, P66, op, xmm_fp<f_##name##pd, 16, kind##_::pd>);      \
    t.both(Map::Of, PF3, op, xmm_fp<f_##name##ss, 4, kind##_::ss>);       \
    t.both(Map::Of, PF2, op, xmm_fp<f_##name##sd, 8, kind##_::sd>);
    YADO_ARITH(X)
#undef X
    t.both(Map::Of, None, 0x52, xmm_int<f_rsqrtps>);  // the approximations neither read nor set MXCSR but for rounding of
    t.both(Map::Of, None, 0x53, xmm_int<f_rcpps>);    // denormals, which they treat as zero
    t.both(Map::Of, PF3, 0x52, xmm_int<f_rsqrtss, kAlways, 4>);
    t.both(Map::Of, PF3, 0x53, xmm_int<f_rcpss, kAlways, 4>);
    t.both(Map::Of, P66, 0x7c, xmm_fp<f_haddpd, 16, Elem::Pd, Feature::SSE3>);
    t.both(Map::Of, PF2, 0x7c, xmm_fp<f_haddps, 16, Elem::Ps, Feature::SSE3>);
    t.both(Map::Of, P66, 0x7d, xmm_fp<f_hsubpd, 16, Elem::Pd, Feature::SSE3>);
    t.both(Map::Of, PF2, 0x7d, xmm_fp<f_hsubps, 16, Elem::Ps, Feature::SSE3>);
    t.both(Map::Of, P66, 0xd0, xmm_fp<f_addsubpd, 16, Elem::Pd, Feature::SSE3>);
    t.both(Map::Of, PF2, 0xd0, xmm_fp<f_addsubps, 16, Elem::Ps, Feature::SSE3>);
}

void add_conversions(Table& t) {
    using enum Mandatory;
    t.both(Map::Of, None, 0x5a, xmm_fp<f_cvtps2pd, 8, Elem::None>);
    t.both(Map::Of, P66, 0x5a, xmm_fp<f_cvtpd2ps, 16, Elem::Ps>);
    t.both(Map::Of, PF3, 0x5a, xmm_fp<f_cvtss2sd, 4, Elem::None>);
    t.both(Map::Of, PF2, 0x5a, xmm_fp<f_cvtsd2ss, 8, Elem::Ss>);
    t.both(Map::Of, None, 0x5b, xmm_fp<f_cvtdq2ps, 16, Elem::None>);
    t.both(Map::Of, P66, 0x5b, xmm_fp<f_cvtps2dq, 16, Elem::None>);
    t.both(Map::Of, PF3, 0x5b, xmm_fp<f_cvttps2dq, 16, Elem::None>);
    t.both(Map::Of, P66, 0xe6, xmm_fp<f_cvttpd2dq, 16, Elem::None>);
    t.both(Map::Of, PF3, 0xe6, xmm_fp<f_cvtdq2pd, 8, Elem::None>);
    t.both(Map::Of, PF2, 0xe6, xmm_fp<f_cvtpd2dq, 16, Elem::None>);
    t.both(Map::Of, PF3, 0x2a, from_gpr<f_cvtsi2ss>);
    t.both(Map::Of, PF2, 0x2a, from_gpr<f_cvtsi2sd>);
    t.both(Map::Of, PF3, 0x2c, to_gpr<f_cvttss2si, 4>);
    t.both(Map::Of, PF2, 0x2c, to_gpr<f_cvttsd2si, 8>);
    t.both(Map::Of, PF3, 0x2d, to_gpr<f_cvtss2si, 4>);
    t.both(Map::Of, PF2, 0x2d, to_gpr<f_cvtsd2si, 8>);
}

}  // namespace

void add_sse_fp(Table& t) {
    using enum Mandatory;
    add_arithmetic(t);
    add_conversions(t);
    t.both(Map::Of, None, 0x2e, compare<f_ucomiss, 4>);
    t.both(Map::Of, P66, 0x2e, compare<f_ucomisd, 8>);
    t.both(Map::Of, None, 0x2f, compare<f_comiss, 4>);
    t.both(Map::Of, P66, 0x2f, compare<f_comisd, 8>);
}

}  // namespace yado::cpu_interp
