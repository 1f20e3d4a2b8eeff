#include "cpu_bt/assembler.h"

namespace yado::cpu_bt {

using cpu_interp::Map;

namespace {

struct Fields {
    uint8_t rex = 0;
    uint8_t modrm = 0;
    bool has_sib = false;
    uint8_t sib = 0;
    unsigned disp_size = 0;
};

unsigned disp_size_of(const Rm& rm) {
    if (rm.base < 0) return 4;
    if (rm.disp == 0 && (rm.base & 7) != kRbp) return 0;
    return rm.disp == static_cast<int8_t>(rm.disp) ? 1 : 4;
}

/// SDM vol. 2, tables 2-2 and 2-3. Without a base a SIB byte says so; RIP-relative forms are never made here.
Fields memory_fields(int reg, const Rm& rm) {
    Fields f;
    f.rex = static_cast<uint8_t>((reg & 8 ? 4 : 0) | (rm.index >= 0 && rm.index & 8 ? 2 : 0) | (rm.base >= 0 && rm.base & 8 ? 1 : 0));
    f.disp_size = disp_size_of(rm);
    const unsigned mod = rm.base < 0 || f.disp_size == 0 ? 0 : f.disp_size == 1 ? 1 : 2;
    f.has_sib = rm.index >= 0 || rm.base < 0 || (rm.base & 7) == kRsp;
    f.modrm = static_cast<uint8_t>(mod << 6 | (reg & 7) << 3 | (f.has_sib ? 4 : rm.base & 7));
    const unsigned index = rm.index < 0 ? 4 : rm.index & 7;
    f.sib = static_cast<uint8_t>(rm.scale << 6 | index << 3 | (rm.base < 0 ? 5 : rm.base & 7));
    return f;
}

Fields fields_of(int reg, const Rm& rm) {
    if (rm.mem) return memory_fields(reg, rm);
    Fields f;
    f.rex = static_cast<uint8_t>((reg & 8 ? 4 : 0) | (rm.reg & 8 ? 1 : 0));
    f.modrm = static_cast<uint8_t>(0xc0 | (reg & 7) << 3 | (rm.reg & 7));
    return f;
}

}  // namespace

void Assembler::legacy_prefixes(const Encoding& e, uint8_t rex) {
    if (e.lock) db(0xf0);
    if (e.p66) db(0x66);
    if (e.pf3) db(0xf3);
    if (e.pf2) db(0xf2);
    if (rex || e.byte_operand) db(0x40 | rex);
    if (e.map != Map::One) db(0x0f);
    if (e.map == Map::Of38) db(0x38);
    if (e.map == Map::Of3A) db(0x3a);
}

/// The three-byte form: SDM vol. 2, 2.3.5.
void Assembler::vex_prefix(const Encoding& e, uint8_t rex) {
    const unsigned map = e.map == Map::Of ? 1 : e.map == Map::Of38 ? 2 : 3;
    const unsigned pp = e.p66 ? 1 : e.pf3 ? 2 : e.pf2 ? 3 : 0;
    db(0xc4);
    db((~rex & 7) << 5 | map);
    db((rex & 8 ? 0x80 : 0) | (~e.vvvv & 15) << 3 | (e.l ? 4 : 0) | pp);
}

void Assembler::encode(const Encoding& e, int reg, const Rm& rm) {
    const Fields f = fields_of(reg, rm);
    const uint8_t rex = f.rex | (e.w ? 8 : 0);
    if (e.vex) vex_prefix(e, rex);
    else legacy_prefixes(e, rex);
    db(e.opcode);
    db(f.modrm);
    if (f.has_sib) db(f.sib);
    immediate(rm.disp, f.disp_size);
}

void Assembler::immediate(int32_t value, unsigned size) {
    if (size == 1) db(static_cast<uint8_t>(value));
    if (size == 2) dw(static_cast<uint16_t>(value));
    if (size == 4) dd(static_cast<uint32_t>(value));
}

size_t Assembler::jump_if(unsigned condition) {
    db(0x0f);
    db(0x80 | condition);
    dd(0);
    return here();
}

size_t Assembler::jump() {
    db(0xe9);
    dd(0);
    return here();
}

void Assembler::aim(size_t jump, size_t target) {
    rewrite(jump - 4, static_cast<uint32_t>(target - jump), 4);
}

void Assembler::call_to(size_t target) {
    db(0xe8);
    dd(0);
    aim(here(), target);
}

void Assembler::replace_by_jump(size_t from, size_t target) {
    rewrite(from, 0xe9, 1);
    aim(from + 5, target);
}

}  // namespace yado::cpu_bt
