// SSE instructions with an immediate: shuffles, blends, comparisons, rounding, dot products, string comparisons.
// Each immediate has its own copy of the host's instruction (YADO_IMM_STUBS).
#include <algorithm>

#include "cpu_interp/fpu/ops.h"
#include "cpu_interp/vex/ops.h"

namespace yado::cpu_interp {

#define X(name) YADO_IMM_STUBS(name, #name " $yado_n,%xmm1,%xmm0");
X(pshufd) X(pshufhw) X(pshuflw) X(shufps) X(shufpd) X(blendps) X(blendpd) X(pblendw) X(insertps) X(mpsadbw)
X(pclmulqdq) X(aeskeygenassist) X(roundps) X(roundpd) X(roundss) X(roundsd) X(dpps) X(dppd) X(cmpps) X(cmppd)
X(cmpss) X(cmpsd) X(pcmpestrm) X(pcmpistrm)
#undef X
// PALIGNR's longer encoding fills the eight bytes as the others do.
YADO_IMM_STUBS(palignr, "palignr $yado_n,%xmm1,%xmm0");
YADO_IMM_STUBS(sha1rnds4, "sha1rnds4 $yado_n,%xmm1,%xmm0");
#define X(name, opcode) YADO_IMM_STUBS(name, ".byte 0x66,0x0f,0x3a," #opcode ",0xc1,yado_n");
X(gf2p8affineqb, 0xce) X(gf2p8affineinvqb, 0xcf)
#undef X

// PCMPxSTRx: `index` and `mask` copies, called with the lengths in EAX and EDX. 32 bytes a copy:
// uint64_t(a, b, length_a, length_b) returns ECX and, in bits 47:32, the flags in hflags layout.
#define YADO_STRING_STUBS(name)                                                                                       \
    extern "C" [[gnu::visibility("hidden")]] const uint8_t yado_string_##name[];                                      \
    asm(".pushsection .text.yado_stubs,\"ax\",@progbits\n.balign 32\nyado_string_" #name ":\n.set yado_n,0\n.rept 256\n" \
        ".balign 32\nmovl %edi,%eax\nmovl %esi,%edx\n" #name " $yado_n,%xmm1,%xmm0\nlahf\nseto %al\nmovzwl %ax,%eax\n"  \
        "shlq $32,%rax\nmovl %ecx,%ecx\norq %rcx,%rax\nret\n.set yado_n,yado_n+1\n.endr\n.popsection")
YADO_STRING_STUBS(pcmpestri);
YADO_STRING_STUBS(pcmpistri);

namespace {

using StringStub = uint64_t (*)(Xmm a, Xmm b, uint32_t length_a, uint32_t length_b);
// The mask forms return in XMM0 what the index forms return in ECX; the flags are the same.
using MaskStub = Xmm (*)(Xmm a, Xmm b);

/// REX.W and VEX.W make the lengths 64 bits; what counts is the magnitude, saturated at 16 elements.
uint32_t length_of(const Insn* i, uint64_t reg) {
    if (i->opsize != 8) return static_cast<uint32_t>(reg);
    return static_cast<uint32_t>(std::clamp<int64_t>(static_cast<int64_t>(reg), -16, 16));
}

uint64_t run_index(Core& c, const Insn* i, const uint8_t* stubs, Xmm b) {
    const auto stub = reinterpret_cast<StringStub>(reinterpret_cast<uintptr_t>(stubs) + imm8(i) * 32u);
    return stub(c.fpu->xmm[i->reg], b, length_of(i, c.gpr[cpu::RAX]), length_of(i, c.gpr[cpu::RDX]));
}

/// The explicit-length mask form wants EAX and EDX too, which a plain stub call cannot say.
Xmm run_explicit_mask(Xmm a, Xmm b, uint32_t la, uint32_t lb, uint8_t imm) {
    register Xmm first asm("xmm0") = a;
    register Xmm second asm("xmm1") = b;
    const uintptr_t stub = reinterpret_cast<uintptr_t>(yado_stubs_pcmpestrm) + imm * 8u;
    // The red zone is skipped because the call pushes a return address.
    asm volatile("leaq -128(%%rsp),%%rsp\n\tcall *%4\n\tleaq 128(%%rsp),%%rsp"
                 : "+x"(first) : "x"(second), "a"(la), "d"(lb), "r"(stub) : "cc", "memory");
    return first;
}

enum class StringForm : uint8_t { ExplicitMask, ExplicitIndex, ImplicitMask, ImplicitIndex };

template <StringForm Form, bool Vex = false>
void string_compare(Core& c, const Insn* i) {
    if constexpr (Vex) vex::avx_check(c, i);
    else sse_check<Feature::SSE4_2>(c, i);
    const Xmm b = operand<16, Align::None>(c, i);
    constexpr bool kExplicit = Form == StringForm::ExplicitMask || Form == StringForm::ExplicitIndex;
    const uint64_t r = run_index(c, i, kExplicit ? yado_string_pcmpestri : yado_string_pcmpistri, b);
    const Xmm a = c.fpu->xmm[i->reg];
    if constexpr (Form == StringForm::ExplicitMask)
        c.fpu->xmm[0] = run_explicit_mask(a, b, length_of(i, c.gpr[cpu::RAX]), length_of(i, c.gpr[cpu::RDX]), imm8(i));
    else if constexpr (Form == StringForm::ImplicitMask)
        c.fpu->xmm[0] = imm_pcmpistrm::run(a, b, imm8(i));
    else
        c.gpr[cpu::RCX] = static_cast<uint32_t>(r);
    constexpr bool kMask = Form == StringForm::ExplicitMask || Form == StringForm::ImplicitMask;
    if constexpr (Vex && kMask) c.fpu->ymm_high[0] = Xmm{};
    c.aflags = static_cast<uint16_t>(r >> 32);
    return next(c, i);
}

}  // namespace

void vex::add_strings(Table& t) {
    const Rule rule{.l = L::L0, .v = V::None};
    t.add({Map::Of3A, Mandatory::P66, 0x60}, rule, string_compare<StringForm::ExplicitMask, true>);
    t.add({Map::Of3A, Mandatory::P66, 0x61}, rule, string_compare<StringForm::ExplicitIndex, true>);
    t.add({Map::Of3A, Mandatory::P66, 0x62}, rule, string_compare<StringForm::ImplicitMask, true>);
    t.add({Map::Of3A, Mandatory::P66, 0x63}, rule, string_compare<StringForm::ImplicitIndex, true>);
}

void add_sse_imm(Table& t) {
    using enum Mandatory;
    using enum Feature;
    t.both(Map::Of, P66, 0x70, xmm_int_imm<imm_pshufd>);
    t.both(Map::Of, PF3, 0x70, xmm_int_imm<imm_pshufhw>);
    t.both(Map::Of, PF2, 0x70, xmm_int_imm<imm_pshuflw>);
    t.both(Map::Of, None, 0xc6, xmm_int_imm<imm_shufps>);
    t.both(Map::Of, P66, 0xc6, xmm_int_imm<imm_shufpd>);
    t.both(Map::Of, None, 0xc2, xmm_fp_imm<imm_cmpps, 16, Elem::None>);
    t.both(Map::Of, P66, 0xc2, xmm_fp_imm<imm_cmppd, 16, Elem::None>);
    t.both(Map::Of, PF3, 0xc2, xmm_fp_imm<imm_cmpss, 4, Elem::None>);
    t.both(Map::Of, PF2, 0xc2, xmm_fp_imm<imm_cmpsd, 8, Elem::None>);
    t.both(Map::Of3A, P66, 0x08, xmm_fp_imm<imm_roundps, 16, Elem::None, SSE4_1>);
    t.both(Map::Of3A, P66, 0x09, xmm_fp_imm<imm_roundpd, 16, Elem::None, SSE4_1>);
    t.both(Map::Of3A, P66, 0x0a, xmm_fp_imm<imm_roundss, 4, Elem::None, SSE4_1>);
    t.both(Map::Of3A, P66, 0x0b, xmm_fp_imm<imm_roundsd, 8, Elem::None, SSE4_1>);
    t.both(Map::Of3A, P66, 0x0c, xmm_int_imm<imm_blendps, SSE4_1>);
    t.both(Map::Of3A, P66, 0x0d, xmm_int_imm<imm_blendpd, SSE4_1>);
    t.both(Map::Of3A, P66, 0x0e, xmm_int_imm<imm_pblendw, SSE4_1>);
    t.both(Map::Of3A, P66, 0x0f, xmm_int_imm<imm_palignr, SSSE3>);
    t.reg(Map::Of3A, P66, 0x21, xmm_int_imm<imm_insertps, SSE4_1>);
    t.both(Map::Of3A, P66, 0x40, xmm_fp_imm<imm_dpps, 16, Elem::Ps, SSE4_1>);
    t.both(Map::Of3A, P66, 0x41, xmm_fp_imm<imm_dppd, 16, Elem::Pd, SSE4_1>);
    t.both(Map::Of3A, P66, 0x42, xmm_int_imm<imm_mpsadbw, SSE4_1>);
    t.both(Map::Of3A, P66, 0x44, xmm_int_imm<imm_pclmulqdq, PCLMULQDQ>);
    t.both(Map::Of3A, P66, 0x60, string_compare<StringForm::ExplicitMask>);
    t.both(Map::Of3A, P66, 0x61, string_compare<StringForm::ExplicitIndex>);
    t.both(Map::Of3A, P66, 0x62, string_compare<StringForm::ImplicitMask>);
    t.both(Map::Of3A, P66, 0x63, string_compare<StringForm::ImplicitIndex>);
    t.both(Map::Of3A, None, 0xcc, xmm_int_imm<imm_sha1rnds4, SHA>);
    t.both(Map::Of3A, P66, 0xce, xmm_int_imm<imm_gf2p8affineqb, GFNI>);
    t.both(Map::Of3A, P66, 0xcf, xmm_int_imm<imm_gf2p8affineinvqb, GFNI>);
    t.both(Map::Of3A, P66, 0xdf, xmm_int_imm<imm_aeskeygenassist, AESNI>);
    // INSERTPS m32: COUNT_S is ignored, the source is the 32 bits loaded (SDM vol. 2).
    struct insertps_memory {
        static Xmm run(Xmm a, Xmm b, uint8_t imm) { return imm_insertps::run(a, b, imm & 0x3f); }
    };
    t.mem(Map::Of3A, P66, 0x21, xmm_int_imm<insertps_memory, SSE4_1, 4>);
}

}  // namespace yado::cpu_interp
