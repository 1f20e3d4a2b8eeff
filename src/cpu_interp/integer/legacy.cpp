// Instructions that exist outside 64-bit mode only: decimal adjustment, BOUND, SALC. SDM vol. 2.
#include "cpu_interp/integer/flags.h"
#include "cpu_interp/integer/operands.h"
#include "cpu_interp/integer/select.h"

namespace yado::cpu_interp {

namespace {

uint8_t al(const Core& c) { return static_cast<uint8_t>(c.gpr[cpu::RAX]); }
uint8_t ah(const Core& c) { return static_cast<uint8_t>(c.gpr[cpu::RAX] >> 8); }
void set_ax(Core& c, unsigned h, unsigned l) {
    write_low<uint16_t>(c, cpu::RAX, static_cast<uint16_t>((h & 0xff) << 8 | (l & 0xff)));
}

/// SF, ZF, PF of a byte; the rest cleared.
uint16_t result_flags(uint8_t v) {
    uint16_t flags = 0;
    op::Test::run(v, v, flags);
    return flags;
}

void daa_das(Core& c, bool subtract) {
    const uint8_t old = al(c);
    const bool old_carry = c.aflags & hflags::CF;
    uint8_t v = old;
    const auto adjust = [&](uint8_t by) { v = static_cast<uint8_t>(subtract ? v - by : v + by); };
    uint16_t extra = 0;
    if ((old & 0xf) > 9 || c.aflags & hflags::AF) {
        const bool wraps = subtract ? old < 6 : old > 0xf9;
        if (old_carry || wraps) extra |= hflags::CF;
        adjust(6);
        extra |= hflags::AF;
    }
    if (old > 0x99 || old_carry) {
        adjust(0x60);
        extra |= hflags::CF;
    } else if (!subtract) {
        extra &= ~hflags::CF;
    }
    write_low<uint8_t>(c, cpu::RAX, v);
    c.aflags = result_flags(v) | extra;
}
void daa(Core& c, const Insn* i) {
    daa_das(c, false);
    return next(c, i);
}
void das(Core& c, const Insn* i) {
    daa_das(c, true);
    return next(c, i);
}

void aaa_aas(Core& c, int direction) {
    const bool adjust = (al(c) & 0xf) > 9 || c.aflags & hflags::AF;
    if (adjust) {
        const uint16_t ax = static_cast<uint16_t>(static_cast<uint16_t>(c.gpr[cpu::RAX]) + direction * 6);
        set_ax(c, (ax >> 8) + direction, ax & 0xf);
    } else {
        write_low<uint8_t>(c, cpu::RAX, al(c) & 0xf);
    }
    c.aflags = result_flags(al(c)) | (adjust ? hflags::AF | hflags::CF : 0);
}
void aaa(Core& c, const Insn* i) {
    aaa_aas(c, 1);
    return next(c, i);
}
void aas(Core& c, const Insn* i) {
    aaa_aas(c, -1);
    return next(c, i);
}
void aam(Core& c, const Insn* i) {
    const uint8_t base = static_cast<uint8_t>(i->imm);
    if (base == 0) c.raise(i, Vec::DE);
    set_ax(c, al(c) / base, al(c) % base);
    c.aflags = result_flags(al(c));
    return next(c, i);
}
void aad(Core& c, const Insn* i) {
    set_ax(c, 0, al(c) + ah(c) * static_cast<uint8_t>(i->imm));
    c.aflags = result_flags(al(c));
    return next(c, i);
}
void salc(Core& c, const Insn* i) {
    write_low<uint8_t>(c, cpu::RAX, c.aflags & hflags::CF ? 0xff : 0);
    return next(c, i);
}

/// Bounds are a pair in memory, signed.
template <typename T>
void bound(Core& c, const Insn* i) {
    struct Bounds { T low, high; };
    const auto b = c.load<Bounds>(i, c.address(i, sizeof(Bounds), Acc::Read));
    const T v = static_cast<T>(c.gpr[i->reg]);
    if (v < b.low || v > b.high) c.raise(i, Vec::BR);
    return next(c, i);
}

}  // namespace

Selected select_legacy(const Insn& i) {
    if (i.map != Map::One || in_mode64(i)) return {};
    switch (i.opcode) {
    case 0x27: return {daa};
    case 0x2f: return {das};
    case 0x37: return {aaa};
    case 0x3f: return {aas};
    case 0x62:
        if (!i.mem) return {};
        return {i.opsize == 2 ? bound<int16_t> : bound<int32_t>};
    case 0xd4: return {aam};
    case 0xd5: return {aad};
    case 0xd6: return {salc};
    default: return {};
    }
}

}  // namespace yado::cpu_interp
