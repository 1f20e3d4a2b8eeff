// Vectors of integers, logic, shuffles, broadcasts, AES, GFNI: what does not look at MXCSR.
#include <algorithm>

#include "cpu_interp/vex/ops.h"

namespace yado::cpu_interp {

// VPSRLDQ and VPSLLDQ: the destination is VEX.vvvv, here ymm1.
YADO_VEX_COPIES(vpsrldq_0, 1, 0, 0, 1, 0x73, 0xda, 1);
YADO_VEX_COPIES(vpsrldq_1, 1, 0, 1, 1, 0x73, 0xda, 1);
YADO_VEX_COPIES(vpslldq_0, 1, 0, 0, 1, 0x73, 0xfa, 1);
YADO_VEX_COPIES(vpslldq_1, 1, 0, 1, 1, 0x73, 0xfa, 1);

namespace vex {

namespace {

using enum Mandatory;

/// Both lengths of reg = op(vvvv, r/m) or, with V::None, reg = op(r/m). Memory has a Part-th of the vector.
template <unsigned Part = 1>
void add_both(Table& t, Opcode o, V v = V::Used, W w = W::Any) {
    t.add(o, {w, L::L0, v}, vector<ByOpcode, L0, kWidth<L0, Part>, kInteger<L0>>);
    t.add(o, {w, L::L1, v}, vector<ByOpcode, L1, kWidth<L1, Part>, kInteger<L1>>);
}

/// Opcodes of map 0F with 66: VEX.NDS.
constexpr uint8_t kMap0f[] = {
    0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,        // unpack, pack, compare
    0x74, 0x75, 0x76, 0xd4, 0xd5, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xe3,  // arithmetic
    0xe4, 0xe5, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef, 0xf4, 0xf5, 0xf6, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe};
/// VPSRL, VPSRA, VPSLL by a count that has 128 bits in both lengths.
constexpr uint8_t kShiftByXmm[] = {0xd1, 0xd2, 0xd3, 0xe1, 0xe2, 0xf1, 0xf2, 0xf3};
/// Map 0F38 with 66: VEX.NDS.
constexpr uint8_t kMap0f38[] = {
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,  // VPSHUFB, VPHADD, VPMADDUBSW, VPHSUB, VPSIGN, VPMULHRSW
    0x28, 0x29, 0x2b, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x40};  // VPMULDQ, VPCMPEQQ, VPACKUSDW, VPMIN, VPMAX ...
constexpr uint8_t kAbsolute[] = {0x1c, 0x1d, 0x1e};

void add_arithmetic(Table& t) {
    for (const uint8_t op : kMap0f) add_both(t, {Map::Of, P66, op});
    for (const uint8_t op : kMap0f38) add_both(t, {Map::Of38, P66, op});
    for (const uint8_t op : kAbsolute) add_both(t, {Map::Of38, P66, op}, V::None);
    for (const uint8_t op : kShiftByXmm) {
        t.add({Map::Of, P66, op}, {.l = L::L0}, vector<ByOpcode, L0, 16, kInteger<L0>>);
        t.add({Map::Of, P66, op}, {.l = L::L1}, vector<ByOpcode, L1, 16, kInteger<L1>>);
    }
    t.add({Map::Of38, P66, 0x41}, {.l = L::L0, .v = V::None}, vector<ByOpcode, L0, 16, Feature::AVX>);  // VPHMINPOSUW
}

/// VPMOVSX, VPMOVZX: 20 to 25, 30 to 35.
void add_extend(Table& t) {
    for (const uint8_t op : {0x20, 0x30}) {
        const auto at = [op](unsigned n) { return Opcode{Map::Of38, P66, static_cast<uint8_t>(op + n)}; };
        for (const unsigned half : {0, 3, 5}) add_both<2>(t, at(half), V::None);
        for (const unsigned quarter : {1, 4}) add_both<4>(t, at(quarter), V::None);
        add_both<8>(t, at(2), V::None);
    }
}

/// Floating-point logic and shuffles, which AVX has in both lengths.
void add_logic(Table& t) {
    const auto add = [&t](Opcode o) {
        t.add(o, {.l = L::L0}, vector<ByOpcode, L0, 16, Feature::AVX>);
        t.add(o, {.l = L::L1}, vector<ByOpcode, L1, 32, Feature::AVX>);
    };
    for (const Mandatory p : {None, P66})
        for (const uint8_t op : {0x14, 0x15, 0x54, 0x55, 0x56, 0x57}) add({Map::Of, p, op});
}

/// VPERMILPS, VPERMILPD by a register; VPERMPS, VPERMD; variable shifts.
void add_variable(Table& t) {
    for (const uint8_t op : {0x0c, 0x0d}) {
        t.add({Map::Of38, P66, op}, {W::W0, L::L0}, vector<ByOpcode, L0, 16, Feature::AVX>);
        t.add({Map::Of38, P66, op}, {W::W0, L::L1}, vector<ByOpcode, L1, 32, Feature::AVX>);
    }
    for (const uint8_t op : {0x16, 0x36}) t.add({Map::Of38, P66, op}, {W::W0, L::L1}, vector<ByOpcode, L1, 32, Feature::AVX2>);
    for (const auto& [op, w] : {std::pair{0x45, W::Any}, {0x46, W::W0}, {0x47, W::Any}}) {
        t.add({Map::Of38, P66, static_cast<uint8_t>(op)}, {w, L::L0}, vector<ByOpcode, L0, 16, Feature::AVX2>);
        t.add({Map::Of38, P66, static_cast<uint8_t>(op)}, {w, L::L1}, vector<ByOpcode, L1, 32, Feature::AVX2>);
    }
}

// --- broadcasts ---------------------------------------------------------------------------------------------------------

template <unsigned Size, Feature MemoryNeeds>
void add_broadcast(Table& t, uint8_t op, L shortest) {
    const Opcode o{Map::Of38, P66, op};
    if (shortest == L::L0) {
        t.add(o, {W::W0, L::L0, V::None, Rm::Memory}, vector<ByOpcode, L0, Size, MemoryNeeds>);
        t.add(o, {W::W0, L::L0, V::None, Rm::Register}, vector<ByOpcode, L0, Size, Feature::AVX2>);
    }
    t.add(o, {W::W0, L::L1, V::None, Rm::Memory}, vector<ByOpcode, L1, Size, MemoryNeeds>);
    t.add(o, {W::W0, L::L1, V::None, Rm::Register}, vector<ByOpcode, L1, Size, Feature::AVX2>);
}

/// VBROADCASTF128, VBROADCASTI128.
template <Feature F>
void broadcast_half(Core& c, const Insn* i) {
    avx_check<F>(c, i);
    const Xmm v = c.load<Xmm>(i, c.address(i, 16, Acc::Read));
    c.fpu->xmm[i->reg] = c.fpu->ymm_high[i->reg] = v;
    return next(c, i);
}

void add_broadcasts(Table& t) {
    add_broadcast<4, Feature::AVX>(t, 0x18, L::L0);
    add_broadcast<8, Feature::AVX>(t, 0x19, L::L1);
    add_broadcast<4, Feature::AVX2>(t, 0x58, L::L0);
    add_broadcast<8, Feature::AVX2>(t, 0x59, L::L0);
    add_broadcast<1, Feature::AVX2>(t, 0x78, L::L0);
    add_broadcast<2, Feature::AVX2>(t, 0x79, L::L0);
    t.add({Map::Of38, P66, 0x1a}, {W::W0, L::L1, V::None, Rm::Memory}, broadcast_half<Feature::AVX>);
    t.add({Map::Of38, P66, 0x5a}, {W::W0, L::L1, V::None, Rm::Memory}, broadcast_half<Feature::AVX2>);
}

// --- shifts by an immediate: vvvv = r/m shifted ------------------------------------------------------------------------

/// The same instruction with its count in a register.
template <uint8_t RegisterForm, bool L>
void shift_imm(Core& c, const Insn* i) {
    avx_check<kInteger<L>>(c, i);
    Fpu& f = *c.fpu;
    *ymm(f, kCount) = Xmm{imm8(i), 0};
    constexpr unsigned kStub = stub_index(Map::Of, false, L, P66, RegisterForm);
    run<L>(ymm(f, i->vvvv), ymm(f, 0), ymm(f, i->rm), ymm(f, kCount), stub_at(kStub));
    return next(c, i);
}
template <class Stub, bool L>
void shift_bytes(Core& c, const Insn* i) {
    avx_check<kInteger<L>>(c, i);
    Fpu& f = *c.fpu;
    run<L>(ymm(f, i->vvvv), ymm(f, 0), ymm(f, 0), ymm(f, i->rm), Stub::stub(i));
    return next(c, i);
}

template <uint8_t RegisterForm>
void add_shift(Table& t, uint8_t op, int8_t group) {
    t.add({Map::Of, P66, op}, {.l = L::L0, .rm = Rm::Register, .group = group}, shift_imm<RegisterForm, L0>);
    t.add({Map::Of, P66, op}, {.l = L::L1, .rm = Rm::Register, .group = group}, shift_imm<RegisterForm, L1>);
}

void add_shifts(Table& t) {
    add_shift<0xd1>(t, 0x71, 2);
    add_shift<0xe1>(t, 0x71, 4);
    add_shift<0xf1>(t, 0x71, 6);
    add_shift<0xd2>(t, 0x72, 2);
    add_shift<0xe2>(t, 0x72, 4);
    add_shift<0xf2>(t, 0x72, 6);
    add_shift<0xd3>(t, 0x73, 2);
    add_shift<0xf3>(t, 0x73, 6);
    const Opcode o{Map::Of, P66, 0x73};
    t.add(o, {.l = L::L0, .rm = Rm::Register, .group = 3}, shift_bytes<ByImm<yado_vex_vpsrldq_0>, L0>);
    t.add(o, {.l = L::L1, .rm = Rm::Register, .group = 3}, shift_bytes<ByImm<yado_vex_vpsrldq_1>, L1>);
    t.add(o, {.l = L::L0, .rm = Rm::Register, .group = 7}, shift_bytes<ByImm<yado_vex_vpslldq_0>, L0>);
    t.add(o, {.l = L::L1, .rm = Rm::Register, .group = 7}, shift_bytes<ByImm<yado_vex_vpslldq_1>, L1>);
}

// --- cryptography -------------------------------------------------------------------------------------------------------

void add_crypto(Table& t) {
    t.add({Map::Of38, P66, 0xdb}, {.l = L::L0, .v = V::None}, vector<ByOpcode, L0, 16, Feature::AESNI>);
    for (const uint8_t op : {0xdc, 0xdd, 0xde, 0xdf}) {
        t.add({Map::Of38, P66, op}, {.l = L::L0}, vector<ByOpcode, L0, 16, Feature::AESNI>);
        t.add({Map::Of38, P66, op}, {.l = L::L1}, vector<ByOpcode, L1, 32, Feature::VAES>);
    }
    t.add({Map::Of38, P66, 0xcf}, {W::W0, L::L0}, vector<ByOpcode, L0, 16, Feature::GFNI>);
    t.add({Map::Of38, P66, 0xcf}, {W::W0, L::L1}, vector<ByOpcode, L1, 32, Feature::GFNI>);
}

}  // namespace

void add_integer(Table& t) {
    add_arithmetic(t);
    add_extend(t);
    add_logic(t);
    add_variable(t);
    add_broadcasts(t);
    add_shifts(t);
    add_crypto(t);
}

}  // namespace vex

}  // namespace yado::cpu_interp
