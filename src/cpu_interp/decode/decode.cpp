// The path through this file: decode() = prefixes -> VEX or opcode -> operand size -> ModRM, SIB, displacement -> immediate
// -> LOCK check. A Reader remembers why it ran dry, so the steps read straight on and the end looks once.
#include "cpu_interp/decode/decode.h"

#include <algorithm>

#include "cpu/state.h"
#include "cpu_interp/decode/tables.h"

namespace yado::cpu_interp {

namespace {

class Reader {
  public:
    Reader(const uint8_t* bytes, size_t n) : bytes_(bytes), n_(n) {}

    uint8_t u8() {
        if (pos_ >= std::min<size_t>(n_, kMaxInsnBytes)) [[unlikely]] {
            if (status_ == DecodeStatus::Ok) status_ = pos_ >= kMaxInsnBytes ? DecodeStatus::TooLong : DecodeStatus::NeedMore;
            return 0;
        }
        return bytes_[pos_++];
    }
    /// The next byte without taking it.
    uint8_t peek() {
        const size_t at = pos_;
        const uint8_t byte = u8();
        pos_ = at;
        return byte;
    }
    uint64_t little_endian(unsigned size) {
        uint64_t v = 0;
        for (unsigned k = 0; k < size; ++k) v |= static_cast<uint64_t>(u8()) << (8 * k);
        return v;
    }
    int32_t signed_value(unsigned size) {
        const uint64_t v = little_endian(size);
        if (size == 1) return static_cast<int8_t>(v);
        return size == 2 ? static_cast<int16_t>(v) : static_cast<int32_t>(v);
    }
    size_t pos() const { return pos_; }
    DecodeStatus status() const { return status_; }

  private:
    const uint8_t* bytes_;
    size_t n_;
    size_t pos_ = 0;
    DecodeStatus status_ = DecodeStatus::Ok;
};

constexpr uint8_t kNoSegment = 0xff;

struct Prefixes {
    uint8_t rex = 0;
    uint8_t segment = kNoSegment;
    bool op66 = false, addr67 = false, lock = false;
    uint8_t repeat = 0;  ///< F2, F3: the last one
};

/// One prefix byte; false: it is the opcode. SDM vol. 2, 2.1.1 and 2.2.1 (REX counts only right before the opcode).
bool take_prefix(uint8_t byte, bool mode64, Prefixes& p) {
    if (mode64 && byte >= 0x40 && byte <= 0x4f) {
        p.rex = byte;
        return true;
    }
    switch (byte) {
    case 0x26: case 0x2e: case 0x36: case 0x3e:
        if (!mode64) p.segment = (byte - 0x26) >> 3;
        break;
    case 0x64: p.segment = cpu::FS; break;
    case 0x65: p.segment = cpu::GS; break;
    case 0x66: p.op66 = true; break;
    case 0x67: p.addr67 = true; break;
    case 0xf0: p.lock = true; break;
    case 0xf2: case 0xf3: p.repeat = byte; break;
    default: return false;
    }
    p.rex = 0;
    return true;
}

// --- VEX (SDM vol. 2, 2.3.5) --------------------------------------------------------------------------------------------

/// Outside 64-bit mode C4 and C5 are LES and LDS, whose memory operand no VEX prefix looks like.
bool starts_vex(Reader& r, uint8_t first, bool mode64) {
    return (first == 0xc4 || first == 0xc5) && (mode64 || r.peek() >= 0xc0);
}

bool legacy_before_vex(const Prefixes& p) { return p.rex || p.op66 || p.repeat || p.lock; }

/// W, vvvv, L and pp: the last byte of both forms.
void read_vex_tail(uint8_t byte, Insn& i) {
    static constexpr Mandatory kPp[4] = {Mandatory::None, Mandatory::P66, Mandatory::PF3, Mandatory::PF2};
    i.vex = true;
    i.rex = false;
    i.rex_w = byte & 0x80;
    i.vvvv = (~byte >> 3) & 15;
    i.vex_l = byte & 4;
    i.mandatory = kPp[byte & 3];
}

/// Reads prefix and opcode; the registers' extensions and W go to p.rex. nullptr: no such opcode map.
const OpcodeInfo* read_vex(Reader& r, uint8_t first, bool mode64, Prefixes& p, Insn& i) {
    const uint8_t byte = r.u8();
    const bool three = first == 0xc4;
    const uint8_t tail = three ? r.u8() : byte & 0x7f;
    read_vex_tail(tail, i);
    const uint8_t extensions = (~byte >> 5) & (three ? 7 : 4);
    p.rex = mode64 ? extensions | (tail >> 4 & 8) : 0;
    i.opcode = r.u8();
    const unsigned map = three ? byte & 0x1f : 1;
    i.map = static_cast<Map>(map & 3);
    if (map == 0 || map > 3) return nullptr;
    return i.map == Map::Of ? &kVex0f[i.opcode] : i.map == Map::Of38 ? &k0f38 : &k0f3a;
}

/// VGATHER and VPGATHER: the index is a vector register.
bool has_vsib(const Insn& i) { return i.vex && i.map == Map::Of38 && (i.opcode & 0xfc) == 0x90; }

// --- operands --------------------------------------------------------------------------------------------------------------

uint8_t operand_size(const OpcodeInfo& info, const Prefixes& p, CodeMode mode) {
    if (mode == CodeMode::Bits64) {
        if (info.force_64 || p.rex & 8) return 8;
        if (p.op66) return 2;
        return info.default_64 ? 8 : 4;
    }
    return (mode == CodeMode::Bits32) != p.op66 ? 4 : 2;
}

uint8_t address_size(const Prefixes& p, CodeMode mode) {
    if (mode == CodeMode::Bits64) return p.addr67 ? 4 : 8;
    return (mode == CodeMode::Bits32) != p.addr67 ? 4 : 2;
}

/// SDM vol. 2, table 2-1.
void read_address16(Reader& r, Insn& i, unsigned mod, unsigned rm) {
    static constexpr uint8_t kBase[8] = {cpu::RBX, cpu::RBX, cpu::RBP, cpu::RBP, cpu::RSI, cpu::RDI, cpu::RBP, cpu::RBX};
    static constexpr uint8_t kIndex[8] = {cpu::RSI, cpu::RDI, cpu::RSI, cpu::RDI, kNoReg, kNoReg, kNoReg, kNoReg};
    i.base = kBase[rm];
    i.index = kIndex[rm];
    if (mod == 0 && rm == 6) {
        i.base = kNoReg;
        i.disp = r.signed_value(2);
    } else if (mod != 0) {
        i.disp = r.signed_value(mod);
    }
}

/// SDM vol. 2, tables 2-2 and 2-3; 2.2.1.3 and 2.2.1.6 for REX and RIP.
void read_address32(Reader& r, Insn& i, unsigned mod, unsigned rm, uint8_t rex, bool mode64) {
    bool no_base = false;
    if (rm == 4) {
        const uint8_t sib = r.u8();
        const uint8_t index = (sib >> 3 & 7) | (rex & 2 ? 8 : 0);
        i.scale = sib >> 6;
        i.index = index == 4 && !has_vsib(i) ? kNoReg : index;
        i.base = (sib & 7) | (rex & 1 ? 8 : 0);
        no_base = (sib & 7) == 5 && mod == 0;
        if (no_base) i.base = kNoReg;
    } else {
        i.base = rm | (rex & 1 ? 8 : 0);
        no_base = rm == 5 && mod == 0;
        if (no_base) i.base = mode64 ? kRipReg : kNoReg;
    }
    if (mod == 1) i.disp = r.signed_value(1);
    if (mod == 2 || no_base) i.disp = r.signed_value(4);
}

void read_modrm(Reader& r, Insn& i, const OpcodeInfo& info, uint8_t rex, bool mode64) {
    i.modrm = r.u8();
    const unsigned mod = info.register_only ? 3 : i.modrm >> 6;
    const unsigned rm = i.modrm & 7;
    i.reg = (i.modrm >> 3 & 7) | (rex & 4 ? 8 : 0);
    if (mod == 3) {
        i.rm = rm | (rex & 1 ? 8 : 0);
        return;
    }
    i.mem = true;
    if (i.addrsize == 2)
        read_address16(r, i, mod, rm);
    else
        read_address32(r, i, mod, rm, rex, mode64);
}

void read_immediate(Reader& r, Insn& i, Imm kind) {
    switch (kind) {
    case Imm::None: break;
    case Imm::Ib: i.imm = r.signed_value(1); break;
    case Imm::Iw: i.imm = static_cast<uint16_t>(r.little_endian(2)); break;
    case Imm::Iz: case Imm::Jz: i.imm = r.signed_value(i.opsize == 2 ? 2 : 4); break;
    case Imm::Iv:
        if (i.opsize == 8)
            i.imm64 = r.little_endian(8);
        else
            i.imm = r.signed_value(i.opsize);
        break;
    case Imm::Ap:
        i.imm = static_cast<int32_t>(r.little_endian(i.opsize == 2 ? 2 : 4));
        i.disp = static_cast<int32_t>(r.little_endian(2));
        break;
    case Imm::IwIb:
        i.imm = static_cast<uint16_t>(r.little_endian(2));
        i.disp = r.u8();
        break;
    case Imm::Moffs: i.imm64 = r.little_endian(i.addrsize); break;
    }
}

/// Immediates that depend on ModRM.reg: only TEST of group 3 has one.
Imm immediate_kind(const OpcodeInfo& info, const Insn& i) {
    if (i.map == Map::One && (i.opcode | 1) == 0xf7 && (i.modrm >> 3 & 7) < 2) return i.opcode == 0xf6 ? Imm::Ib : Imm::Iz;
    return info.imm;
}

/// SDM vol. 2, LOCK: the instructions that it may precede, with a memory destination.
bool may_lock(const Insn& i) {
    if (!i.mem) return false;
    const unsigned group = i.modrm >> 3 & 7;
    if (i.map == Map::One) {
        if (i.opcode < 0x38) return (i.opcode & 7) < 2;
        switch (i.opcode) {
        case 0x80: case 0x81: case 0x82: case 0x83: return group != 7;
        case 0x86: case 0x87: return true;
        case 0xf6: case 0xf7: return group == 2 || group == 3;
        case 0xfe: case 0xff: return group < 2;
        default: return false;
        }
    }
    if (i.map != Map::Of) return false;
    switch (i.opcode) {
    case 0xab: case 0xb0: case 0xb1: case 0xb3: case 0xbb: case 0xc0: case 0xc1: return true;
    case 0xba: return group >= 5;
    case 0xc7: return group == 1;
    default: return false;
    }
}

const OpcodeInfo& read_opcode(Reader& r, uint8_t first, Insn& i) {
    i.opcode = first;
    if (first != 0x0f) return kOneByte[first];
    i.map = Map::Of;
    i.opcode = r.u8();
    if (i.opcode != 0x38 && i.opcode != 0x3a) return k0f[i.opcode];
    i.map = i.opcode == 0x38 ? Map::Of38 : Map::Of3A;
    i.opcode = r.u8();
    return i.map == Map::Of38 ? k0f38 : k0f3a;
}

void apply_prefixes(const Prefixes& p, CodeMode mode, Insn& i) {
    i.rex = p.rex != 0;
    i.rex_w = p.rex & 8;
    i.lock = p.lock;
    i.rep = p.repeat == 0xf3;
    i.repne = p.repeat == 0xf2;
    i.op66 = p.op66;
    i.mandatory = i.rep ? Mandatory::PF3 : i.repne ? Mandatory::PF2 : p.op66 ? Mandatory::P66 : Mandatory::None;
    i.addrsize = address_size(p, mode);
}

/// SDM vol. 1, table 3-5: SS with a stack pointer as base, else DS.
uint8_t segment_of(const Prefixes& p, const Insn& i) {
    if (p.segment != kNoSegment) return p.segment;
    return i.mem && (i.base == cpu::RSP || i.base == cpu::RBP) ? cpu::SS : cpu::DS;
}

/// Operand sizes of FF /2 /4 /6 (near branches, PUSH): as their one-opcode kin.
OpcodeInfo adjusted(const OpcodeInfo& info, const Insn& i) {
    OpcodeInfo o = info;
    const unsigned group = i.modrm >> 3 & 7;
    if (i.map == Map::One && i.opcode == 0xff) {
        o.force_64 = group == 2 || group == 4;
        o.default_64 = group == 6;
    }
    return o;
}

}  // namespace

DecodeStatus decode(const uint8_t* bytes, size_t n, CodeMode mode, Insn* out) {
    const bool mode64 = mode == CodeMode::Bits64;
    Insn& i = *out;
    i = Insn{};
    i.base = i.index = kNoReg;
    i.mode = static_cast<uint8_t>(mode);

    Reader r(bytes, n);
    Prefixes p;
    uint8_t byte = r.u8();
    while (r.status() == DecodeStatus::Ok && take_prefix(byte, mode64, p)) byte = r.u8();
    apply_prefixes(p, mode, i);
    const bool vex = starts_vex(r, byte, mode64);
    const bool refused = vex && legacy_before_vex(p);
    const OpcodeInfo* const known = vex ? read_vex(r, byte, mode64, p, i) : &read_opcode(r, byte, i);
    if (r.status() != DecodeStatus::Ok) return r.status();
    i.length = static_cast<uint8_t>(r.pos());
    if (!known || known->undefined || (known->no_64 && mode64)) return DecodeStatus::Undefined;
    const OpcodeInfo& info = *known;

    i.reg = i.rm = (i.opcode & 7) | (p.rex & 1 ? 8 : 0);
    if (info.modrm) read_modrm(r, i, info, p.rex, mode64);
    i.opsize = vex ? (p.rex & 8 ? 8 : 4) : operand_size(adjusted(info, i), p, mode);
    read_immediate(r, i, immediate_kind(info, i));
    if (r.status() != DecodeStatus::Ok) return r.status();

    i.length = static_cast<uint8_t>(r.pos());
    i.seg = segment_of(p, i);
    i.flat = mode64 && i.addrsize == 8 && i.seg < cpu::FS && i.base != kRipReg;
    return refused || (i.lock && !may_lock(i)) ? DecodeStatus::Undefined : DecodeStatus::Ok;
}

}  // namespace yado::cpu_interp
