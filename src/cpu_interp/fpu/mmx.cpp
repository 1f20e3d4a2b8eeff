// MMX, and the SSE instructions that reach MMX registers. Values are the mantissas of the x87 registers; the host's own MMX
// registers are used within one asm statement only, which ends with EMMS.
#include "cpu_interp/fpu/ops.h"

namespace yado::cpu_interp {

namespace {

// clang-format off
#define YADO_MMX_LOW(X) X(0x60, punpcklbw) X(0x61, punpcklwd) X(0x62, punpckldq)
#define YADO_MMX(X) \
    X(0x63, packsswb) X(0x64, pcmpgtb) X(0x65, pcmpgtw) X(0x66, pcmpgtd) X(0x67, packuswb) X(0x68, punpckhbw) X(0x69, punpckhwd) \
    X(0x6a, punpckhdq) X(0x6b, packssdw) X(0x74, pcmpeqb) X(0x75, pcmpeqw) X(0x76, pcmpeqd) \
    X(0xd1, psrlw) X(0xd2, psrld) X(0xd3, psrlq) X(0xd4, paddq) X(0xd5, pmullw) X(0xd8, psubusb) X(0xd9, psubusw) \
    X(0xda, pminub) X(0xdb, pand) X(0xdc, paddusb) X(0xdd, paddusw) X(0xde, pmaxub) X(0xdf, pandn) \
    X(0xe0, pavgb) X(0xe1, psraw) X(0xe2, psrad) X(0xe3, pavgw) X(0xe4, pmulhuw) X(0xe5, pmulhw) X(0xe8, psubsb) \
    X(0xe9, psubsw) X(0xea, pminsw) X(0xeb, por) X(0xec, paddsb) X(0xed, paddsw) X(0xee, pmaxsw) X(0xef, pxor) \
    X(0xf1, psllw) X(0xf2, pslld) X(0xf3, psllq) X(0xf4, pmuludq) X(0xf5, pmaddwd) X(0xf6, psadbw) \
    X(0xf8, psubb) X(0xf9, psubw) X(0xfa, psubd) X(0xfb, psubq) X(0xfc, paddb) X(0xfd, paddw) X(0xfe, paddd)
#define YADO_MMX_SSSE3(X) \
    X(0x00, pshufb) X(0x01, phaddw) X(0x02, phaddd) X(0x03, phaddsw) X(0x04, pmaddubsw) X(0x05, phsubw) X(0x06, phsubd) \
    X(0x07, phsubsw) X(0x08, psignb) X(0x09, psignw) X(0x0a, psignd) X(0x0b, pmulhrsw) X(0x1c, pabsb) X(0x1d, pabsw) X(0x1e, pabsd)
// clang-format on

#define X(op, name)                                                                                           \
    struct mm_##name {                                                                                        \
        static uint64_t run(uint64_t a, uint64_t b) {                                                         \
            asm("movq %0,%%mm0\n\tmovq %1,%%mm1\n\t" #name " %%mm1,%%mm0\n\tmovq %%mm0,%0\n\temms"            \
                : "+m"(a) : "m"(b) : "mm0", "mm1");                                                           \
            return a;                                                                                         \
        }                                                                                                     \
    };
YADO_MMX_LOW(X) YADO_MMX(X) YADO_MMX_SSSE3(X)
#undef X

/// The value of MMX register n before the transition to MMX state.
uint64_t peek_mm(Fpu& f, unsigned n) { return f.st[(n - f.top()) & 7].mantissa; }

template <unsigned W = 8>
uint64_t mm_operand(Core& c, const Insn* i) {
    return i->mem ? low(memory_operand<W, Align::None>(c, i)) : peek_mm(*c.fpu, i->rm);
}

template <class Op, Feature F = kAlways, unsigned W = 8>
void mm_op(Core& c, const Insn* i) {
    mmx_check<F>(c, i);
    const uint64_t b = mm_operand<W>(c, i);
    Fpu& f = *c.fpu;
    mmx_transition(f);
    set_mm(f, i->reg, Op::run(f.mm(i->reg), b));
    return next(c, i);
}

// --- moves -------------------------------------------------------------------------------------------------------------

void movd_load(Core& c, const Insn* i) {
    mmx_check(c, i);
    const uint64_t v = i->rex_w ? gpr_operand<8>(c, i) : gpr_operand<4>(c, i);
    mmx_transition(*c.fpu);
    set_mm(*c.fpu, i->reg, v);
    return next(c, i);
}
void movd_store(Core& c, const Insn* i) {
    mmx_check(c, i);
    Fpu& f = *c.fpu;
    const uint64_t v = peek_mm(f, i->reg);
    if (!i->mem) c.gpr[i->rm] = i->rex_w ? v : static_cast<uint32_t>(v);
    else if (i->rex_w) store_operand<uint64_t>(c, i, v);
    else store_operand<uint32_t>(c, i, static_cast<uint32_t>(v));
    mmx_transition(f);
    return next(c, i);
}
void movq_load(Core& c, const Insn* i) {
    mmx_check(c, i);
    const uint64_t v = mm_operand(c, i);
    mmx_transition(*c.fpu);
    set_mm(*c.fpu, i->reg, v);
    return next(c, i);
}
void movq_store(Core& c, const Insn* i) {
    mmx_check(c, i);
    Fpu& f = *c.fpu;
    const uint64_t v = peek_mm(f, i->reg);
    if (i->mem) store_operand<uint64_t>(c, i, v);
    mmx_transition(f);
    if (!i->mem) set_mm(f, i->rm, v);
    return next(c, i);
}

void pshufw(Core& c, const Insn* i) {
    mmx_check(c, i);
    const uint64_t b = mm_operand(c, i);
    const uint8_t order = imm8(i);
    uint64_t r = 0;
    for (unsigned n = 0; n < 4; ++n) r |= (b >> (order >> (2 * n) & 3) * 16 & 0xffff) << 16 * n;
    mmx_transition(*c.fpu);
    set_mm(*c.fpu, i->reg, r);
    return next(c, i);
}
void palignr(Core& c, const Insn* i) {
    mmx_check<Feature::SSSE3>(c, i);
    const uint64_t b = mm_operand(c, i);
    Fpu& f = *c.fpu;
    mmx_transition(f);
    const unsigned __int128 both = static_cast<unsigned __int128>(f.mm(i->reg)) << 64 | b;
    set_mm(f, i->reg, imm8(i) < 16 ? static_cast<uint64_t>(both >> 8 * imm8(i)) : 0);
    return next(c, i);
}
void pinsrw(Core& c, const Insn* i) {
    mmx_check(c, i);
    const uint64_t v = gpr_operand<2>(c, i);
    Fpu& f = *c.fpu;
    mmx_transition(f);
    const unsigned shift = (imm8(i) & 3) * 16;
    set_mm(f, i->reg, (f.mm(i->reg) & ~(uint64_t{0xffff} << shift)) | v << shift);
    return next(c, i);
}
void pextrw(Core& c, const Insn* i) {
    mmx_check(c, i);
    Fpu& f = *c.fpu;
    mmx_transition(f);
    c.gpr[i->reg] = f.mm(i->rm) >> (imm8(i) & 3) * 16 & 0xffff;
    return next(c, i);
}
/// The top bits of the eight bytes.
uint32_t byte_mask(uint64_t v) {
    uint32_t mask = 0;
    for (unsigned n = 0; n < 8; ++n) mask |= (v >> (8 * n + 7) & 1) << n;
    return mask;
}
void pmovmskb(Core& c, const Insn* i) {
    mmx_check(c, i);
    Fpu& f = *c.fpu;
    mmx_transition(f);
    c.gpr[i->reg] = byte_mask(f.mm(i->rm));
    return next(c, i);
}

void masked_store(Core& c, const Insn* i) {
    Fpu& f = *c.fpu;
    const uint32_t mask = byte_mask(peek_mm(f, i->rm));
    if (!mask) return;
    const uint64_t data = peek_mm(f, i->reg), rdi = c.gpr[cpu::RDI];
    const uint64_t ea = i->addrsize == 8 ? rdi : i->addrsize == 4 ? static_cast<uint32_t>(rdi) : static_cast<uint16_t>(rdi);
    const unsigned first = std::countr_zero(mask), last = 31 - std::countl_zero(mask);
    const uint64_t linear = c.segmented(i, i->seg, ea + first, last - first + 1, Acc::Write) - first;
    c.probe_write(i, linear + first, last - first + 1);
    for (unsigned n = first; n <= last; ++n)
        if (mask >> n & 1) c.store<uint8_t>(i, linear + n, static_cast<uint8_t>(data >> 8 * n));
}
void maskmovq(Core& c, const Insn* i) {
    mmx_check(c, i);
    masked_store(c, i);
    mmx_transition(*c.fpu);
    return next(c, i);
}

/// EMMS marks all registers empty; TOP becomes 0 as by any MMX instruction (SDM vol. 3, table 12-1; so does the host).
void emms(Core& c, const Insn* i) {
    mmx_check(c, i);
    mmx_transition(*c.fpu);
    c.fpu->ftw = 0;
    return next(c, i);
}

// --- between MMX and XMM --------------------------------------------------------------------------------------------------

void check_both(Core& c, const Insn* i) {
    sse_check(c, i);
    mmx_check(c, i);
}
void movq2dq(Core& c, const Insn* i) {
    check_both(c, i);
    Fpu& f = *c.fpu;
    mmx_transition(f);
    f.xmm[i->reg] = Xmm{static_cast<long long>(f.mm(i->rm)), 0};
    return next(c, i);
}
void movdq2q(Core& c, const Insn* i) {
    check_both(c, i);
    Fpu& f = *c.fpu;
    mmx_transition(f);
    set_mm(f, i->reg, low(f.xmm[i->rm]));
    return next(c, i);
}

#define YADO_FROM_MM(name)                                                                           \
    struct v_##name {                                                                                \
        static Xmm run(Xmm a, uint64_t b) {                                                          \
            asm volatile("movq %1,%%mm0\n\t" #name " %%mm0,%0\n\temms" : "+x"(a) : "m"(b) : "mm0");  \
            return a;                                                                                \
        }                                                                                            \
    }
YADO_FROM_MM(cvtpi2ps);
YADO_FROM_MM(cvtpi2pd);
#define YADO_TO_MM(name)                                                                              \
    struct v_##name {                                                                                 \
        static uint64_t run(Xmm b) {                                                                  \
            uint64_t r;                                                                               \
            asm volatile(#name " %1,%%mm0\n\tmovq %%mm0,%0\n\temms" : "=m"(r) : "x"(b) : "mm0");      \
            return r;                                                                                 \
        }                                                                                             \
    }
YADO_TO_MM(cvtps2pi);
YADO_TO_MM(cvttps2pi);
YADO_TO_MM(cvtpd2pi);
YADO_TO_MM(cvttpd2pi);

/// With a memory operand no MMX register is involved and x87 stays as it is (SDM vol. 2, CVTPI2PD; CVTPI2PS does the same on
/// the CPU).
template <class Op>
void from_mm(Core& c, const Insn* i) {
    sse_check(c, i);
    if (!i->mem) mmx_check(c, i);
    const uint64_t b = mm_operand(c, i);
    Fpu& f = *c.fpu;
    begin_fp(f);
    const Xmm r = Op::run(f.xmm[i->reg], b);
    end_fp(c, i);
    if (!i->mem) mmx_transition(f);
    f.xmm[i->reg] = r;
    return next(c, i);
}
template <class Op, unsigned W>
void to_mm(Core& c, const Insn* i) {
    check_both(c, i);
    const Xmm b = operand<W>(c, i);
    Fpu& f = *c.fpu;
    begin_fp(f);
    const uint64_t r = Op::run(b);
    end_fp(c, i);
    mmx_transition(f);
    set_mm(f, i->reg, r);
    return next(c, i);
}

}  // namespace

void add_mmx(Table& t) {
    using enum Mandatory;
#define X(op, name) t.both(Map::Of, None, op, mm_op<mm_##name, kAlways, 4>);
    YADO_MMX_LOW(X)
#undef X
#define X(op, name) t.both(Map::Of, None, op, mm_op<mm_##name>);
    YADO_MMX(X)
#undef X
#define X(op, name) t.both(Map::Of38, None, op, mm_op<mm_##name, Feature::SSSE3>);
    YADO_MMX_SSSE3(X)
#undef X
    t.both(Map::Of, None, 0x6e, movd_load);
    t.both(Map::Of, None, 0x7e, movd_store);
    t.both(Map::Of, None, 0x6f, movq_load);
    t.both(Map::Of, None, 0x7f, movq_store);
    t.mem(Map::Of, None, 0xe7, movq_store);
    t.both(Map::Of, None, 0x70, pshufw);
    t.both(Map::Of3A, None, 0x0f, palignr);
    t.both(Map::Of, None, 0xc4, pinsrw);
    t.reg(Map::Of, None, 0xc5, pextrw);
    t.reg(Map::Of, None, 0xd7, pmovmskb);
    t.reg(Map::Of, None, 0xf7, maskmovq);
    t.reg(Map::Of, None, 0x77, emms);
}

void add_mmx_convert(Table& t) {
    using enum Mandatory;
    t.reg(Map::Of, PF3, 0xd6, movq2dq);
    t.reg(Map::Of, PF2, 0xd6, movdq2q);
    t.both(Map::Of, None, 0x2a, from_mm<v_cvtpi2ps>);
    t.both(Map::Of, P66, 0x2a, from_mm<v_cvtpi2pd>);
    t.both(Map::Of, None, 0x2c, to_mm<v_cvttps2pi, 8>);
    t.both(Map::Of, P66, 0x2c, to_mm<v_cvttpd2pi, 16>);
    t.both(Map::Of, None, 0x2d, to_mm<v_cvtps2pi, 8>);
    t.both(Map::Of, P66, 0x2d, to_mm<v_cvtpd2pi, 16>);
}

}  // namespace yado::cpu_interp
