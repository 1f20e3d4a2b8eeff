// Forms with an immediate: shuffles, blends, comparisons, rounding, dot products; blends by a fourth register.
#include "cpu_interp/vex/ops.h"

namespace yado::cpu_interp {

YADO_VEX_IMM(vpshufd, 1, 0, 1, 0x70);
YADO_VEX_IMM(vpshufhw, 1, 0, 2, 0x70);
YADO_VEX_IMM(vpshuflw, 1, 0, 3, 0x70);
YADO_VEX_IMM(vcmpps, 1, 0, 0, 0xc2);
YADO_VEX_IMM(vcmppd, 1, 0, 1, 0xc2);
YADO_VEX_IMM128(vcmpss, 1, 0, 2, 0xc2);
YADO_VEX_IMM128(vcmpsd, 1, 0, 3, 0xc2);
YADO_VEX_IMM(vshufps, 1, 0, 0, 0xc6);
YADO_VEX_IMM(vshufpd, 1, 0, 1, 0xc6);
YADO_VEX_IMM256(vpermq, 3, 1, 1, 0x00);
YADO_VEX_IMM256(vpermpd, 3, 1, 1, 0x01);
YADO_VEX_IMM(vpblendd, 3, 0, 1, 0x02);
YADO_VEX_IMM(vpermilps, 3, 0, 1, 0x04);
YADO_VEX_IMM(vpermilpd, 3, 0, 1, 0x05);
YADO_VEX_IMM256(vperm2f128, 3, 0, 1, 0x06);
YADO_VEX_IMM(vroundps, 3, 0, 1, 0x08);
YADO_VEX_IMM(vroundpd, 3, 0, 1, 0x09);
YADO_VEX_IMM128(vroundss, 3, 0, 1, 0x0a);
YADO_VEX_IMM128(vroundsd, 3, 0, 1, 0x0b);
YADO_VEX_IMM(vblendps, 3, 0, 1, 0x0c);
YADO_VEX_IMM(vblendpd, 3, 0, 1, 0x0d);
YADO_VEX_IMM(vpblendw, 3, 0, 1, 0x0e);
YADO_VEX_IMM(vpalignr, 3, 0, 1, 0x0f);
YADO_VEX_IMM128(vinsertps, 3, 0, 1, 0x21);
YADO_VEX_IMM(vdpps, 3, 0, 1, 0x40);
YADO_VEX_IMM128(vdppd, 3, 0, 1, 0x41);
YADO_VEX_IMM(vmpsadbw, 3, 0, 1, 0x42);
YADO_VEX_IMM(vpclmulqdq, 3, 0, 1, 0x44);
YADO_VEX_IMM256(vperm2i128, 3, 0, 1, 0x46);
YADO_VEX_IMM(vgf2p8affineqb, 3, 1, 1, 0xce);
YADO_VEX_IMM(vgf2p8affineinvqb, 3, 1, 1, 0xcf);
YADO_VEX_IMM128(vaeskeygenassist, 3, 0, 1, 0xdf);

// Not 256 copies: imm8[7:4] is a register, and the stub's is ymm3.
#define YADO_VEX_IS4(name, opcode)                                                                                        \
    extern "C" [[gnu::visibility("hidden")]] const uint8_t yado_vex_##name[];                                             \
    asm(".pushsection .text.yado_stubs,\"ax\",@progbits\n.balign 16\nyado_vex_" #name ":\n"                                \
        ".byte 0xc4,0xe3,0x79," #opcode ",0xca,0x30,0xc3,0x90\n.byte 0xc4,0xe3,0x7d," #opcode ",0xca,0x30,0xc3,0x90\n"     \
        ".popsection")
YADO_VEX_IS4(vblendvps, 0x4a);
YADO_VEX_IS4(vblendvpd, 0x4b);
YADO_VEX_IS4(vpblendvb, 0x4c);

namespace vex {

namespace {

using enum Mandatory;

/// A form's two lengths with their copies.
#define YADO_BOTH(t, o, rule, handler, name, f0, f1)                                         \
    do {                                                                                     \
        Rule r = rule;                                                                       \
        r.l = L::L0;                                                                         \
        t.add(Opcode o, r, handler<ByImm<yado_vex_##name##_0>, L0, 16, f0>);                 \
        r.l = L::L1;                                                                         \
        t.add(Opcode o, r, handler<ByImm<yado_vex_##name##_1>, L1, 32, f1>);                 \
    } while (false)

void add_shuffles(Table& t) {
    using enum Feature;
    const Rule two{}, one{.v = V::None};
    const Rule one_w0{.w = W::W0, .v = V::None}, two_w0{.w = W::W0};
    YADO_BOTH(t, ({Map::Of, P66, 0x70}), one, vector, vpshufd, AVX, AVX2);
    YADO_BOTH(t, ({Map::Of, PF3, 0x70}), one, vector, vpshufhw, AVX, AVX2);
    YADO_BOTH(t, ({Map::Of, PF2, 0x70}), one, vector, vpshuflw, AVX, AVX2);
    YADO_BOTH(t, ({Map::Of, None, 0xc6}), two, vector, vshufps, AVX, AVX);
    YADO_BOTH(t, ({Map::Of, P66, 0xc6}), two, vector, vshufpd, AVX, AVX);
    YADO_BOTH(t, ({Map::Of3A, P66, 0x02}), two_w0, vector, vpblendd, AVX2, AVX2);
    YADO_BOTH(t, ({Map::Of3A, P66, 0x04}), one_w0, vector, vpermilps, AVX, AVX);
    YADO_BOTH(t, ({Map::Of3A, P66, 0x05}), one_w0, vector, vpermilpd, AVX, AVX);
    YADO_BOTH(t, ({Map::Of3A, P66, 0x0c}), two, vector, vblendps, AVX, AVX);
    YADO_BOTH(t, ({Map::Of3A, P66, 0x0d}), two, vector, vblendpd, AVX, AVX);
    YADO_BOTH(t, ({Map::Of3A, P66, 0x0e}), two, vector, vpblendw, AVX, AVX2);
    YADO_BOTH(t, ({Map::Of3A, P66, 0x0f}), two, vector, vpalignr, AVX, AVX2);
    YADO_BOTH(t, ({Map::Of3A, P66, 0x42}), two, vector, vmpsadbw, AVX, AVX2);
    t.add({Map::Of3A, P66, 0x00}, {W::W1, L::L1, V::None}, vector<ByImm<yado_vex_vpermq_1>, L1, 32, AVX2>);
    t.add({Map::Of3A, P66, 0x01}, {W::W1, L::L1, V::None}, vector<ByImm<yado_vex_vpermpd_1>, L1, 32, AVX2>);
    t.add({Map::Of3A, P66, 0x06}, {W::W0, L::L1}, vector<ByImm<yado_vex_vperm2f128_1>, L1, 32, AVX>);
    t.add({Map::Of3A, P66, 0x46}, {W::W0, L::L1}, vector<ByImm<yado_vex_vperm2i128_1>, L1, 32, AVX2>);
}

void add_fp_forms(Table& t) {
    const Rule two{}, one{.v = V::None};
    YADO_BOTH(t, ({Map::Of, None, 0xc2}), two, fp, vcmpps, Elem::None, Elem::None);
    YADO_BOTH(t, ({Map::Of, P66, 0xc2}), two, fp, vcmppd, Elem::None, Elem::None);
    t.add({Map::Of, PF3, 0xc2}, {}, fp<ByImm<yado_vex_vcmpss_0>, L0, 4>);
    t.add({Map::Of, PF2, 0xc2}, {}, fp<ByImm<yado_vex_vcmpsd_0>, L0, 8>);
    YADO_BOTH(t, ({Map::Of3A, P66, 0x08}), one, fp, vroundps, Elem::None, Elem::None);
    YADO_BOTH(t, ({Map::Of3A, P66, 0x09}), one, fp, vroundpd, Elem::None, Elem::None);
    t.add({Map::Of3A, P66, 0x0a}, {}, fp<ByImm<yado_vex_vroundss_0>, L0, 4>);
    t.add({Map::Of3A, P66, 0x0b}, {}, fp<ByImm<yado_vex_vroundsd_0>, L0, 8>);
    YADO_BOTH(t, ({Map::Of3A, P66, 0x40}), two, fp, vdpps, Elem::Ps, Elem::Ps);
    t.add({Map::Of3A, P66, 0x41}, {.l = L::L0}, fp<ByImm<yado_vex_vdppd_0>, L0, 16, Elem::Pd>);
}

void add_crypto_forms(Table& t) {
    using enum Feature;
    const Rule two{}, two_w1{.w = W::W1};
    YADO_BOTH(t, ({Map::Of3A, P66, 0x44}), two, vector, vpclmulqdq, PCLMULQDQ, VPCLMULQDQ);
    YADO_BOTH(t, ({Map::Of3A, P66, 0xce}), two_w1, vector, vgf2p8affineqb, GFNI, GFNI);
    YADO_BOTH(t, ({Map::Of3A, P66, 0xcf}), two_w1, vector, vgf2p8affineinvqb, GFNI, GFNI);
    t.add({Map::Of3A, P66, 0xdf}, {.l = L::L0, .v = V::None}, vector<ByImm<yado_vex_vaeskeygenassist_0>, L0, 16, AESNI>);
}
#undef YADO_BOTH

/// VINSERTPS m32: COUNT_S is ignored, the source is the 32 bits loaded (SDM vol. 2).
struct InsertFromMemory {
    static uintptr_t stub(const Insn* i) { return reinterpret_cast<uintptr_t>(yado_vex_vinsertps_0) + (imm8(i) & 0x3f) * kStubBytes; }
};

/// VBLENDVPS, VBLENDVPD, VPBLENDVB.
template <const uint8_t* Stubs, bool L, Feature F>
void blend_by_register(Core& c, const Insn* i) {
    avx_check<F>(c, i);
    const Xmm* const rm = source<kWidth<L>>(c, i);
    Fpu& f = *c.fpu;
    Xmm* const d = ymm(f, i->reg);
    const Xmm* const selector = ymm(f, imm8(i) >> 4 & (c.code_mode == CodeMode::Bits64 ? 15 : 7));
    const auto stub = reinterpret_cast<uintptr_t>(Stubs);
    if constexpr (L) {
        yado_vex_run256_is4(d, selector, ymm(f, i->vvvv), rm, stub + kStubBytes);
    } else {
        yado_vex_run128_is4(d, selector, ymm(f, i->vvvv), rm, stub);
        upper(d) = Xmm{};
    }
    return next(c, i);
}

template <const uint8_t* Stubs, Feature Wide>
void add_blend(Table& t, uint8_t op) {
    t.add({Map::Of3A, P66, op}, {W::W0, L::L0}, blend_by_register<Stubs, L0, Feature::AVX>);
    t.add({Map::Of3A, P66, op}, {W::W0, L::L1}, blend_by_register<Stubs, L1, Wide>);
}

}  // namespace

void add_imm(Table& t) {
    add_shuffles(t);
    add_fp_forms(t);
    add_crypto_forms(t);
    t.add({Map::Of3A, P66, 0x21}, {.l = L::L0, .rm = Rm::Register}, vector<ByImm<yado_vex_vinsertps_0>, L0, 16, Feature::AVX>);
    t.add({Map::Of3A, P66, 0x21}, {.l = L::L0, .rm = Rm::Memory}, vector<InsertFromMemory, L0, 4, Feature::AVX>);
    add_blend<yado_vex_vblendvps, Feature::AVX>(t, 0x4a);
    add_blend<yado_vex_vblendvpd, Feature::AVX>(t, 0x4b);
    add_blend<yado_vex_vpblendvb, Feature::AVX2>(t, 0x4c);
}

}  // namespace vex

}  // namespace yado::cpu_interp
