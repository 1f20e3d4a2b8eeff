// The second half of Generator: leads a case's memory operands into the window and fills in values that make an
// instruction do more than fault.
#include <algorithm>

#include "generate.h"
#include "native.h"

namespace yado::oracle {

namespace {

constexpr uint64_t kSlack = 0x800;

unsigned gpr_index(ZydisRegister reg) { return static_cast<unsigned>(ZydisRegisterGetId(reg)); }

uint64_t width_mask(unsigned bits) { return bits >= 64 ? ~0ull : (1ull << bits) - 1; }

void set_low(uint64_t* reg, uint64_t value, unsigned bits) { *reg = (*reg & ~width_mask(bits)) | (value & width_mask(bits)); }

bool canonical(uint64_t address) { return static_cast<uint64_t>(static_cast<int64_t>(address << 16) >> 16) == address; }

/// Bits of the address that an operand's registers make up.
unsigned address_bits(Mode mode, unsigned decoded, const ZydisDecodedOperand& o) {
    const bool stack = o.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && gpr_index(o.mem.base) == 4 && o.mem.index == ZYDIS_REGISTER_NONE;
    if (!stack || o.mem.base == ZYDIS_REGISTER_NONE) return decoded;
    return mode == Mode::Long ? 64 : mode == Mode::Flat32 ? 32 : 16;
}

/// Where the test may touch memory on the host without hurting it: the window and its unmapped surroundings, what no
/// program can reach (not canonical), and the first 64 KiB, which Linux never maps.
bool harmless(Mode mode, uint64_t address, uint64_t size) {
    if (mode == Mode::Segmented16) return true;   // the segments' limits see to it
    if (!canonical(address) || (address < 0x10000 && address + size <= 0x10000)) return true;
    return address >= kWindow - kSlack && address + size <= kWindow + kWindowSize + kSlack;
}

/// Which part of these is touched first, or at all, differs between processors: they stay clear of edges.
bool keeps_off_edges(Mode mode, const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_MASKMOVDQU: case ZYDIS_MNEMONIC_MASKMOVQ: case ZYDIS_MNEMONIC_VMASKMOVDQU: return true;
        case ZYDIS_MNEMONIC_PUSH: case ZYDIS_MNEMONIC_POP:   // of a segment register: 2 bytes or all are touched
            return operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(operands[0].reg.value) == ZYDIS_REGCLASS_SEGMENT;
        case ZYDIS_MNEMONIC_FXRSTOR: case ZYDIS_MNEMONIC_FXRSTOR64: case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64:
        case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: case ZYDIS_MNEMONIC_XSAVE: case ZYDIS_MNEMONIC_XSAVE64: return true;
        case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FNSAVE: case ZYDIS_MNEMONIC_FLDENV: case ZYDIS_MNEMONIC_FRSTOR:
        case ZYDIS_MNEMONIC_FSTP: case ZYDIS_MNEMONIC_FBSTP:
            return mode == Mode::Segmented16;
        case ZYDIS_MNEMONIC_VMOVAPS: case ZYDIS_MNEMONIC_VMOVAPD: case ZYDIS_MNEMONIC_VMOVDQA: case ZYDIS_MNEMONIC_VMOVNTDQA:
        case ZYDIS_MNEMONIC_VMOVNTPS: case ZYDIS_MNEMONIC_VMOVNTPD: case ZYDIS_MNEMONIC_VMOVNTDQ:
            return mode == Mode::Segmented16;   // of alignment and limit, which is checked first
        default: return false;
    }
}

uint64_t target(Random& random, uint64_t size, bool edges) {
    const uint64_t straddle = size > 1 ? random.below(size) : 0;
    switch (edges ? random.below(24) : 23) {
        case 0: return kWindow + kPage - straddle;
        case 1: return kWindow + kWindowWritable - straddle;
        case 2: return kWindow + kWindowSize - straddle;
        case 3: return kWindow - straddle;
        case 4: return kWindow + kWindowWritable + random.below(kPage - size);
        case 5: return kWindow + kWindowSize + random.below(256);
        default: break;
    }
    uint64_t at = kWindow + random.below(kWindowWritable - size);
    if (!random.one_in(4) && size > 1) at &= ~(std::min<uint64_t>(64, uint64_t{1} << (63 - __builtin_clzll(size))) - 1);
    return at;
}

bool is_bit_test(ZydisMnemonic m) {
    return m == ZYDIS_MNEMONIC_BT || m == ZYDIS_MNEMONIC_BTS || m == ZYDIS_MNEMONIC_BTR || m == ZYDIS_MNEMONIC_BTC;
}

uint64_t operand_size(const ZydisDecodedOperand& o) {
    const uint64_t size = o.size / 8;
    return size == 0 ? 16 : std::min<uint64_t>(size, 1024);
}

/// A place in the code page that holds HLT when control arrives there, or somewhere that faults.
uint64_t branch_target(const Case& test, ZydisMnemonic mnemonic, Random& random) {
    if (test.mode == Mode::Segmented16) {
        for (;;) {
            const uint64_t to = mnemonic != ZYDIS_MNEMONIC_CALL && random.one_in(12) ? random.below(0x10000) : random.below(kPage);
            if (to + kCode < test.at || to + kCode > test.at + 48) return to;
        }
    }
    if (random.one_in(12)) return 0x1800'0000 + random.below(1 << 20);
    // CALL: whether the push or the target is checked first differs between processors.
    if (random.one_in(24) && test.mode == Mode::Long && mnemonic != ZYDIS_MNEMONIC_CALL) return random.next() >> 1 | 1ull << 62;
    for (;;) {
        const uint64_t to = kCode + random.below(kPage);
        if (to < test.at || to > test.at + 48) return to;
    }
}

}  // namespace

uint64_t Generator::segment_base(ZydisRegister segment) const {
    if (mode_ == Mode::Segmented16) return kWindow;
    if (mode_ != Mode::Long) return 0;
    return segment == ZYDIS_REGISTER_FS ? kFsBase : segment == ZYDIS_REGISTER_GS ? kGsBase : 0;
}

std::optional<uint64_t> Generator::effective(const Case& test, const Decoded& d, const ZydisDecodedOperand& operand) const {
    const auto& m = operand.mem;
    uint64_t ea = m.disp.has_displacement ? static_cast<uint64_t>(m.disp.value) : 0;
    if (m.base == ZYDIS_REGISTER_RIP || m.base == ZYDIS_REGISTER_EIP) ea += test.at + test.code.size();
    else if (m.base != ZYDIS_REGISTER_NONE) ea += test.in.gpr[gpr_index(m.base)];
    if (m.index == ZYDIS_REGISTER_AL) ea += test.in.gpr[0] & 0xff;
    else if (m.index != ZYDIS_REGISTER_NONE) ea += test.in.gpr[gpr_index(m.index)] * m.scale;
    return (ea & width_mask(address_bits(mode_, d.insn.address_width, operand))) + segment_base(m.segment);
}

/// Solves base + index * scale + disp = goal for the base, or the index, or the displacement in the code.
bool Generator::place(Case* test, Decoded* d, const ZydisDecodedOperand& operand, Random& random) const {
    const auto& m = operand.mem;
    // A mask of zeros: whether a segment that cannot be written faults is the implementation's.
    const bool masked = d->insn.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU || d->insn.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
                        d->insn.mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU;
    if (masked && mode_ != Mode::Long && (m.segment == ZYDIS_REGISTER_FS || m.segment == ZYDIS_REGISTER_GS || m.segment == ZYDIS_REGISTER_CS)) return false;
    const unsigned bits = address_bits(mode_, d->insn.address_width, operand);
    if (bits == 16 && mode_ == Mode::Flat32 && keeps_off_edges(mode_, d->insn, d->operands)) return false;
    if (bits == 16 && mode_ == Mode::Flat32) return true;   // the lowest 64 KiB, which nobody has
    uint64_t goal = target(random, operand_size(operand), !keeps_off_edges(mode_, d->insn, d->operands)) - segment_base(m.segment);
    if (bits == 64 && !masked && random.one_in(100)) goal = random.next() >> 2 | 1ull << 61;
    const uint64_t disp = m.disp.has_displacement ? static_cast<uint64_t>(m.disp.value) : 0;
    const bool rip = m.base == ZYDIS_REGISTER_RIP || m.base == ZYDIS_REGISTER_EIP;
    if (rip || (m.base == ZYDIS_REGISTER_NONE && m.index == ZYDIS_REGISTER_NONE)) {
        const auto& raw = d->insn.raw.disp;
        const uint64_t value = goal - (rip ? test->at + test->code.size() : 0);
        if (!raw.size) return false;
        std::memcpy(test->code.data() + raw.offset, &value, raw.size / 8);
        return decode(test->code.data(), test->code.size(), d);
    }
    auto& gpr = test->in.gpr;
    if (m.base == ZYDIS_REGISTER_NONE || m.base == m.index) {
        const int64_t parts = m.scale + (m.base == m.index);
        set_low(&gpr[gpr_index(m.index)], static_cast<uint64_t>(static_cast<int64_t>(goal - disp) / parts), bits);
    } else {
        const uint64_t index = m.index == ZYDIS_REGISTER_NONE ? 0
                               : m.index == ZYDIS_REGISTER_AL ? gpr[0] & 0xff
                                                              : gpr[gpr_index(m.index)] * m.scale;
        set_low(&gpr[gpr_index(m.base)], goal - disp - index, bits);
    }
    return true;
}

/// Register values that a random choice would almost never hit. Before the addresses are solved.
void Generator::tune(Case* test, const Decoded& d, Random& random) const {
    auto& gpr = test->in.gpr;
    const auto& op = d.operands;
    const bool counted = d.insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
    // A count of 0 checks no I/O rights by the manual, but does on some processors.
    const bool io = d.insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
    if (counted && (io || !random.one_in(16))) set_low(&gpr[1], io + random.below(40), d.insn.address_width);
    if (is_bit_test(d.insn.mnemonic) && op[0].type == ZYDIS_OPERAND_TYPE_MEMORY && op[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
        set_low(&gpr[gpr_index(op[1].reg.value)], random.below(6000) - 3000, d.insn.operand_width);
    const bool divides = d.insn.mnemonic == ZYDIS_MNEMONIC_DIV || d.insn.mnemonic == ZYDIS_MNEMONIC_IDIV;
    if (divides && !random.one_in(3)) {
        const uint64_t high = random.one_in(2) ? 0 : random.below(4) - 2;
        if (d.insn.operand_width == 8) set_low(&gpr[0], high << 8 | random.below(256), 16);
        else set_low(&gpr[2], high, d.insn.operand_width);
    }
    // SDM vol. 2: whether these raise #AC for 16 misaligned bytes is the implementation's; so is which part of a long operand
    // is looked at first.
    switch (d.insn.mnemonic) {
        case ZYDIS_MNEMONIC_MOVUPS: case ZYDIS_MNEMONIC_MOVUPD: case ZYDIS_MNEMONIC_MOVDQU: case ZYDIS_MNEMONIC_FLDENV:
        case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FNSAVE: case ZYDIS_MNEMONIC_FRSTOR: case ZYDIS_MNEMONIC_LDS:
        case ZYDIS_MNEMONIC_LES: case ZYDIS_MNEMONIC_LFS: case ZYDIS_MNEMONIC_LGS: case ZYDIS_MNEMONIC_LSS: case ZYDIS_MNEMONIC_BOUND:
        case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: case ZYDIS_MNEMONIC_FXRSTOR: case ZYDIS_MNEMONIC_FXRSTOR64:
        case ZYDIS_MNEMONIC_LDDQU: case ZYDIS_MNEMONIC_PCMPISTRI: case ZYDIS_MNEMONIC_PCMPISTRM: case ZYDIS_MNEMONIC_PCMPESTRI:
        case ZYDIS_MNEMONIC_PCMPESTRM: case ZYDIS_MNEMONIC_MASKMOVDQU: case ZYDIS_MNEMONIC_MASKMOVQ:
            test->in.rflags &= ~0x40000ull;
            break;
        default: break;
    }
    // The same for VEX operands of 16 and 32 bytes (vol. 3, table 6-7). F16C raises #AC on AMD, not on Intel (vol. 2, exceptions type 11).
    const bool half = d.insn.mnemonic == ZYDIS_MNEMONIC_VCVTPH2PS || d.insn.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH;
    const bool gathers = d.insn.meta.isa_set == ZYDIS_ISA_SET_AVX2GATHER;
    for (unsigned i = 0; i < d.insn.operand_count; ++i)
        if (d.insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && (op[i].size >= 128 || gathers || half))
            test->in.rflags &= ~0x40000ull;
    // Inside these an unmasked underflow of any stage faults; the interpreter sees the last stage only.
    switch (d.insn.mnemonic) {
        case ZYDIS_MNEMONIC_DPPS: case ZYDIS_MNEMONIC_DPPD: case ZYDIS_MNEMONIC_VDPPS: case ZYDIS_MNEMONIC_VDPPD:
            test->in.fx[25] |= 0x08;
            break;
        default: break;
    }
    // How much of a pushed or popped segment register is touched differs too.
    if (d.insn.mnemonic == ZYDIS_MNEMONIC_POP || d.insn.mnemonic == ZYDIS_MNEMONIC_PUSH)
        if (op[0].type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(op[0].reg.value) == ZYDIS_REGCLASS_SEGMENT) test->in.rflags &= ~0x40000ull;
    const bool loops = d.insn.mnemonic == ZYDIS_MNEMONIC_LOOP || d.insn.mnemonic == ZYDIS_MNEMONIC_LOOPE || d.insn.mnemonic == ZYDIS_MNEMONIC_LOOPNE ||
                       d.insn.mnemonic == ZYDIS_MNEMONIC_JRCXZ || d.insn.mnemonic == ZYDIS_MNEMONIC_JECXZ || d.insn.mnemonic == ZYDIS_MNEMONIC_JCXZ;
    if (loops && random.one_in(2)) gpr[1] = random.below(3);
    if (d.insn.meta.category == ZYDIS_CATEGORY_XSAVE) gpr[0] &= has_avx() ? 7 : 3, gpr[2] = 0;   // the host has components that the guest lacks
    if (d.insn.mnemonic == ZYDIS_MNEMONIC_ENTER) {
        test->code[d.insn.raw.imm[0].offset + 1] &= 3;
        if (random.one_in(2)) test->code[d.insn.raw.imm[1].offset] = static_cast<uint8_t>(random.below(4));
        gpr[5] = (mode_ == Mode::Segmented16 ? 0 : kWindow) + 0x800 + random.below(0x800);
    }
    if (op[0].type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(op[0].reg.value) == ZYDIS_REGCLASS_SEGMENT && op[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
        set_low(&gpr[gpr_index(op[1].reg.value)], random.pick({0, 3, 0x2b, 0x2b, 0x23, 0x33, 0x18, 0x28, 0x2f, 0x103, 0x10, 0x0f, 0x17, 0x14}), 16);
    if (d.insn.meta.category == ZYDIS_CATEGORY_RDWRFSGS && random.one_in(2)) {
        gpr[gpr_index(op[0].reg.value)] = random.below(1 << 30);
    }
    const bool probes = d.insn.mnemonic == ZYDIS_MNEMONIC_LAR || d.insn.mnemonic == ZYDIS_MNEMONIC_LSL || d.insn.mnemonic == ZYDIS_MNEMONIC_VERR || d.insn.mnemonic == ZYDIS_MNEMONIC_VERW;
    if (probes) {
        const auto& selector = op[d.insn.operand_count_visible - 1];
        if (selector.type == ZYDIS_OPERAND_TYPE_REGISTER)
            set_low(&gpr[gpr_index(selector.reg.value)], random.pick({0, 3, 0x08, 0x10, 0x18, 0x20, 0x23, 0x28, 0x2b, 0x30, 0x33, 0x103, 0x0f, 0x17, 0x14}), 16);
    }
}

bool Generator::place_operands(Case* test, const Decoded& decoded, Random& random) const {
    Decoded d = decoded;
    const auto memory = [&](unsigned i) {
        return d.operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY && d.operands[i].mem.type != ZYDIS_MEMOP_TYPE_AGEN;
    };
    if (!decode(test->code.data(), test->code.size(), &d)) return false;
    if (d.insn.meta.isa_set == ZYDIS_ISA_SET_AVX2GATHER) return place_gather(test, &d, random);
    const bool branch = d.insn.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR || d.insn.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT;
    for (unsigned i = 0; i < d.insn.operand_count; ++i)
        if (memory(i) && !place(test, &d, d.operands[i], random)) return false;
    if (branch && d.insn.operand_count_visible && d.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER) test->in.gpr[gpr_index(d.operands[0].reg.value)] = branch_target(*test, d.insn.mnemonic, random);
    if (branch && d.operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && d.operands[0].imm.is_relative) {
        uint64_t rel = branch_target(*test, d.insn.mnemonic, random) - test->code.size() - (mode_ == Mode::Segmented16 ? test->at - kCode : test->at);
        if (d.insn.raw.imm[0].size == 8) rel = random.one_in(2) ? 40 + random.below(87) : 0x80 + random.below(100);
        if (d.insn.raw.imm[0].size == 32 && static_cast<int64_t>(rel) != static_cast<int32_t>(rel)) return false;
        std::memcpy(test->code.data() + d.insn.raw.imm[0].offset, &rel, d.insn.raw.imm[0].size / 8);
    }
    if (d.insn.meta.category == ZYDIS_CATEGORY_XSAVE && test->in.gpr[0] & 0xffff'fff8) return false;   // see tune()
    for (unsigned i = 0; i < d.insn.operand_count; ++i) {
        if (!memory(i)) continue;
        const uint64_t size = operand_size(d.operands[i]);
        uint64_t at = *effective(*test, d, d.operands[i]);
        if (!harmless(mode_, at, size)) return false;
        if (i == 0 && is_bit_test(d.insn.mnemonic) && d.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
            const unsigned shift = 64 - d.insn.operand_width;
            const auto bit = static_cast<int64_t>(test->in.gpr[gpr_index(d.operands[1].reg.value)] << shift) >> shift;
            at += static_cast<uint64_t>(bit >> 3) & ~uint64_t{d.insn.operand_width / 8u - 1u};
            if (mode_ == Mode::Flat32) at = static_cast<uint32_t>(at);
            if (!harmless(mode_, at, size)) return false;
        }
        fill(test, d, i, at, random);
    }
    return true;
}

/// Puts bytes of the operand's kind where it lies.
void Generator::fill(Case* test, const Decoded& d, unsigned index, uint64_t at, Random& random) const {
    const uint64_t size = operand_size(d.operands[index]);
    if (at < kWindow || at >= kWindow + kWindowSize || size > kWindow + kWindowSize - at) return;
    std::vector<uint8_t> bytes((size + 15) & ~uint64_t{15});
    for (size_t i = 0; i < bytes.size(); i += 16) random.vector(bytes.data() + i);
    if (size == 10) random.float80(bytes.data());
    if (size == 10 && d.insn.mnemonic == ZYDIS_MNEMONIC_FBLD && !random.one_in(4))
        for (unsigned i = 0; i < 10; ++i) bytes[i] = i == 9 ? static_cast<uint8_t>(random.next() & 0x80) : static_cast<uint8_t>(random.below(10) | random.below(10) << 4);
    const auto put = [&](size_t offset, uint64_t value, size_t n) { std::memcpy(bytes.data() + offset, &value, n); };
    const bool branch = d.insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
    if (branch && (d.operands[index].actions & ZYDIS_OPERAND_ACTION_MASK_READ)) put(0, branch_target(*test, d.insn.mnemonic, random), std::min<size_t>(8, size));
    switch (d.insn.mnemonic) {
        case ZYDIS_MNEMONIC_LDMXCSR: case ZYDIS_MNEMONIC_VLDMXCSR:   // bit 17 is AMD's misaligned exception mode
            put(0, random.one_in(4) ? random.next() & ~(1ull << 17) : random.next() & 0xffff, 4);
            break;
        case ZYDIS_MNEMONIC_FXRSTOR: case ZYDIS_MNEMONIC_FXRSTOR64: case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64: {
            const Registers r = random_registers(random, mode_);
            bytes.resize(832);
            std::memcpy(bytes.data(), r.fx.data(), 512);
            std::memset(bytes.data() + 512, 0, 64);
            std::memcpy(bytes.data() + 576, r.high.data(), 256);
            bytes[512] = static_cast<uint8_t>(random.below(has_avx() ? 8 : 4));
            if (random.one_in(12)) put(24, random.next() & ~(1ull << 17), 4);
            if (random.one_in(12)) bytes[512 + random.below(64)] = 1;
            if (at + bytes.size() > kWindow + kWindowSize) return;
            break;
        }
        case ZYDIS_MNEMONIC_CMPXCHG: case ZYDIS_MNEMONIC_CMPXCHG8B: case ZYDIS_MNEMONIC_CMPXCHG16B:
            if (random.one_in(2)) {
                const size_t half = d.insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG ? size : size / 2;
                put(0, test->in.gpr[0], half);
                if (half != size) put(half, test->in.gpr[2], half);
            }
            break;
        case ZYDIS_MNEMONIC_POPF: case ZYDIS_MNEMONIC_POPFD: case ZYDIS_MNEMONIC_POPFQ:
            put(0, random.next() & ~0x100ull, std::min<size_t>(8, size));   // TF would trap in the trampoline
            break;
        case ZYDIS_MNEMONIC_FLDCW:
            if (!random.one_in(4)) put(0, (random.next() & 0xffc0) | 0x3f, 2);
            break;
        case ZYDIS_MNEMONIC_FLDENV: case ZYDIS_MNEMONIC_FRSTOR:
            if (random.one_in(2)) put(0, (random.next() & 0xf00) | 0x7f, 2);
            break;
        default: break;
    }
    if (d.insn.mnemonic == ZYDIS_MNEMONIC_POP || moves_selector(d))
        if (random.one_in(2) || moves_selector(d)) put(0, random.pick({0, 3, 0x2b, 0x23, 0x33, 0x18, 0x28, 0x103, 0x10, 0x0f, 0x17, 0x1f}), std::min<size_t>(8, size));
    bytes.resize(std::min<size_t>(bytes.size(), kWindow + kWindowSize - at));
    test->pokes.emplace_back(static_cast<uint32_t>(at - kWindow), std::move(bytes));
}

bool Generator::moves_selector(const Decoded& d) const {
    switch (d.insn.mnemonic) {
        case ZYDIS_MNEMONIC_LAR: case ZYDIS_MNEMONIC_LSL: case ZYDIS_MNEMONIC_VERR: case ZYDIS_MNEMONIC_VERW: return true;
        default: break;
    }
    return d.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(d.operands[0].reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

}  // namespace yado::oracle
