// Moves: loads, stores, halves, lanes, single elements, to and from general-purpose registers.
#include "cpu_interp/vex/ops.h"

namespace yado::cpu_interp::vex {

namespace {

using enum Mandatory;

// --- whole registers ------------------------------------------------------------------------------------------------------

template <bool L>
void copy(Fpu& f, unsigned to, unsigned from) {
    f.xmm[to] = f.xmm[from];
    f.ymm_high[to] = L ? f.ymm_high[from] : Xmm{};
}
template <bool L, Aligned A, Feature F = Feature::AVX>
void load(Core& c, const Insn* i) {
    avx_check<F>(c, i);
    Fpu& f = *c.fpu;
    Xmm* const to = ymm(f, kMemory);
    load_vector<L>(c, i, checked_address(c, i, kWidth<L>, Acc::Read, A), to);
    f.xmm[i->reg] = *to;
    f.ymm_high[i->reg] = L ? upper(to) : Xmm{};
    return next(c, i);
}
template <bool L>
void move(Core& c, const Insn* i) {
    avx_check(c, i);
    copy<L>(*c.fpu, i->reg, i->rm);
    return next(c, i);
}
template <bool L>
void move_reverse(Core& c, const Insn* i) {
    avx_check(c, i);
    copy<L>(*c.fpu, i->rm, i->reg);
    return next(c, i);
}
template <bool L, Aligned A>
void store(Core& c, const Insn* i) {
    avx_check(c, i);
    store_vector<L>(c, i, checked_address(c, i, kWidth<L>, Acc::Write, A), ymm(*c.fpu, i->reg));
    return next(c, i);
}

template <Aligned A>
void add_loads(Table& t, Mandatory p, uint8_t op) {
    t.add({Map::Of, p, op}, {.l = L::L0, .v = V::None, .rm = Rm::Memory}, load<L0, A>);
    t.add({Map::Of, p, op}, {.l = L::L1, .v = V::None, .rm = Rm::Memory}, load<L1, A>);
    t.add({Map::Of, p, op}, {.l = L::L0, .v = V::None, .rm = Rm::Register}, move<L0>);
    t.add({Map::Of, p, op}, {.l = L::L1, .v = V::None, .rm = Rm::Register}, move<L1>);
}
template <Aligned A>
void add_memory_stores(Table& t, Mandatory p, uint8_t op) {
    t.add({Map::Of, p, op}, {.l = L::L0, .v = V::None, .rm = Rm::Memory}, store<L0, A>);
    t.add({Map::Of, p, op}, {.l = L::L1, .v = V::None, .rm = Rm::Memory}, store<L1, A>);
}
template <Aligned A>
void add_stores(Table& t, Mandatory p, uint8_t op) {
    add_memory_stores<A>(t, p, op);
    t.add({Map::Of, p, op}, {.l = L::L0, .v = V::None, .rm = Rm::Register}, move_reverse<L0>);
    t.add({Map::Of, p, op}, {.l = L::L1, .v = V::None, .rm = Rm::Register}, move_reverse<L1>);
}

void add_whole(Table& t) {
    for (const Mandatory p : {None, P66}) {
        add_loads<Aligned::No>(t, p, 0x10);
        add_stores<Aligned::No>(t, p, 0x11);
        add_loads<Aligned::Yes>(t, p, 0x28);
        add_stores<Aligned::Yes>(t, p, 0x29);
        add_memory_stores<Aligned::Yes>(t, p, 0x2b);
    }
    add_loads<Aligned::Yes>(t, P66, 0x6f);
    add_loads<Aligned::No>(t, PF3, 0x6f);
    add_stores<Aligned::Yes>(t, P66, 0x7f);
    add_stores<Aligned::No>(t, PF3, 0x7f);
    add_memory_stores<Aligned::Yes>(t, P66, 0xe7);
    const auto add_load = [&t](Opcode o, Handler h0, Handler h1) {
        t.add(o, {.l = L::L0, .v = V::None, .rm = Rm::Memory}, h0);
        t.add(o, {.l = L::L1, .v = V::None, .rm = Rm::Memory}, h1);
    };
    add_load({Map::Of, PF2, 0xf0}, load<L0, Aligned::No>, load<L1, Aligned::No>);                                       // VLDDQU
    add_load({Map::Of38, P66, 0x2a}, load<L0, Aligned::Yes, Feature::AVX>, load<L1, Aligned::Yes, Feature::AVX2>);  // VMOVNTDQA
}

// --- parts of XMM registers -----------------------------------------------------------------------------------------------

/// VMOVSS, VMOVSD, VMOVQ from memory: the rest becomes zero.
template <unsigned W>
void load_low(Core& c, const Insn* i) {
    avx_check(c, i);
    set_xmm(*c.fpu, i->reg, memory_operand<W, Align::None>(c, i));
    return next(c, i);
}
template <typename T, unsigned Part = 0>
void store_part(Core& c, const Insn* i) {
    avx_check(c, i);
    store_operand<T>(c, i, static_cast<T>(c.fpu->xmm[i->reg][Part]));
    return next(c, i);
}
/// VMOVLPS, VMOVHPS from memory: the other half is vvvv's.
template <unsigned Part>
void load_half(Core& c, const Insn* i) {
    avx_check(c, i);
    const uint64_t v = low(memory_operand<8, Align::None>(c, i));
    Xmm r = c.fpu->xmm[i->vvvv];
    r[Part] = static_cast<long long>(v);
    set_xmm(*c.fpu, i->reg, r);
    return next(c, i);
}
/// Half `To` of the result is half `From` of the source, the other is vvvv's: VMOVHLPS, VMOVLHPS, VMOVSD.
template <unsigned To, unsigned From, bool Reverse = false>
void move_half(Core& c, const Insn* i) {
    avx_check(c, i);
    Fpu& f = *c.fpu;
    Xmm r = f.xmm[i->vvvv];
    r[To] = f.xmm[Reverse ? i->reg : i->rm][From];
    set_xmm(f, Reverse ? i->rm : i->reg, r);
    return next(c, i);
}
template <bool Reverse>
void movss(Core& c, const Insn* i) {
    avx_check(c, i);
    Fpu& f = *c.fpu;
    const Xmm v = f.xmm[Reverse ? i->reg : i->rm], rest = f.xmm[i->vvvv];
    const uint64_t half = (low(rest) & ~0xffff'ffffull) | static_cast<uint32_t>(low(v));
    set_xmm(f, Reverse ? i->rm : i->reg, Xmm{static_cast<long long>(half), rest[1]});
    return next(c, i);
}
template <bool Reverse>
void movq(Core& c, const Insn* i) {
    avx_check(c, i);
    Fpu& f = *c.fpu;
    set_xmm(f, Reverse ? i->rm : i->reg, Xmm{f.xmm[Reverse ? i->reg : i->rm][0], 0});
    return next(c, i);
}

void add_scalars(Table& t) {
    const Rule memory{.v = V::None, .rm = Rm::Memory}, registers{.rm = Rm::Register};
    t.add({Map::Of, PF3, 0x10}, memory, load_low<4>);
    t.add({Map::Of, PF3, 0x10}, registers, movss<false>);
    t.add({Map::Of, PF3, 0x11}, memory, store_part<uint32_t>);
    t.add({Map::Of, PF3, 0x11}, registers, movss<true>);
    t.add({Map::Of, PF2, 0x10}, memory, load_low<8>);
    t.add({Map::Of, PF2, 0x10}, registers, move_half<0, 0>);
    t.add({Map::Of, PF2, 0x11}, memory, store_part<uint64_t>);
    t.add({Map::Of, PF2, 0x11}, registers, move_half<0, 0, true>);
    const Rule memory128{.l = L::L0, .v = V::None, .rm = Rm::Memory}, registers128{.l = L::L0, .v = V::None, .rm = Rm::Register};
    t.add({Map::Of, PF3, 0x7e}, memory128, load_low<8>);
    t.add({Map::Of, PF3, 0x7e}, registers128, movq<false>);
    t.add({Map::Of, P66, 0xd6}, memory128, store_part<uint64_t>);
    t.add({Map::Of, P66, 0xd6}, registers128, movq<true>);
}

void add_halves(Table& t) {
    for (const Mandatory p : {None, P66}) {
        t.add({Map::Of, p, 0x12}, {.l = L::L0, .rm = Rm::Memory}, load_half<0>);
        t.add({Map::Of, p, 0x16}, {.l = L::L0, .rm = Rm::Memory}, load_half<1>);
        t.add({Map::Of, p, 0x13}, {.l = L::L0, .v = V::None, .rm = Rm::Memory}, store_part<uint64_t, 0>);
        t.add({Map::Of, p, 0x17}, {.l = L::L0, .v = V::None, .rm = Rm::Memory}, store_part<uint64_t, 1>);
    }
    t.add({Map::Of, None, 0x12}, {.l = L::L0, .rm = Rm::Register}, move_half<0, 1>);
    t.add({Map::Of, None, 0x16}, {.l = L::L0, .rm = Rm::Register}, move_half<1, 0>);
    for (const uint8_t op : {0x12, 0x16}) {  // VMOVSLDUP, VMOVSHDUP
        t.add({Map::Of, PF3, op}, {.l = L::L0, .v = V::None}, vector<ByOpcode, L0, 16, Feature::AVX>);
        t.add({Map::Of, PF3, op}, {.l = L::L1, .v = V::None}, vector<ByOpcode, L1, 32, Feature::AVX>);
    }
    t.add({Map::Of, PF2, 0x12}, {.l = L::L0, .v = V::None}, vector<ByOpcode, L0, 8, Feature::AVX>);  // VMOVDDUP
    t.add({Map::Of, PF2, 0x12}, {.l = L::L1, .v = V::None}, vector<ByOpcode, L1, 32, Feature::AVX>);
}

// --- lanes of 128 bits ------------------------------------------------------------------------------------------------------

/// VINSERTF128, VINSERTI128.
template <Feature F>
void insert_lane(Core& c, const Insn* i) {
    avx_check<F>(c, i);
    const Xmm v = *source<16>(c, i);
    Fpu& f = *c.fpu;
    const bool high = imm8(i) & 1;
    const Xmm rest = high ? f.xmm[i->vvvv] : f.ymm_high[i->vvvv];
    f.xmm[i->reg] = high ? rest : v;
    f.ymm_high[i->reg] = high ? v : rest;
    return next(c, i);
}
/// VEXTRACTF128, VEXTRACTI128.
template <Feature F>
void extract_lane(Core& c, const Insn* i) {
    avx_check<F>(c, i);
    Fpu& f = *c.fpu;
    const Xmm v = imm8(i) & 1 ? f.ymm_high[i->reg] : f.xmm[i->reg];
    if (i->mem) c.store<Xmm>(i, c.address(i, 16, Acc::Write), v);
    else set_xmm(f, i->rm, v);
    return next(c, i);
}

// --- elements and general-purpose registers --------------------------------------------------------------------------------

/// VMOVD, VMOVQ.
template <typename T>
void movd_load(Core& c, const Insn* i) {
    avx_check(c, i);
    set_xmm(*c.fpu, i->reg, Xmm{static_cast<long long>(gpr_operand<sizeof(T)>(c, i)), 0});
    return next(c, i);
}

/// Element to a general-purpose register (zero-extended) or to memory: VMOVD, VMOVQ, VPEXTR, VEXTRACTPS.
template <typename T>
void put(Core& c, const Insn* i, unsigned n) {
    const T v = element<T>(c.fpu->xmm[i->reg], n & (16 / sizeof(T) - 1));
    if (i->mem) store_operand<T>(c, i, v);
    else c.gpr[i->rm] = v;
}
template <typename T>
void movd_store(Core& c, const Insn* i) {
    avx_check(c, i);
    put<T>(c, i, 0);
    return next(c, i);
}
template <typename T>
void extract(Core& c, const Insn* i) {
    avx_check(c, i);
    put<T>(c, i, imm8(i));
    return next(c, i);
}
void pextrw_reg(Core& c, const Insn* i) {
    avx_check(c, i);
    c.gpr[i->reg] = element<uint16_t>(c.fpu->xmm[i->rm], imm8(i) & 7);
    return next(c, i);
}
/// VPINSR.
template <typename T>
void insert(Core& c, const Insn* i) {
    avx_check(c, i);
    const uint64_t v = gpr_operand<sizeof(T)>(c, i);
    Fpu& f = *c.fpu;
    f.xmm[i->reg] = f.xmm[i->vvvv];
    set_element<T>(f.xmm[i->reg], imm8(i) & (16 / sizeof(T) - 1), v);
    f.ymm_high[i->reg] = Xmm{};
    return next(c, i);
}

/// VMOVMSKPS, VMOVMSKPD, VPMOVMSKB.
template <bool L, Feature F>
void move_mask(Core& c, const Insn* i) {
    avx_check<F>(c, i);
    const Xmm* const rm = ymm(*c.fpu, i->rm);
    const uintptr_t stub = ByOpcode::stub(i);
    c.gpr[i->reg] = static_cast<uint32_t>(L ? yado_vex_to_gpr256(rm, stub) : yado_vex_to_gpr128(rm, stub));
    return next(c, i);
}
/// VPTEST, VTESTPS, VTESTPD.
template <bool L>
void test(Core& c, const Insn* i) {
    avx_check(c, i);
    const Xmm* const rm = source<kWidth<L>>(c, i);
    const Xmm* const reg = ymm(*c.fpu, i->reg);
    const uintptr_t stub = ByOpcode::stub(i);
    c.aflags = L ? yado_vex_flags256(reg, rm, stub) : yado_vex_flags128(reg, rm, stub);
    return next(c, i);
}

void add_elements(Table& t) {
    const Rule one32{.w = W::Bits32, .l = L::L0, .v = V::None}, one64{.w = W::Bits64, .l = L::L0, .v = V::None};
    const Rule one{.l = L::L0, .v = V::None};
    t.add({Map::Of, P66, 0x6e}, one32, movd_load<uint32_t>);
    t.add({Map::Of, P66, 0x6e}, one64, movd_load<uint64_t>);
    t.add({Map::Of, P66, 0x7e}, one32, movd_store<uint32_t>);
    t.add({Map::Of, P66, 0x7e}, one64, movd_store<uint64_t>);
    t.add({Map::Of3A, P66, 0x14}, one, extract<uint8_t>);
    t.add({Map::Of3A, P66, 0x15}, one, extract<uint16_t>);
    t.add({Map::Of3A, P66, 0x16}, one32, extract<uint32_t>);
    t.add({Map::Of3A, P66, 0x16}, one64, extract<uint64_t>);
    t.add({Map::Of3A, P66, 0x17}, one, extract<uint32_t>);
    t.add({Map::Of, P66, 0xc5}, {.l = L::L0, .v = V::None, .rm = Rm::Register}, pextrw_reg);
    t.add({Map::Of, P66, 0xc4}, {.l = L::L0}, insert<uint16_t>);
    t.add({Map::Of3A, P66, 0x20}, {.l = L::L0}, insert<uint8_t>);
    t.add({Map::Of3A, P66, 0x22}, {.w = W::Bits32, .l = L::L0}, insert<uint32_t>);
    t.add({Map::Of3A, P66, 0x22}, {.w = W::Bits64, .l = L::L0}, insert<uint64_t>);
}

void add_masks(Table& t) {
    for (const Mandatory p : {None, P66}) {
        t.add({Map::Of, p, 0x50}, {.l = L::L0, .v = V::None, .rm = Rm::Register}, move_mask<L0, Feature::AVX>);
        t.add({Map::Of, p, 0x50}, {.l = L::L1, .v = V::None, .rm = Rm::Register}, move_mask<L1, Feature::AVX>);
    }
    t.add({Map::Of, P66, 0xd7}, {.l = L::L0, .v = V::None, .rm = Rm::Register}, move_mask<L0, Feature::AVX>);
    t.add({Map::Of, P66, 0xd7}, {.l = L::L1, .v = V::None, .rm = Rm::Register}, move_mask<L1, Feature::AVX2>);
    for (const auto& [op, w] : {std::pair{0x0e, W::W0}, {0x0f, W::W0}, {0x17, W::Any}}) {
        const Opcode o{Map::Of38, P66, static_cast<uint8_t>(op)};
        t.add(o, {w, L::L0, V::None}, test<L0>);
        t.add(o, {w, L::L1, V::None}, test<L1>);
    }
}

}  // namespace

void add_move(Table& t) {
    add_whole(t);
    add_scalars(t);
    add_halves(t);
    add_elements(t);
    add_masks(t);
    const Rule insert{W::W0, L::L1}, extract{W::W0, L::L1, V::None};
    t.add({Map::Of3A, P66, 0x18}, insert, insert_lane<Feature::AVX>);
    t.add({Map::Of3A, P66, 0x38}, insert, insert_lane<Feature::AVX2>);
    t.add({Map::Of3A, P66, 0x19}, extract, extract_lane<Feature::AVX>);
    t.add({Map::Of3A, P66, 0x39}, extract, extract_lane<Feature::AVX2>);
}

}  // namespace yado::cpu_interp::vex
