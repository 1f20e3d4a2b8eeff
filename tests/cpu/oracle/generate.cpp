#include "generate.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace yado::oracle {

namespace {

/// Not run natively: the answer depends on the machine or the moment, the kernel answers in the CPU's place (UMIP), or
/// control leaves the process. The payloads test what of this is architectural.
bool unfit(ZydisMnemonic m) {
    switch (m) {
        case ZYDIS_MNEMONIC_CPUID: case ZYDIS_MNEMONIC_RDTSC: case ZYDIS_MNEMONIC_RDTSCP: case ZYDIS_MNEMONIC_RDRAND:
        case ZYDIS_MNEMONIC_RDSEED: case ZYDIS_MNEMONIC_RDPID: case ZYDIS_MNEMONIC_RDPMC: case ZYDIS_MNEMONIC_XGETBV:
        case ZYDIS_MNEMONIC_SGDT: case ZYDIS_MNEMONIC_SIDT: case ZYDIS_MNEMONIC_SLDT: case ZYDIS_MNEMONIC_STR:
        case ZYDIS_MNEMONIC_SMSW: case ZYDIS_MNEMONIC_SYSCALL: case ZYDIS_MNEMONIC_SYSENTER: case ZYDIS_MNEMONIC_INT:
        case ZYDIS_MNEMONIC_INT1: case ZYDIS_MNEMONIC_INT3: case ZYDIS_MNEMONIC_INTO: case ZYDIS_MNEMONIC_IRET:
        case ZYDIS_MNEMONIC_IRETD: case ZYDIS_MNEMONIC_IRETQ: case ZYDIS_MNEMONIC_SYSRET: case ZYDIS_MNEMONIC_SYSEXIT:
        case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2: case ZYDIS_MNEMONIC_RSM:
        case ZYDIS_MNEMONIC_MONITOR: case ZYDIS_MNEMONIC_MWAIT: case ZYDIS_MNEMONIC_GETSEC: case ZYDIS_MNEMONIC_FFREEP:
        case ZYDIS_MNEMONIC_CLAC: case ZYDIS_MNEMONIC_STAC:
            return true;
        default: return false;
    }
}

/// The x86-64-v2 level with FXSAVE and XSAVE; nullopt: not an instruction that the interpreter implements.
std::optional<Group> group_of(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
    if (unfit(insn.mnemonic)) return std::nullopt;
    const bool mmx = std::any_of(operands, operands + insn.operand_count, [](const ZydisDecodedOperand& o) {
        return o.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o.reg.value) == ZYDIS_REGCLASS_MMX;
    });
    switch (insn.meta.isa_set) {
        case ZYDIS_ISA_SET_X87: case ZYDIS_ISA_SET_FCMOV: case ZYDIS_ISA_SET_SSE3X87: return Group::X87;
        case ZYDIS_ISA_SET_PENTIUMMMX: case ZYDIS_ISA_SET_SSE2MMX: case ZYDIS_ISA_SET_SSSE3MMX: return Group::Mmx;
        case ZYDIS_ISA_SET_SSE: return mmx ? Group::Mmx : Group::Sse;
        case ZYDIS_ISA_SET_SSE_PREFETCH: return Group::Sse;
        case ZYDIS_ISA_SET_SSE2: return mmx ? Group::Mmx : Group::Sse2;
        case ZYDIS_ISA_SET_SSE3: case ZYDIS_ISA_SET_SSSE3:
            if (insn.meta.category == ZYDIS_CATEGORY_SYSTEM) return std::nullopt;
            return Group::Sse3;
        case ZYDIS_ISA_SET_SSE4: case ZYDIS_ISA_SET_SSE42: return Group::Sse4;
        case ZYDIS_ISA_SET_POPCNT: case ZYDIS_ISA_SET_CMPXCHG16B: case ZYDIS_ISA_SET_LAHF: case ZYDIS_ISA_SET_PAUSE:
        case ZYDIS_ISA_SET_FAT_NOP: case ZYDIS_ISA_SET_CMOV: case ZYDIS_ISA_SET_CLFSH:
            return Group::Integer;
        case ZYDIS_ISA_SET_SSEMXCSR: case ZYDIS_ISA_SET_FXSAVE: case ZYDIS_ISA_SET_FXSAVE64: return Group::State;
        case ZYDIS_ISA_SET_XSAVE:
            if (insn.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) return Group::Privileged;
            return Group::State;
        case ZYDIS_ISA_SET_RDWRFSGS: return Group::Segment;
        case ZYDIS_ISA_SET_I86: case ZYDIS_ISA_SET_I186: case ZYDIS_ISA_SET_I286PROTECTED: case ZYDIS_ISA_SET_I286REAL:
        case ZYDIS_ISA_SET_I386: case ZYDIS_ISA_SET_I486: case ZYDIS_ISA_SET_I486REAL: case ZYDIS_ISA_SET_PENTIUMREAL:
        case ZYDIS_ISA_SET_LONGMODE: case ZYDIS_ISA_SET_PPRO:
            break;
        default: return std::nullopt;
    }
    if (insn.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) return Group::Privileged;
    if (insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return std::nullopt;
    switch (insn.meta.category) {
        case ZYDIS_CATEGORY_COND_BR: case ZYDIS_CATEGORY_UNCOND_BR: case ZYDIS_CATEGORY_CALL: case ZYDIS_CATEGORY_RET:
            return Group::Branch;
        case ZYDIS_CATEGORY_STRINGOP: return Group::String;
        case ZYDIS_CATEGORY_IO: case ZYDIS_CATEGORY_IOSTRINGOP: return Group::Privileged;
        case ZYDIS_CATEGORY_PUSH: case ZYDIS_CATEGORY_POP: return Group::Stack;
        case ZYDIS_CATEGORY_SEGOP: return Group::Segment;
        default: break;
    }
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_ENTER: case ZYDIS_MNEMONIC_LEAVE: return Group::Stack;
        case ZYDIS_MNEMONIC_LAR: case ZYDIS_MNEMONIC_LSL: case ZYDIS_MNEMONIC_VERR: case ZYDIS_MNEMONIC_VERW:
        case ZYDIS_MNEMONIC_ARPL:
            return Group::Segment;
        case ZYDIS_MNEMONIC_CLI: case ZYDIS_MNEMONIC_STI: case ZYDIS_MNEMONIC_LGDT: case ZYDIS_MNEMONIC_LIDT:
        case ZYDIS_MNEMONIC_LLDT: case ZYDIS_MNEMONIC_LTR: case ZYDIS_MNEMONIC_LMSW: case ZYDIS_MNEMONIC_CLTS:
            return Group::Privileged;
        default: return Group::Integer;
    }
}

bool moves_segment(const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
    return std::any_of(operands, operands + insn.operand_count_visible, [](const ZydisDecodedOperand& o) {
        return o.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o.reg.value) == ZYDIS_REGCLASS_SEGMENT &&
               (o.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
    });
}

void put_opcode(std::vector<uint8_t>* out, uint8_t map, uint8_t opcode) {
    if (map) out->push_back(0x0f);
    if (map == 2) out->push_back(0x38);
    if (map == 3) out->push_back(0x3a);
    out->push_back(opcode);
}

}  // namespace

Generator::Generator(Mode mode) : mode_(mode) {
    if (mode == Mode::Long) ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (mode == Mode::Flat32) ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
    if (mode == Mode::Segmented16) ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16);
    static const uint8_t kPrefixes[] = {0, kP66, kPF2, kPF3, kP66 | kPF2, kP66 | kPF3};
    for (uint8_t map = 0; map < 4; ++map)
        for (unsigned opcode = 0; opcode < 256; ++opcode)
            for (const uint8_t prefixes : kPrefixes)
                for (uint8_t w = 0; w <= (mode == Mode::Long); ++w) offer(map, static_cast<uint8_t>(opcode), prefixes, w);
}

bool Generator::decode(const uint8_t* bytes, size_t size, Decoded* out) const {
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, bytes, size, &out->insn, out->operands));
}

/// Tries the encoding with every ModRM.mod (register or memory) and reg, and rm where registers select the operation.
void Generator::offer(uint8_t map, uint8_t opcode, uint8_t prefixes, uint8_t rex_w) {
    std::vector<uint8_t> bytes;
    if (prefixes & kP66) bytes.push_back(0x66);
    if (prefixes & kPF2) bytes.push_back(0xf2);
    if (prefixes & kPF3) bytes.push_back(0xf3);
    if (rex_w) bytes.push_back(0x48);
    if (mode_ == Mode::Long && map == 0 && opcode >= 0x40 && opcode < 0x50) return;
    put_opcode(&bytes, map, opcode);
    const size_t head = bytes.size();
    bytes.resize(head + 12, 0x11);
    std::set<std::tuple<unsigned, unsigned, unsigned>> seen;   // (mnemonic, mod 3, reg of a group)
    Decoded d;
    for (unsigned modrm = 0; modrm < 256; ++modrm) {
        if (modrm >> 6 == 1 || modrm >> 6 == 2) continue;
        bytes[head] = static_cast<uint8_t>(modrm);
        bytes[head + 1] = 0x11;
        if (!decode(bytes.data(), bytes.size(), &d)) continue;
        if (d.insn.opcode != opcode || d.insn.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) continue;
        const bool has_modrm = d.insn.attributes & ZYDIS_ATTRIB_HAS_MODRM;
        const bool x87_register = map == 0 && opcode >= 0xd8 && opcode <= 0xdf && modrm >= 0xc0;
        if (!seen.insert({d.insn.mnemonic, has_modrm && modrm >= 0xc0, x87_register ? modrm : has_modrm ? modrm >> 3 & 7 : 0}).second)
            continue;
        add_form({Group::Integer, d.insn.mnemonic, map, opcode, prefixes, rex_w, has_modrm, static_cast<uint8_t>(modrm), x87_register}, d);
        if (!has_modrm) return;
    }
}

void Generator::add_form(Form form, const Decoded& d) {
    const std::optional<Group> group = group_of(d.insn, d.operands);
    if (!group) return;
    form.group = *group;
    if ((form.group == Group::Integer || form.group == Group::Stack) && moves_segment(d.insn, d.operands)) form.group = Group::Segment;
    // 66 on a near branch in 64-bit mode: ignored by Intel, honoured by AMD (APM vol. 3, "Near branches in 64-bit mode").
    if (form.group == Group::Branch && (form.prefixes & kP66)) return;
    // F3 BSF and BSR are TZCNT and LZCNT on hosts newer than the level that is tested.
    if ((form.mnemonic == ZYDIS_MNEMONIC_BSF || form.mnemonic == ZYDIS_MNEMONIC_BSR) && (form.prefixes & kPF3)) return;
    // Reserved prefixes that processors give a meaning: F2 and F3 choose the condition of LOOPE and LOOPNE on AMD.
    if ((form.mnemonic == ZYDIS_MNEMONIC_LOOPE || form.mnemonic == ZYDIS_MNEMONIC_LOOPNE) && (form.prefixes & (kPF2 | kPF3))) return;
    // AMD has no 64-bit far pointers (APM vol. 3, LFS), and its MOVSXD reads 32 bits for a 16-bit destination.
    if (form.rex_w && (form.mnemonic == ZYDIS_MNEMONIC_LFS || form.mnemonic == ZYDIS_MNEMONIC_LGS || form.mnemonic == ZYDIS_MNEMONIC_LSS)) return;
    if (form.mnemonic == ZYDIS_MNEMONIC_MOVSXD && (form.prefixes & kP66)) return;
    forms_.push_back(form);
}

std::vector<Form> Generator::forms(Group group) const {
    std::vector<Form> result;
    std::copy_if(forms_.begin(), forms_.end(), std::back_inserter(result), [&](const Form& f) { return f.group == group; });
    return result;
}

std::vector<uint8_t> Generator::encode(const Form& form, Random& random) const {
    std::vector<uint8_t> bytes;
    if (random.one_in(6)) bytes.push_back(random.pick({uint8_t{0x26}, mode_ == Mode::Segmented16 ? uint8_t{0x26} : uint8_t{0x2e}, uint8_t{0x36}, uint8_t{0x3e}, uint8_t{0x64}, uint8_t{0x65}}));
    if (random.one_in(mode_ == Mode::Long ? 6 : 12)) bytes.push_back(0x67);
    if (form.prefixes & kP66) bytes.push_back(0x66);
    if (form.prefixes & kPF2) bytes.push_back(0xf2);
    if (form.prefixes & kPF3) bytes.push_back(0xf3);
    if (random.one_in(12)) bytes.insert(bytes.begin() + static_cast<long>(random.below(bytes.size() + 1)), 0xf0);
    if (form.rex_w || (mode_ == Mode::Long && random.one_in(2)))
        bytes.push_back(static_cast<uint8_t>(0x40 | form.rex_w << 3 | random.below(8)));
    put_opcode(&bytes, form.map, form.opcode);
    if (form.has_modrm) {
        uint8_t modrm = form.modrm;
        if (!form.fixed_rm) {
            const uint8_t mod = modrm >= 0xc0 ? 3 : static_cast<uint8_t>(random.below(3));
            modrm = static_cast<uint8_t>(mod << 6 | (modrm & 0x38) | random.below(8));
        }
        bytes.push_back(modrm);
    }
    for (unsigned i = 0; i < 12; ++i)
        bytes.push_back(static_cast<uint8_t>(random.one_in(4) ? random.pick({0, 1, 0x7f, 0x80, 0xff}) : random.next()));
    return bytes;
}

std::optional<Case> Generator::make(const Form& form, Random& random) const {
    Decoded d;
    Case test;
    test.mode = mode_;
    test.code = encode(form, random);
    if (!decode(test.code.data(), test.code.size(), &d) || d.insn.mnemonic != form.mnemonic) return std::nullopt;
    test.code.resize(d.insn.length);
    // ARPL that changes nothing: whether a segment that cannot be written faults differs between processors.
    if (form.mnemonic == ZYDIS_MNEMONIC_ARPL && (d.insn.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_CS)) return std::nullopt;
    const bool branch = form.group == Group::Branch;
    test.at = kCode + (branch ? 0x400 + random.below(0x700) : random.below(kPage - 64));
    if (!branch && random.one_in(64)) test.at = kCode + kPage - 1 - random.below(15);   // may run off the page
    test.in = random_registers(random, mode_);
    test.in.rip = test.at;
    tune(&test, d, random);
    if (!place_operands(&test, d, random)) return std::nullopt;
    return test;
}

std::optional<Case> Generator::make_block(const std::vector<Form>& forms, Random& random, unsigned length) const {
    std::optional<Case> block;
    for (unsigned i = 0; i < length; ++i) {
        std::optional<Case> one;
        while (!one) one = make(forms[random.below(forms.size())], random);
        if (!block) block = std::move(one);
        else {
            block->code.insert(block->code.end(), one->code.begin(), one->code.end());
            block->in = one->in;
            block->pokes.insert(block->pokes.end(), one->pokes.begin(), one->pokes.end());
        }
    }
    for (uint64_t& v : block->in.gpr)
        if (random.one_in(2)) v = kWindow + 0x800 + random.below(0x1000);
    block->in.rflags &= ~0x40000ull;   // AC: see tune()
    block->instructions = length;
    block->at = kCode + random.below(kPage - 64 - block->code.size());
    block->in.rip = block->at;
    return block;
}

std::string Generator::disassemble(const Case& test) const {
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    std::string text;
    Decoded d;
    if (test.mode == Mode::Segmented16) text = "[16-bit]";
    for (size_t at = 0; at < test.code.size() && decode(test.code.data() + at, test.code.size() - at, &d); at += d.insn.length) {
        char line[256];
        ZydisFormatterFormatInstruction(&formatter, &d.insn, d.operands, d.insn.operand_count_visible, line, sizeof line, test.at + at, nullptr);
        text += text.empty() ? "" : " ; ";
        text += line;
    }
    return text;
}

}  // namespace yado::oracle
