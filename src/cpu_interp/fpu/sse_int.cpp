// SSE instructions on whole registers without MXCSR: integer arithmetic, logic, shuffles, AES, SHA, GFNI.
#include <algorithm>

#include "cpu_interp/fpu/ops.h"

namespace yado::cpu_interp {

namespace {

// clang-format off
#define YADO_SSE2_INT(X) \
    X(0x60, punpcklbw) X(0x61, punpcklwd) X(0x62, punpckldq) X(0x63, packsswb) X(0x64, pcmpgtb) X(0x65, pcmpgtw) \
    X(0x66, pcmpgtd) X(0x67, packuswb) X(0x68, punpckhbw) X(0x69, punpckhwd) X(0x6a, punpckhdq) X(0x6b, packssdw) \
    X(0x6c, punpcklqdq) X(0x6d, punpckhqdq) X(0x74, pcmpeqb) X(0x75, pcmpeqw) X(0x76, pcmpeqd) \
    X(0xd1, psrlw) X(0xd2, psrld) X(0xd3, psrlq) X(0xd4, paddq) X(0xd5, pmullw) X(0xd8, psubusb) X(0xd9, psubusw) \
    X(0xda, pminub) X(0xdb, pand) X(0xdc, paddusb) X(0xdd, paddusw) X(0xde, pmaxub) X(0xdf, pandn) \
    X(0xe0, pavgb) X(0xe1, psraw) X(0xe2, psrad) X(0xe3, pavgw) X(0xe4, pmulhuw) X(0xe5, pmulhw) X(0xe8, psubsb) \
    X(0xe9, psubsw) X(0xea, pminsw) X(0xeb, por) X(0xec, paddsb) X(0xed, paddsw) X(0xee, pmaxsw) X(0xef, pxor) \
    X(0xf1, psllw) X(0xf2, pslld) X(0xf3, psllq) X(0xf4, pmuludq) X(0xf5, pmaddwd) X(0xf6, psadbw) \
    X(0xf8, psubb) X(0xf9, psubw) X(0xfa, psubd) X(0xfb, psubq) X(0xfc, paddb) X(0xfd, paddw) X(0xfe, paddd) \
    X(0x14, unpcklpd) X(0x15, unpckhpd) X(0x54, andpd) X(0x55, andnpd) X(0x56, orpd) X(0x57, xorpd)
#define YADO_SSE1_INT(X) \
    X(0x14, unpcklps) X(0x15, unpckhps) X(0x54, andps) X(0x55, andnps) X(0x56, orps) X(0x57, xorps)
#define YADO_0F38_INT(X) \
    X(0x00, pshufb, SSSE3) X(0x01, phaddw, SSSE3) X(0x02, phaddd, SSSE3) X(0x03, phaddsw, SSSE3) X(0x04, pmaddubsw, SSSE3) \
    X(0x05, phsubw, SSSE3) X(0x06, phsubd, SSSE3) X(0x07, phsubsw, SSSE3) X(0x08, psignb, SSSE3) X(0x09, psignw, SSSE3) \
    X(0x0a, psignd, SSSE3) X(0x0b, pmulhrsw, SSSE3) X(0x1c, pabsb, SSSE3) X(0x1d, pabsw, SSSE3) X(0x1e, pabsd, SSSE3) \
    X(0x28, pmuldq, SSE4_1) X(0x29, pcmpeqq, SSE4_1) X(0x2b, packusdw, SSE4_1) X(0x37, pcmpgtq, SSE4_2) \
    X(0x38, pminsb, SSE4_1) X(0x39, pminsd, SSE4_1) X(0x3a, pminuw, SSE4_1) X(0x3b, pminud, SSE4_1) \
    X(0x3c, pmaxsb, SSE4_1) X(0x3d, pmaxsd, SSE4_1) X(0x3e, pmaxuw, SSE4_1) X(0x3f, pmaxud, SSE4_1) \
    X(0x40, pmulld, SSE4_1) X(0x41, phminposuw, SSE4_1) X(0xcf, gf2p8mulb, GFNI) \
    X(0xdb, aesimc, AESNI) X(0xdc, aesenc, AESNI) X(0xdd, aesenclast, AESNI) X(0xde, aesdec, AESNI) X(0xdf, aesdeclast, AESNI)
#define YADO_SHA(X) X(0xc8, sha1nexte) X(0xc9, sha1msg1) X(0xca, sha1msg2) X(0xcc, sha256msg1) X(0xcd, sha256msg2)
#define YADO_EXTEND(X) \
    X(0x20, pmovsxbw, 8) X(0x21, pmovsxbd, 4) X(0x22, pmovsxbq, 2) X(0x23, pmovsxwd, 8) X(0x24, pmovsxwq, 4) X(0x25, pmovsxdq, 8) \
    X(0x30, pmovzxbw, 8) X(0x31, pmovzxbd, 4) X(0x32, pmovzxbq, 2) X(0x33, pmovzxwd, 8) X(0x34, pmovzxwq, 4) X(0x35, pmovzxdq, 8)
// clang-format on

#define X(op, name, ...) YADO_XMM_INSN(x_, name);
YADO_SSE2_INT(X) YADO_SSE1_INT(X) YADO_0F38_INT(X) YADO_SHA(X) YADO_EXTEND(X)
#undef X

/// Forms whose third operand is XMM0.
#define YADO_XMM0_INSN(name)                                                  \
    struct x_##name {                                                         \
        static Xmm run(Xmm a, Xmm b, Xmm mask) {                              \
            asm(#name " %%xmm0,%1,%0" : "+x"(a) : "x"(b), "Yz"(mask));        \
            return a;                                                         \
        }                                                                     \
    }
YADO_XMM0_INSN(pblendvb);
YADO_XMM0_INSN(blendvps);
YADO_XMM0_INSN(blendvpd);
YADO_XMM0_INSN(sha256rnds2);

template <class Op, Feature F>
void xmm_with_xmm0(Core& c, const Insn* i) {
    sse_check<F>(c, i);
    const Xmm b = operand<16>(c, i);
    Xmm* const r = c.fpu->xmm;
    r[i->reg] = Op::run(r[i->reg], b, r[0]);
    return next(c, i);
}

void ptest(Core& c, const Insn* i) {
    sse_check<Feature::SSE4_1>(c, i);
    const Xmm b = operand<16>(c, i);
    uint16_t flags;
    asm("ptest %1,%2\n\tlahf\n\tseto %%al" : "=a"(flags) : "x"(b), "x"(c.fpu->xmm[i->reg]) : "cc");
    c.aflags = flags;
    return next(c, i);
}

// --- shifts by an immediate: the same instruction with its count in a register -------------------------------------------

void shift_bytes_right(Core& c, const Insn* i) {
    sse_check(c, i);
    alignas(16) uint8_t wide[32] = {};
    std::memcpy(wide, &c.fpu->xmm[i->rm], 16);
    std::memcpy(&c.fpu->xmm[i->rm], wide + std::min<unsigned>(imm8(i), 16), 16);
}
void shift_bytes_left(Core& c, const Insn* i) {
    sse_check(c, i);
    alignas(16) uint8_t wide[32] = {};
    std::memcpy(wide + 16, &c.fpu->xmm[i->rm], 16);
    std::memcpy(&c.fpu->xmm[i->rm], wide + 16 - std::min<unsigned>(imm8(i), 16), 16);
}
template <class Op>
void shift_imm(Core& c, const Insn* i) {
    sse_check(c, i);
    Xmm& d = c.fpu->xmm[i->rm];
    d = Op::run(d, Xmm{imm8(i), 0});
    return next(c, i);
}

struct MmxShift {
    template <class Op>
    static void run(Core& c, const Insn* i) {
        mmx_check(c, i);
        Fpu& f = *c.fpu;
        mmx_transition(f);
        set_mm(f, i->rm, Op::run(f.mm(i->rm), imm8(i)));
        return next(c, i);
    }
};

#define X(name)                                                                                               \
    struct mm_##name {                                                                                        \
        static uint64_t run(uint64_t a, uint64_t b) {                                                         \
            asm("movq %0,%%mm0\n\tmovq %1,%%mm1\n\t" #name " %%mm1,%%mm0\n\tmovq %%mm0,%0\n\temms"            \
                : "+m"(a) : "m"(b) : "mm0", "mm1");                                                           \
            return a;                                                                                         \
        }                                                                                                     \
    };
X(psrlw) X(psrld) X(psrlq) X(psraw) X(psrad) X(psllw) X(pslld) X(psllq)
#undef X

struct ShiftRow {
    uint8_t opcode, reg;
    Handler mm, xmm;
};
#define X(op, reg, name) {op, reg, MmxShift::run<mm_##name>, shift_imm<x_##name>},
constexpr ShiftRow kShifts[] = {
    X(0x71, 2, psrlw) X(0x71, 4, psraw) X(0x71, 6, psllw) X(0x72, 2, psrld) X(0x72, 4, psrad) X(0x72, 6, pslld)
    X(0x73, 2, psrlq) X(0x73, 6, psllq)
    {0x73, 3, nullptr, then_next<shift_bytes_right>}, {0x73, 7, nullptr, then_next<shift_bytes_left>},
};
#undef X

}  // namespace

Handler select_vector_shift(const Insn& i) {
    if (i.mem || i.mandatory == Mandatory::PF3 || i.mandatory == Mandatory::PF2) return nullptr;
    for (const ShiftRow& row : kShifts)
        if (row.opcode == i.opcode && row.reg == (i.modrm >> 3 & 7)) return i.mandatory == Mandatory::P66 ? row.xmm : row.mm;
    return nullptr;
}

void add_sse_int(Table& t) {
    using enum Mandatory;
    using enum Feature;
#define X(op, name) t.both(Map::Of, P66, op, xmm_int<x_##name>);
    YADO_SSE2_INT(X)
#undef X
#define X(op, name) t.both(Map::Of, None, op, xmm_int<x_##name>);
    YADO_SSE1_INT(X)
#undef X
#define X(op, name, feature) t.both(Map::Of38, P66, op, xmm_int<x_##name, feature>);
    YADO_0F38_INT(X)
#undef X
#define X(op, name) t.both(Map::Of38, None, op, xmm_int<x_##name, SHA>);
    YADO_SHA(X)
#undef X
#define X(op, name, width) t.both(Map::Of38, P66, op, xmm_int<x_##name, SSE4_1, width>);
    YADO_EXTEND(X)
#undef X
    t.both(Map::Of38, P66, 0x10, xmm_with_xmm0<x_pblendvb, SSE4_1>);
    t.both(Map::Of38, P66, 0x14, xmm_with_xmm0<x_blendvps, SSE4_1>);
    t.both(Map::Of38, P66, 0x15, xmm_with_xmm0<x_blendvpd, SSE4_1>);
    t.both(Map::Of38, None, 0xcb, xmm_with_xmm0<x_sha256rnds2, SHA>);
    t.both(Map::Of38, P66, 0x17, ptest);
}

}  // namespace yado::cpu_interp
