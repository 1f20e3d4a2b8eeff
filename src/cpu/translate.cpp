#include "cpu/translate.h"

namespace yado::cpu {

namespace {

constexpr uint64_t kPresent = 1, kLarge = 0x80, kFrame = 0x000f'ffff'ffff'f000;

/// A paging mode as numbers.
struct Geometry {
    unsigned levels;
    unsigned index_bits;
    unsigned top_index_bits;  ///< PAE's topmost table has four entries
    unsigned entry_size;
    uint64_t root;
};

Geometry geometry(const CpuState& s) {
    if (s.efer & efer::LMA) return {s.cr4 & cr4::LA57 ? 5u : 4u, 9, 9, 8, s.cr3 & kFrame};
    if (s.cr4 & cr4::PAE) return {3, 9, 2, 8, s.cr3 & 0xffff'ffe0};
    return {2, 10, 10, 4, s.cr3 & 0xffff'f000};
}

bool valid(const CpuState& s, const Geometry& g, uint64_t linear) {
    if (!(s.efer & efer::LMA)) return linear >> 32 == 0;
    const unsigned unused = 64 - (12 + 9 * g.levels);
    return static_cast<uint64_t>(static_cast<int64_t>(linear << unused) >> unused) == linear;
}

bool is_large(const CpuState& s, const Geometry& g, unsigned level, uint64_t entry) {
    if (!(entry & kLarge)) return false;
    if (level == 2) return g.entry_size == 8 || s.cr4 & cr4::PSE;
    return level == 3 && g.levels > 3;
}

uint64_t large_base(const Geometry& g, unsigned shift, uint64_t entry) {
    if (g.entry_size == 4) return (entry & 0xffc0'0000) | (entry >> 13 & 0xff) << 32;  // PSE-36
    return entry & kFrame & ~((1ull << shift) - 1);
}

Result<uint64_t> read_entry(const mem::GuestMemory& memory, uint64_t address, unsigned size) {
    if (size == 8) return memory.load<uint64_t>(GuestPhysAddr(address));
    return YADO_TRY(memory.load<uint32_t>(GuestPhysAddr(address)));
}

}  // namespace

Result<GuestPhysAddr> translate(const CpuState& s, const mem::GuestMemory& memory, GuestLinearAddr address) {
    const uint64_t linear = address.value();
    const Geometry g = geometry(s);
    if (!valid(s, g, linear)) return fail(ErrorKind::OutOfRange, "{:#x} is no linear address in this mode", linear);
    if (!(s.cr0 & cr0::PG)) return GuestPhysAddr(linear);
    uint64_t table = g.root;
    for (unsigned level = g.levels; level > 0; --level) {
        const unsigned shift = 12 + g.index_bits * (level - 1);
        const unsigned bits = level == g.levels ? g.top_index_bits : g.index_bits;
        const uint64_t index = linear >> shift & ((1u << bits) - 1);
        const uint64_t entry = YADO_TRY(read_entry(memory, table + index * g.entry_size, g.entry_size));
        if (!(entry & kPresent)) break;
        const uint64_t offset = linear & ((1ull << shift) - 1);
        if (level > 1 && is_large(s, g, level, entry)) return GuestPhysAddr(large_base(g, shift, entry) | offset);
        table = entry & kFrame;
        if (level == 1) return GuestPhysAddr(table | offset);
    }
    return fail(ErrorKind::OutOfRange, "{:#x} is not mapped", linear);
}

}  // namespace yado::cpu
