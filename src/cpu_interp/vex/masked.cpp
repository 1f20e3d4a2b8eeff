// Masked moves and gathers: an element whose mask bit is clear is not accessed and cannot fault. SDM vol. 2, VMASKMOV,
// VPMASKMOV, VGATHER, VPGATHER.
#include <type_traits>

#include "cpu_interp/vex/ops.h"

namespace yado::cpu_interp::vex {

namespace {

using enum Mandatory;

/// Element n of a register or temporary. Bytes of the upper half lie 256 behind the lower's.
template <typename T>
char* at(Xmm* v, unsigned n) {
    const unsigned byte = n * sizeof(T);
    return reinterpret_cast<char*>(v) + (byte & 15) + (byte & 16) * 16;
}
template <typename T>
T get(const Xmm* v, unsigned n) {
    T t;
    std::memcpy(&t, at<T>(const_cast<Xmm*>(v), n), sizeof t);
    return t;
}
template <typename T>
void put(Xmm* v, unsigned n, T value) {
    std::memcpy(at<T>(v, n), &value, sizeof value);
}
template <typename T>
bool sign(const Xmm* v, unsigned n) {
    return get<std::make_signed_t<T>>(v, n) < 0;
}

/// Linear address of `size` bytes at ea, the instruction's segment applied.
uint64_t linear_of(Core& c, const Insn* i, uint64_t ea, unsigned size, Acc acc) {
    if (c.code_mode != CodeMode::Bits64) return c.segmented(i, i->seg, ea, size, acc);
    return i->seg >= cpu::FS ? c.seg[i->seg].base + ea : ea;
}
template <typename T>
uint64_t element_address(Core& c, const Insn* i, unsigned n, Acc acc) {
    if (i->flat) return c.address(i, sizeof(T), acc) + n * sizeof(T);
    return linear_of(c, i, c.effective(i) + n * sizeof(T), sizeof(T), acc);
}

// --- masked moves -----------------------------------------------------------------------------------------------------------

template <typename T, bool L, Feature F>
void masked_load(Core& c, const Insn* i) {
    avx_check<F>(c, i);
    Fpu& f = *c.fpu;
    const Xmm* const mask = ymm(f, i->vvvv);
    Xmm* const result = ymm(f, kResult);
    *result = upper(result) = Xmm{};
    for (unsigned n = 0; n < kWidth<L> / sizeof(T); ++n)
        if (sign<T>(mask, n)) put<T>(result, n, c.load<T>(i, element_address<T>(c, i, n, Acc::Read)));
    f.xmm[i->reg] = *result;
    f.ymm_high[i->reg] = upper(result);
    return next(c, i);
}

/// Nothing is written unless all of it may be.
template <typename T, bool L, Feature F>
void masked_store(Core& c, const Insn* i) {
    avx_check<F>(c, i);
    const Xmm* const mask = ymm(*c.fpu, i->vvvv);
    const Xmm* const data = ymm(*c.fpu, i->reg);
    constexpr unsigned kCount = kWidth<L> / sizeof(T);
    for (unsigned n = 0; n < kCount; ++n)
        if (sign<T>(mask, n)) c.probe_write(i, element_address<T>(c, i, n, Acc::Write), sizeof(T));
    for (unsigned n = 0; n < kCount; ++n)
        if (sign<T>(mask, n)) c.store<T>(i, element_address<T>(c, i, n, Acc::Write), get<T>(data, n));
    return next(c, i);
}

template <typename T, Feature F>
void add_masked(Table& t, uint8_t load, uint8_t store, W w) {
    t.add({Map::Of38, P66, load}, {w, L::L0, V::Used, Rm::Memory}, masked_load<T, L0, F>);
    t.add({Map::Of38, P66, load}, {w, L::L1, V::Used, Rm::Memory}, masked_load<T, L1, F>);
    t.add({Map::Of38, P66, store}, {w, L::L0, V::Used, Rm::Memory}, masked_store<T, L0, F>);
    t.add({Map::Of38, P66, store}, {w, L::L1, V::Used, Rm::Memory}, masked_store<T, L1, F>);
}

void maskmovdqu(Core& c, const Insn* i) {
    avx_check(c, i);
    masked_byte_store(c, i);
    return next(c, i);
}

// --- gathers ------------------------------------------------------------------------------------------------------------------

template <typename Index>
uint64_t gather_address(Core& c, const Insn* i, unsigned n, unsigned size) {
    const int64_t index = get<Index>(ymm(*c.fpu, i->index), n);
    const uint64_t ea = c.gpr[i->base] + (static_cast<uint64_t>(index) << i->scale) + static_cast<int64_t>(i->disp);
    return linear_of(c, i, i->addrsize == 8 ? ea : static_cast<uint32_t>(ea), size, Acc::Read);
}

/// Clears elements n and above.
template <typename T>
void clear_from(Xmm* v, unsigned n) {
    for (; n < 32 / sizeof(T); ++n) put<T>(v, n, 0);
}

/// Elements are taken in order, and the mask of each that is behind is cleared, so that after a fault the instruction goes on
/// from there.
template <typename Index, typename T, bool L>
void gather(Core& c, const Insn* i) {
    avx_check<Feature::AVX2>(c, i);
    constexpr unsigned kCount = kWidth<L> / std::max(sizeof(Index), sizeof(T));
    Xmm* const mask = ymm(*c.fpu, i->vvvv);
    Xmm* const d = ymm(*c.fpu, i->reg);
    for (unsigned n = 0; n < kCount; ++n) {
        if (sign<T>(mask, n)) put<T>(d, n, c.load<T>(i, gather_address<Index>(c, i, n, sizeof(T))));
        put<T>(mask, n, 0);
    }
    clear_from<T>(d, kCount);
    clear_from<T>(mask, 0);
    return next(c, i);
}

/// #UD where two of destination, index and mask are one register; there has to be a SIB byte.
template <Handler Run>
void distinct(Core& c, const Insn* i) {
    const bool sib = i->addrsize != 2 && (i->modrm & 7) == 4;
    if (!sib || i->reg == i->index || i->reg == i->vvvv || i->index == i->vvvv) c.raise(i, Vec::UD);
    return Run(c, i);
}

template <typename Index, typename T>
void add_gather(Table& t, uint8_t op, W w) {
    t.add({Map::Of38, P66, op}, {w, L::L0, V::Used, Rm::Memory}, distinct<gather<Index, T, L0>>);
    t.add({Map::Of38, P66, op}, {w, L::L1, V::Used, Rm::Memory}, distinct<gather<Index, T, L1>>);
}

}  // namespace

void add_masked(Table& t) {
    add_masked<uint32_t, Feature::AVX>(t, 0x2c, 0x2e, W::W0);
    add_masked<uint64_t, Feature::AVX>(t, 0x2d, 0x2f, W::W0);
    add_masked<uint32_t, Feature::AVX2>(t, 0x8c, 0x8e, W::W0);
    add_masked<uint64_t, Feature::AVX2>(t, 0x8c, 0x8e, W::W1);
    t.add({Map::Of, P66, 0xf7}, {.l = L::L0, .v = V::None, .rm = Rm::Register}, maskmovdqu);
    for (const uint8_t op : {0x90, 0x92}) {
        add_gather<int32_t, uint32_t>(t, op, W::W0);
        add_gather<int32_t, uint64_t>(t, op, W::W1);
    }
    for (const uint8_t op : {0x91, 0x93}) {
        add_gather<int64_t, uint32_t>(t, op, W::W0);
        add_gather<int64_t, uint64_t>(t, op, W::W1);
    }
}

}  // namespace yado::cpu_interp::vex
