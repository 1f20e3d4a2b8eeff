// Floating point under MXCSR: arithmetic, comparison, conversion, FMA, F16C.
#include "cpu_interp/vex/ops.h"

namespace yado::cpu_interp {

// VCVTPS2PH: the destination is r/m.
YADO_VEX_COPIES(vcvtps2ph_0, 3, 0, 0, 1, 0x1d, 0xd1, 0);
YADO_VEX_COPIES(vcvtps2ph_1, 3, 0, 1, 1, 0x1d, 0xd1, 0);

namespace vex {

namespace {

using enum Mandatory;

template <Elem E>
void add_packed(Table& t, Opcode o, V v = V::Used) {
    t.add(o, {.l = L::L0, .v = v}, fp<ByOpcode, L0, 16, E>);
    t.add(o, {.l = L::L1, .v = v}, fp<ByOpcode, L1, 32, E>);
}

/// PS, PD, SS, SD. Elements of a result can be exact denormals, or (Elem::None) cannot.
enum class Tiny : bool { No, Yes };
template <Tiny T>
void add_arithmetic(Table& t, uint8_t op, V packed_v = V::Used) {
    constexpr bool kTiny = T == Tiny::Yes;
    add_packed<kTiny ? Elem::Ps : Elem::None>(t, {Map::Of, None, op}, packed_v);
    add_packed<kTiny ? Elem::Pd : Elem::None>(t, {Map::Of, P66, op}, packed_v);
    t.add({Map::Of, PF3, op}, {}, fp<ByOpcode, L0, 4, kTiny ? Elem::Ss : Elem::None>);
    t.add({Map::Of, PF2, op}, {}, fp<ByOpcode, L0, 8, kTiny ? Elem::Sd : Elem::None>);
}

void add_all_arithmetic(Table& t) {
    for (const uint8_t op : {0x58, 0x59, 0x5c, 0x5e}) add_arithmetic<Tiny::Yes>(t, op);
    for (const uint8_t op : {0x5d, 0x5f}) add_arithmetic<Tiny::No>(t, op);
    add_arithmetic<Tiny::No>(t, 0x51, V::None);
    for (const uint8_t op : {0x7c, 0x7d, 0xd0}) {  // VHADD, VHSUB, VADDSUB
        add_packed<Elem::Pd>(t, {Map::Of, P66, op});
        add_packed<Elem::Ps>(t, {Map::Of, PF2, op});
    }
    for (const uint8_t op : {0x52, 0x53}) {  // VRSQRT, VRCP: without MXCSR, see sse_fp.cpp
        t.add({Map::Of, None, op}, {.l = L::L0, .v = V::None}, vector<ByOpcode, L0, 16, Feature::AVX>);
        t.add({Map::Of, None, op}, {.l = L::L1, .v = V::None}, vector<ByOpcode, L1, 32, Feature::AVX>);
        t.add({Map::Of, PF3, op}, {}, vector<ByOpcode, L0, 4, Feature::AVX>);
    }
}

// --- conversions ----------------------------------------------------------------------------------------------------------

void add_conversions(Table& t) {
    const auto both = [&t](Mandatory p, uint8_t op, Handler h0, Handler h1) {
        t.add({Map::Of, p, op}, {.l = L::L0, .v = V::None}, h0);
        t.add({Map::Of, p, op}, {.l = L::L1, .v = V::None}, h1);
    };
    both(None, 0x5a, fp<ByOpcode, L0, 8>, fp<ByOpcode, L1, 16>);
    both(P66, 0x5a, fp<ByOpcode, L0, 16, Elem::Ps>, fp<ByOpcode, L1, 32, Elem::Ps>);
    t.add({Map::Of, PF3, 0x5a}, {}, fp<ByOpcode, L0, 4>);
    t.add({Map::Of, PF2, 0x5a}, {}, fp<ByOpcode, L0, 8, Elem::Ss>);
    for (const Mandatory p : {None, P66, PF3}) both(p, 0x5b, fp<ByOpcode, L0, 16>, fp<ByOpcode, L1, 32>);
    both(P66, 0xe6, fp<ByOpcode, L0, 16>, fp<ByOpcode, L1, 32>);
    both(PF2, 0xe6, fp<ByOpcode, L0, 16>, fp<ByOpcode, L1, 32>);
    both(PF3, 0xe6, fp<ByOpcode, L0, 8>, fp<ByOpcode, L1, 16>);
}

/// VCVTSI2SS, VCVTSI2SD.
template <unsigned W>
void from_gpr(Core& c, const Insn* i) {
    avx_check(c, i);
    const uint64_t value = gpr_operand<W>(c, i);
    Fpu& f = *c.fpu;
    begin_fp(f);
    Xmm* const d = ymm(f, kResult);
    yado_vex_from_gpr(d, ymm(f, i->vvvv), value, BySize::stub(i));
    end_fp(c, i);
    set_xmm(f, i->reg, *d);
    return next(c, i);
}

/// VCVTSS2SI, VCVTTSD2SI and kin.
template <unsigned W>
void to_gpr(Core& c, const Insn* i) {
    avx_check(c, i);
    const Xmm* const rm = source<W>(c, i);
    begin_fp(*c.fpu);
    const uint64_t r = yado_vex_to_gpr128(rm, BySize::stub(i));
    end_fp(c, i);
    c.gpr[i->reg] = r;
    return next(c, i);
}

/// VUCOMISS, VCOMISD and kin.
template <unsigned W>
void compare(Core& c, const Insn* i) {
    avx_check(c, i);
    const Xmm* const rm = source<W>(c, i);
    Fpu& f = *c.fpu;
    begin_fp(f);
    const uint16_t flags = yado_vex_flags128(ymm(f, i->reg), rm, ByOpcode::stub(i));
    end_fp(c, i);
    c.aflags = flags;
    return next(c, i);
}

void add_scalar(Table& t) {
    for (const Mandatory p : {PF3, PF2}) {
        t.add({Map::Of, p, 0x2a}, {.w = W::Bits32}, from_gpr<4>);
        t.add({Map::Of, p, 0x2a}, {.w = W::Bits64}, from_gpr<8>);
    }
    for (const uint8_t op : {0x2c, 0x2d}) {
        t.add({Map::Of, PF3, op}, {.v = V::None}, to_gpr<4>);
        t.add({Map::Of, PF2, op}, {.v = V::None}, to_gpr<8>);
    }
    for (const uint8_t op : {0x2e, 0x2f}) {
        t.add({Map::Of, None, op}, {.v = V::None}, compare<4>);
        t.add({Map::Of, P66, op}, {.v = V::None}, compare<8>);
    }
}

// --- FMA --------------------------------------------------------------------------------------------------------------------

/// 96 to 9F, A6 to AF, B6 to BF: packed where even or below 98, else scalar.
void add_fma(Table& t) {
    for (const uint8_t row : {0x90, 0xa0, 0xb0})
        for (uint8_t n = 6; n < 16; ++n) {
            const Opcode o{Map::Of38, P66, static_cast<uint8_t>(row + n)};
            if (n < 8 || n % 2 == 0) {
                t.add(o, {W::W0, L::L0}, fp<ByOpcode, L0, 16, Elem::Ps, Feature::FMA>);
                t.add(o, {W::W0, L::L1}, fp<ByOpcode, L1, 32, Elem::Ps, Feature::FMA>);
                t.add(o, {W::W1, L::L0}, fp<ByOpcode, L0, 16, Elem::Pd, Feature::FMA>);
                t.add(o, {W::W1, L::L1}, fp<ByOpcode, L1, 32, Elem::Pd, Feature::FMA>);
            } else {
                t.add(o, {.w = W::W0}, fp<ByOpcode, L0, 4, Elem::Ss, Feature::FMA>);
                t.add(o, {.w = W::W1}, fp<ByOpcode, L0, 8, Elem::Sd, Feature::FMA>);
            }
        }
}

// --- F16C -------------------------------------------------------------------------------------------------------------------

/// VCVTPS2PH: r/m = half-precision reg. The store must not fault once the instruction's flags are in MXCSR.
template <class Stub, bool L>
void to_half(Core& c, const Insn* i) {
    using T = typename UintOf<kWidth<L, 2>>::type;
    avx_check<Feature::F16C>(c, i);
    Fpu& f = *c.fpu;
    if (i->mem) c.probe_write(i, c.address(i, sizeof(T), Acc::Write), sizeof(T));
    begin_fp(f);
    Xmm* const d = ymm(f, kResult);
    run<L>(d, d, ymm(f, 0), ymm(f, i->reg), Stub::stub(i));
    end_fp(c, i, *d, Elem::Ph);
    if (!i->mem) set_xmm(f, i->rm, *d);
    else if constexpr (L) c.store<Xmm>(i, c.address(i, 16, Acc::Write), *d);
    else c.store<uint64_t>(i, c.address(i, 8, Acc::Write), low(*d));
    return next(c, i);
}

void add_half(Table& t) {
    const Opcode from{Map::Of38, P66, 0x13}, to{Map::Of3A, P66, 0x1d};
    t.add(from, {W::W0, L::L0, V::None}, fp<ByOpcode, L0, 8, Elem::None, Feature::F16C>);
    t.add(from, {W::W0, L::L1, V::None}, fp<ByOpcode, L1, 16, Elem::None, Feature::F16C>);
    t.add(to, {W::W0, L::L0, V::None}, to_half<ByImm<yado_vex_vcvtps2ph_0>, L0>);
    t.add(to, {W::W0, L::L1, V::None}, to_half<ByImm<yado_vex_vcvtps2ph_1>, L1>);
}

}  // namespace

void add_fp(Table& t) {
    add_all_arithmetic(t);
    add_conversions(t);
    add_scalar(t);
    add_fma(t);
    add_half(t);
}

}  // namespace vex

}  // namespace yado::cpu_interp
