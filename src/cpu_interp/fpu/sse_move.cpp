// SSE moves: loads, stores, register moves, inserts and extracts, masked and non-temporal stores.
#include "cpu_interp/fpu/ops.h"

namespace yado::cpu_interp {

namespace {

template <Align A>
void load_all(Core& c, const Insn* i) {
    sse_check(c, i);
    c.fpu->xmm[i->reg] = operand<16, A>(c, i);
    return next(c, i);
}
template <Align A, Feature F = kAlways>
void store_all(Core& c, const Insn* i) {
    sse_check<F>(c, i);
    Fpu& f = *c.fpu;
    if (!i->mem) {
        f.xmm[i->rm] = f.xmm[i->reg];
        return next(c, i);
    }
    const uint64_t linear = c.address(i, 16, Acc::Write);
    if constexpr (A == Align::Natural16) check_aligned16(c, i, linear);
    c.store<Xmm>(i, linear, f.xmm[i->reg]);
    return next(c, i);
}
template <Align A>
void load_sse3(Core& c, const Insn* i) {
    sse_check<A == Align::None ? Feature::SSE3 : Feature::SSE4_1>(c, i);  // LDDQU, MOVNTDQA
    c.fpu->xmm[i->reg] = memory_operand<16, A>(c, i);
    return next(c, i);
}

/// MOVSS, MOVSD, MOVD, MOVQ from memory: the rest of the register becomes zero.
template <unsigned W>
void load_low(Core& c, const Insn* i) {
    sse_check(c, i);
    c.fpu->xmm[i->reg] = memory_operand<W, Align::None>(c, i);
    return next(c, i);
}
/// Reads part `Part` of the register: MOVSS, MOVSD, MOVQ, MOVLPS, MOVHPS to memory.
template <typename T, unsigned Part = 0>
void store_part(Core& c, const Insn* i) {
    sse_check(c, i);
    store_operand<T>(c, i, static_cast<T>(c.fpu->xmm[i->reg][Part]));
    return next(c, i);
}
/// MOVLPS, MOVHPS from memory: the other half stays.
template <unsigned Part>
void load_half(Core& c, const Insn* i) {
    sse_check(c, i);
    const uint64_t v = low(memory_operand<8, Align::None>(c, i));
    c.fpu->xmm[i->reg][Part] = static_cast<long long>(v);
    return next(c, i);
}
/// Copies one half to another: MOVHLPS, MOVLHPS, MOVSD.
template <unsigned To, unsigned From, bool Reverse = false>
void move_half(Core& c, const Insn* i) {
    sse_check(c, i);
    Xmm* const r = c.fpu->xmm;
    if constexpr (Reverse) r[i->rm][To] = r[i->reg][From];
    else r[i->reg][To] = r[i->rm][From];
    return next(c, i);
}
template <bool Reverse>
void movss_reg(Core& c, const Insn* i) {
    sse_check(c, i);
    Xmm* const r = c.fpu->xmm;
    std::memcpy(&r[Reverse ? i->rm : i->reg], &r[Reverse ? i->reg : i->rm], 4);
    return next(c, i);
}
template <bool Reverse>
void movq_reg(Core& c, const Insn* i) {
    sse_check(c, i);
    Xmm* const r = c.fpu->xmm;
    r[Reverse ? i->rm : i->reg] = Xmm{r[Reverse ? i->reg : i->rm][0], 0};
    return next(c, i);
}

void movd_load(Core& c, const Insn* i) {
    sse_check(c, i);
    const uint64_t v = i->rex_w ? gpr_operand<8>(c, i) : gpr_operand<4>(c, i);
    c.fpu->xmm[i->reg] = Xmm{static_cast<long long>(v), 0};
    return next(c, i);
}

/// Element to a general-purpose register (zero-extended) or to memory.
template <typename T>
void put_element(Core& c, const Insn* i, T v) {
    if (i->mem) store_operand<T>(c, i, v);
    else c.gpr[i->rm] = v;
}
void movd_store(Core& c, const Insn* i) {
    sse_check(c, i);
    const uint64_t v = low(c.fpu->xmm[i->reg]);
    if (i->rex_w) put_element<uint64_t>(c, i, v);
    else put_element<uint32_t>(c, i, static_cast<uint32_t>(v));
    return next(c, i);
}
/// PEXTRB, PEXTRW, EXTRACTPS.
template <typename T>
void extract(Core& c, const Insn* i) {
    sse_check<Feature::SSE4_1>(c, i);
    put_element<T>(c, i, element<T>(c.fpu->xmm[i->reg], imm8(i) & (16 / sizeof(T) - 1)));
    return next(c, i);
}
void pextrd(Core& c, const Insn* i) {
    sse_check<Feature::SSE4_1>(c, i);
    const Xmm& v = c.fpu->xmm[i->reg];
    if (i->rex_w) put_element<uint64_t>(c, i, element<uint64_t>(v, imm8(i) & 1));
    else put_element<uint32_t>(c, i, element<uint32_t>(v, imm8(i) & 3));
    return next(c, i);
}
void pextrw_reg(Core& c, const Insn* i) {
    sse_check(c, i);
    c.gpr[i->reg] = element<uint16_t>(c.fpu->xmm[i->rm], imm8(i) & 7);
    return next(c, i);
}

template <typename T, Feature F>
void insert(Core& c, const Insn* i) {
    sse_check<F>(c, i);
    const uint64_t v = gpr_operand<sizeof(T)>(c, i);
    set_element<T>(c.fpu->xmm[i->reg], imm8(i) & (16 / sizeof(T) - 1), v);
    return next(c, i);
}
void pinsrd(Core& c, const Insn* i) { return i->rex_w ? insert<uint64_t, Feature::SSE4_1>(c, i) : insert<uint32_t, Feature::SSE4_1>(c, i); }

YADO_XMM_INSN(m_, movsldup);
YADO_XMM_INSN(m_, movshdup);
YADO_XMM_INSN(m_, movddup);

#define YADO_MOVE_MASK(name)                                         \
    struct m_##name {                                                \
        static uint32_t run(Xmm a) {                                 \
            uint32_t r;                                              \
            asm(#name " %1,%0" : "=r"(r) : "x"(a));                  \
            return r;                                                \
        }                                                            \
    }
YADO_MOVE_MASK(movmskps);
YADO_MOVE_MASK(movmskpd);
YADO_MOVE_MASK(pmovmskb);

template <class Op>
void move_mask(Core& c, const Insn* i) {
    sse_check(c, i);
    c.gpr[i->reg] = Op::run(c.fpu->xmm[i->rm]);
    return next(c, i);
}

void maskmovdqu(Core& c, const Insn* i) {
    sse_check(c, i);
    masked_byte_store(c, i);
    return next(c, i);
}

/// MOVNTI: an ordinary store; needs neither CR0 nor CR4.
void movnti(Core& c, const Insn* i) {
    if (i->rex_w) store_operand<uint64_t>(c, i, c.gpr[i->reg]);
    else store_operand<uint32_t>(c, i, static_cast<uint32_t>(c.gpr[i->reg]));
    return next(c, i);
}

void add_full_moves(Table& t) {
    using enum Mandatory;
    for (const Mandatory p : {None, P66}) {
        t.both(Map::Of, p, 0x10, load_all<Align::None>);
        t.both(Map::Of, p, 0x11, store_all<Align::None>);
        t.both(Map::Of, p, 0x28, load_all<Align::Natural16>);
        t.both(Map::Of, p, 0x29, store_all<Align::Natural16>);
        t.mem(Map::Of, p, 0x2b, store_all<Align::Natural16>);
    }
    t.both(Map::Of, P66, 0x6f, load_all<Align::Natural16>);
    t.both(Map::Of, PF3, 0x6f, load_all<Align::None>);
    t.both(Map::Of, P66, 0x7f, store_all<Align::Natural16>);
    t.both(Map::Of, PF3, 0x7f, store_all<Align::None>);
    t.mem(Map::Of, P66, 0xe7, store_all<Align::Natural16>);
    t.mem(Map::Of, PF2, 0xf0, load_sse3<Align::None>);
    t.mem(Map::Of38, P66, 0x2a, load_sse3<Align::Natural16>);
}

void add_part_moves(Table& t) {
    using enum Mandatory;
    t.mem(Map::Of, PF3, 0x10, load_low<4>);
    t.reg(Map::Of, PF3, 0x10, movss_reg<false>);
    t.mem(Map::Of, PF3, 0x11, store_part<uint32_t>);
    t.reg(Map::Of, PF3, 0x11, movss_reg<true>);
    t.mem(Map::Of, PF2, 0x10, load_low<8>);
    t.reg(Map::Of, PF2, 0x10, move_half<0, 0>);
    t.mem(Map::Of, PF2, 0x11, store_part<uint64_t>);
    t.reg(Map::Of, PF2, 0x11, move_half<0, 0, true>);
    for (const Mandatory p : {None, P66}) {
        t.mem(Map::Of, p, 0x12, load_half<0>);
        t.mem(Map::Of, p, 0x13, store_part<uint64_t, 0>);
        t.mem(Map::Of, p, 0x16, load_half<1>);
        t.mem(Map::Of, p, 0x17, store_part<uint64_t, 1>);
    }
    t.reg(Map::Of, None, 0x12, move_half<0, 1>);
    t.reg(Map::Of, None, 0x16, move_half<1, 0>);
    t.both(Map::Of, PF3, 0x12, xmm_int<m_movsldup, Feature::SSE3>);
    t.both(Map::Of, PF3, 0x16, xmm_int<m_movshdup, Feature::SSE3>);
    t.both(Map::Of, PF2, 0x12, xmm_int<m_movddup, Feature::SSE3, 8>);
    t.mem(Map::Of, PF3, 0x7e, load_low<8>);
    t.reg(Map::Of, PF3, 0x7e, movq_reg<false>);
    t.mem(Map::Of, P66, 0xd6, store_part<uint64_t>);
    t.reg(Map::Of, P66, 0xd6, movq_reg<true>);
    t.both(Map::Of, P66, 0x6e, movd_load);
    t.both(Map::Of, P66, 0x7e, movd_store);
}

}  // namespace

void masked_byte_store(Core& c, const Insn* i) {
    const uint32_t mask = m_pmovmskb::run(c.fpu->xmm[i->rm]);
    if (!mask) return;
    const Xmm data = c.fpu->xmm[i->reg];
    const uint64_t rdi = c.gpr[cpu::RDI];
    const uint64_t ea = i->addrsize == 8 ? rdi : i->addrsize == 4 ? static_cast<uint32_t>(rdi) : static_cast<uint16_t>(rdi);
    const unsigned first = std::countr_zero(mask), last = 31 - std::countl_zero(mask);
    const uint64_t linear = c.segmented(i, i->seg, ea + first, last - first + 1, Acc::Write) - first;
    c.probe_write(i, linear + first, last - first + 1);
    for (unsigned n = first; n <= last; ++n)
        if (mask >> n & 1) c.store<uint8_t>(i, linear + n, element<uint8_t>(data, n));
}

void add_sse_move(Table& t) {
    using enum Mandatory;
    add_full_moves(t);
    add_part_moves(t);
    t.reg(Map::Of, None, 0x50, move_mask<m_movmskps>);
    t.reg(Map::Of, P66, 0x50, move_mask<m_movmskpd>);
    t.reg(Map::Of, P66, 0xd7, move_mask<m_pmovmskb>);
    t.both(Map::Of, P66, 0xc4, insert<uint16_t, kAlways>);
    t.reg(Map::Of, P66, 0xc5, pextrw_reg);
    t.both(Map::Of3A, P66, 0x14, extract<uint8_t>);
    t.both(Map::Of3A, P66, 0x15, extract<uint16_t>);
    t.both(Map::Of3A, P66, 0x16, pextrd);
    t.both(Map::Of3A, P66, 0x17, extract<uint32_t>);
    t.both(Map::Of3A, P66, 0x20, insert<uint8_t, Feature::SSE4_1>);
    t.both(Map::Of3A, P66, 0x22, pinsrd);
    t.reg(Map::Of, P66, 0xf7, maskmovdqu);
    t.mem(Map::Of, None, 0xc3, movnti);
}

}  // namespace yado::cpu_interp
