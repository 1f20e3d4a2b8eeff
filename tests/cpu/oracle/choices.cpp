#include "choices.h"

#include <algorithm>
#include <cstring>

#include "cpu/state.h"

namespace yado::oracle {

namespace {

constexpr uint64_t kArithmetic = 0x8d5;
constexpr uint64_t kIndefinite = 0xc000'0000'0000'0000;   ///< significand of what an empty register holds
constexpr size_t kStatusWord = 2, kTags = 4, kMxcsr = 24, kStacks = 32, kXmms = 160;
constexpr uint16_t kTop = 0x3800, kPending = 0x80;
constexpr uint16_t kOfExceptions = 0x82ff;   ///< of FSW: B, C1 (which way it was rounded, or which end was passed), ES, SF and the exceptions

template <typename T>
T part(const Registers& r, size_t offset) {
    T value;
    std::memcpy(&value, r.fx.data() + offset, sizeof value);
    return value;
}
template <typename T>
void put_part(Registers& r, size_t offset, T value) {
    std::memcpy(r.fx.data() + offset, &value, sizeof value);
}

/// Of an operand in memory: #SS, #GP, #PF, #AC.
bool of_memory(const Outcome& o) { return o.trapped && ((o.trap.vector >= 12 && o.trap.vector <= 14) || o.trap.vector == 17); }

struct Choice {
    const Case& test;
    const Instruction& last;
    const Outcome& host;
    Outcome& guest;

    ZydisMnemonic mnemonic() const { return last.insn.mnemonic; }
    bool stores() const { return last.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY && (last.operands[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE); }
};

/// Repeated string instructions with 32-bit addresses in 64-bit code: whether registers that do not change, because ECX is 0 or the first
/// element faults, are nevertheless written, which zeroes their upper halves (Intel), is not said (SDM vol. 2, REP; APM vol. 3, 1.2.6).
void settle_upper_halves(const Choice& c) {
    if (c.test.mode != Mode::Long || c.last.insn.address_width != 32) return;
    for (const unsigned r : {1, 6, 7})
        if (c.guest.out.gpr[r] == c.test.in.gpr[r] && c.host.out.gpr[r] == static_cast<uint32_t>(c.guest.out.gpr[r])) c.guest.out.gpr[r] = c.host.out.gpr[r];
}

/// SDM vol. 2, REP: flags of CMPS and SCAS that fault are those from before the instruction. AMD's: those of the last comparison.
void settle_flags_of_fault(const Choice& c) {
    const bool compares = c.last.insn.meta.category == ZYDIS_CATEGORY_STRINGOP && (c.last.insn.cpu_flags && c.last.insn.cpu_flags->modified & ZYDIS_CPUFLAG_ZF);
    if (!compares || !of_memory(c.guest) || !c.host.trapped || (c.host.out.rflags ^ c.test.in.rflags) & kArithmetic) return;
    c.guest.out.rflags = (c.guest.out.rflags & ~kArithmetic) | (c.host.out.rflags & kArithmetic);
}

bool repeated(const ZydisDecodedInstruction& insn) { return insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE); }

bool is_x87_store(const Instruction& i) {
    switch (i.insn.mnemonic) {
        case ZYDIS_MNEMONIC_FST: case ZYDIS_MNEMONIC_FSTP: case ZYDIS_MNEMONIC_FIST: case ZYDIS_MNEMONIC_FISTP: case ZYDIS_MNEMONIC_FISTTP:
        case ZYDIS_MNEMONIC_FBSTP:
            return i.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
        default: return false;
    }
}

/// With an unmasked x87 exception nothing is stored: whether the operand's page is looked at all the same (SDM vol. 3, 6.9, leaves the order
/// of faults of one instruction to the processor). The exception is pending then, and the instruction done.
void settle_pending_store(const Choice& c) {
    const auto status = part<uint16_t>(c.host.out, kStatusWord), was = part<uint16_t>(c.guest.out, kStatusWord);
    if (!may_go_on(c.last, c.guest) || c.host.trapped || !(status & kPending) || was & kPending) return;
    c.guest.trapped = false;
    c.guest.trap = {};
    c.guest.out.rip += c.last.insn.length;
    put_part<uint16_t>(c.guest.out, kStatusWord, static_cast<uint16_t>((was & ~kOfExceptions) | (status & kOfExceptions)));
}

/// What FSTP m80 or FBSTP stores of ST(0) in the first eight bytes, with all exceptions masked.
uint64_t first_eight_bytes(const Registers& r, bool decimal) {
    const unsigned top = (part<uint16_t>(r, kStatusWord) & kTop) >> 11;
    const bool empty = !(part<uint8_t>(r, kTags) >> top & 1);
    if (empty) return kIndefinite;
    if (!decimal) return part<uint64_t>(r, kStacks);
    uint8_t number[16];
    std::memcpy(number, r.fx.data() + kStacks, sizeof number);
    const auto control = static_cast<uint16_t>(part<uint16_t>(r, 0) | 0x3f);
    asm volatile("fninit; fldcw %1; fldt %0; fbstp %0; fninit" : "+m"(number) : "m"(control));
    uint64_t digits;
    std::memcpy(&digits, number, sizeof digits);
    return digits;
}

/// FSTP m80 and FBSTP over two pages, of which the second cannot be written: the first eight bytes may be stored (SDM vol. 3, 9.1.1: of stores
/// longer than a quadword some accesses may complete while another faults).
void settle_part_stored(const Choice& c, const uint8_t* host_window, uint8_t* window) {
    const bool both = c.guest.trapped && c.host.trapped && c.guest.trap.vector == 14 && c.host.trap.vector == 14;
    if (!both || !is_x87_store(c.last) || c.last.operands[0].size != 80 || c.guest.trap.address % kPage != 0) return;
    const uint64_t stored = first_eight_bytes(c.guest.out, c.mnemonic() == ZYDIS_MNEMONIC_FBSTP);
    for (const unsigned before : {8, 9}) {
        const uint64_t at = c.guest.trap.address - before - kWindow;
        if (at <= kWindowSize - 8 && std::memcmp(host_window + at, &stored, 8) == 0) std::memcpy(window + at, &stored, 8);
    }
}

/// MMX stores that fault: whether TOP is 0 by then (SDM vol. 3, 12.2: "each MMX instruction" sets it; not whether one that faults does).
/// ST(i) is MMi then.
void settle_mmx_store(const Choice& c) {
    const ZydisDecodedOperand& source = c.last.operands[1];
    const bool stores_mmx = c.stores() && source.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(source.reg.value) == ZYDIS_REGCLASS_MMX;
    const auto was = part<uint16_t>(c.guest.out, kStatusWord);
    if (!stores_mmx || !of_memory(c.guest) || part<uint16_t>(c.host.out, kStatusWord) & kTop) return;
    const unsigned top = (was & kTop) >> 11;
    uint8_t* st = c.guest.out.fx.data() + kStacks;
    std::rotate(st, st + 16 * ((8 - top) & 7), st + 128);
    put_part<uint16_t>(c.guest.out, kStatusWord, static_cast<uint16_t>(was & ~kTop));
}

/// VMASKMOV, VPMASKMOV: which byte of the stored elements on the page CR2 names; and whether the segment's limit is checked for elements, too,
/// that are not stored.
void settle_masked_store(const Choice& c) {
    const uint64_t size = c.last.operands[0].size / 8, host = c.host.trap.address, guest = c.guest.trap.address;
    const bool both = c.host.trapped && c.guest.trapped && c.host.trap.vector == 14 && c.guest.trap.vector == 14;
    if (c.stores() && both && host / kPage == guest / kPage && std::max(host, guest) - std::min(host, guest) < size) c.guest.trap.address = host;
    const bool over_limit = c.test.mode == Mode::Segmented16 && guest + size > kWindow + kWindowSize && c.host.trapped && (c.host.trap.vector | 1) == 13;
    if (over_limit && c.guest.trapped && c.guest.trap.vector == 14) c.guest.trap = c.host.trap;
}

/// A gather that faults. By SDM vol. 2, VGATHERDPS and kin, "Operation", the mask's elements become all ones or zero first and what is above
/// the vector is zeroed; AMD's leave what is not done as it was. The destination above a 16-byte vector: zeroed on some processors even so.
void settle_gather(const Choice& c) {
    if (!c.guest.trapped || !c.host.trapped) return;
    const unsigned element = c.last.insn.raw.vex.W ? 8 : 4;
    const bool wide = c.last.insn.raw.vex.L;
    const auto number = [&](unsigned operand) { return static_cast<unsigned>(ZydisRegisterGetId(c.last.operands[operand].reg.value)); };
    const auto low = [](auto& r, unsigned n) { return r.fx.data() + kXmms + 16 * n; };
    const auto high = [](auto& r, unsigned n) { return r.high.data() + 16 * n; };
    uint8_t mask[32];
    std::memcpy(mask, low(c.guest.out, number(2)), 16);
    std::memcpy(mask + 16, high(c.guest.out, number(2)), 16);
    for (unsigned at = 0; at < 32; at += element) std::memset(mask + at, at < (wide ? 32 : 16) && mask[at + element - 1] & 0x80 ? 0xff : 0, element);
    if (std::memcmp(mask, low(c.host.out, number(2)), 16) != 0 || std::memcmp(mask + 16, high(c.host.out, number(2)), 16) != 0) return;
    std::memcpy(low(c.guest.out, number(2)), mask, 16);
    std::memcpy(high(c.guest.out, number(2)), mask + 16, 16);
    const uint8_t* above = high(c.host.out, number(0));
    if (!wide && std::all_of(above, above + 16, [](uint8_t b) { return b == 0; })) std::memset(high(c.guest.out, number(0)), 0, 16);
}

/// VCVTPS2PH to memory: whether the conversion, with its flags in MXCSR and #XM, comes before faults of the operand (SDM vol. 3, 6.9: the order
/// of faults of one instruction is the processor's).
void settle_half_store(const Choice& c) {
    const auto host = part<uint32_t>(c.host.out, kMxcsr), guest = part<uint32_t>(c.guest.out, kMxcsr);
    if (!c.stores() || !of_memory(c.guest) || !c.host.trapped || (host & guest & 0x3f) != (guest & 0x3f)) return;
    put_part<uint32_t>(c.guest.out, kMxcsr, (guest & ~0x3fu) | (host & 0x3f));
    if (c.host.trap.vector == 19 && (host & ~(host >> 7) & 0x3f)) c.guest.trap = c.host.trap;
}

/// BOUND: whether an index below the lower bound is refused before the upper bound is read.
void settle_bound(const Choice& c) {
    if (of_memory(c.guest) && c.host.trapped && c.host.trap.vector == 5) c.guest.trap = c.host.trap;
}

/// A near CALL beyond the limit of CS or to an address that is not canonical: whether the return address is on the stack by then (RSP stays),
/// and which fault comes first if it cannot be.
void settle_call(const Choice& c, const uint8_t* host_window, uint8_t* window) {
    const unsigned size = c.last.insn.operand_width / 8;
    const bool segmented = c.test.mode == Mode::Segmented16;
    const uint64_t below = c.guest.out.gpr[4] - size, slot = segmented ? static_cast<uint16_t>(below) : below - kWindow;
    const uint64_t back = c.guest.out.rip + c.last.insn.length;
    if (!c.guest.trapped || c.guest.trap.vector != 13 || !c.host.trapped) return;
    const bool beyond = segmented && c.host.trap.vector == 12 && slot + size > kWindowSize;
    const bool refused = c.host.trap.vector == 14 && c.host.trap.address - kWindow - slot < size;
    if (beyond || refused) c.guest.trap = c.host.trap;
    const bool stored = c.host.trap.vector == 13 && slot <= kWindowWritable - size && std::memcmp(host_window + slot, &back, size) == 0;
    if (stored) std::memcpy(window + slot, &back, size);
}

}  // namespace

bool may_go_on(const Instruction& i, const Outcome& interpreted) { return is_x87_store(i) && of_memory(interpreted); }

void settle_choice(const Case& test, const Instruction& last, const Outcome& host, const uint8_t* host_window, Outcome* interpreted, uint8_t* window) {
    const Choice c{test, last, host, *interpreted};
    if (repeated(last.insn)) settle_upper_halves(c), settle_flags_of_fault(c);
    if (last.insn.meta.isa_set == ZYDIS_ISA_SET_AVX2GATHER) settle_gather(c);
    switch (c.mnemonic()) {
        case ZYDIS_MNEMONIC_MOVD: case ZYDIS_MNEMONIC_MOVQ: case ZYDIS_MNEMONIC_MOVNTQ: return settle_mmx_store(c);
        case ZYDIS_MNEMONIC_VMASKMOVPS: case ZYDIS_MNEMONIC_VMASKMOVPD: case ZYDIS_MNEMONIC_VPMASKMOVD: case ZYDIS_MNEMONIC_VPMASKMOVQ:
            return settle_masked_store(c);
        case ZYDIS_MNEMONIC_VCVTPS2PH: return settle_half_store(c);
        case ZYDIS_MNEMONIC_BOUND: return settle_bound(c);
        case ZYDIS_MNEMONIC_CALL: return settle_call(c, host_window, window);
        default: break;
    }
    settle_part_stored(c, host_window, window);
    settle_pending_store(c);
}

}  // namespace yado::oracle
