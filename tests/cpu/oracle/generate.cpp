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

/// The x86-64-v3 level with FXSAVE, XSAVE, ADX and what there is for cryptography; nullopt: not an instruction that the interpreter implements.
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
        // Not SHA: AMD does not ask its memory operands for the alignment that the manual does.
        case ZYDIS_ISA_SET_AES: case ZYDIS_ISA_SET_PCLMULQDQ: case ZYDIS_ISA_SET_GFNI:
        case ZYDIS_ISA_SET_AVXAES: case ZYDIS_ISA_SET_VAES: case ZYDIS_ISA_SET_VPCLMULQDQ: case ZYDIS_ISA_SET_AVX_GFNI:
            return Group::Crypto;
        case ZYDIS_ISA_SET_BMI1: case ZYDIS_ISA_SET_BMI2: case ZYDIS_ISA_SET_LZCNT: case ZYDIS_ISA_SET_ADOX_ADCX: return Group::Bmi;
        case ZYDIS_ISA_SET_AVX: case ZYDIS_ISA_SET_F16C: return Group::Avx;
        case ZYDIS_ISA_SET_AVX2: return Group::Avx2;
        case ZYDIS_ISA_SET_AVX2GATHER: return Group::Gather;
        case ZYDIS_ISA_SET_FMA: return Group::Fma;
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

/// Instructions that ModRM.reg selects.
bool is_vex_group(uint8_t map, uint8_t opcode) {
    return (map == 1 && ((opcode >= 0x71 && opcode <= 0x73) || opcode == 0xae)) || (map == 2 && opcode == 0xf3);
}

uint8_t vex_pp(uint8_t prefixes) { return prefixes & kP66 ? 1 : prefixes & kPF3 ? 2 : prefixes & kPF2 ? 3 : 0; }

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
    for (uint8_t map = 1; map < 4; ++map)
        for (unsigned opcode = 0; opcode < 256; ++opcode)
            for (const uint8_t prefix : {uint8_t{0}, kP66, kPF3, kPF2})
                for (uint8_t w = 0; w < 2; ++w)
                    for (uint8_t l = 0; l < 2; ++l)
                        offer_vex({Group::Integer, ZYDIS_MNEMONIC_INVALID, map, {true, l}, static_cast<uint8_t>(opcode), prefix, w, true, 0, false, !is_vex_group(map, static_cast<uint8_t>(opcode))});
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
        add_form({Group::Integer, d.insn.mnemonic, map, {}, opcode, prefixes, rex_w, has_modrm, static_cast<uint8_t>(modrm), x87_register}, d);
        if (!has_modrm) return;
    }
}

/// The same for VEX. A form that exists with any register in vvvv uses it.
void Generator::offer_vex(Form form) {
    const auto pp = vex_pp(form.prefixes);
    std::map<std::tuple<unsigned, bool, unsigned>, size_t> seen;   // (mnemonic, mod 3, reg of a group): its place in forms_
    for (const uint8_t vvvv : {0x78, 0x50}) {
        std::vector<uint8_t> bytes{0xc4, static_cast<uint8_t>(0xe0 | form.map), static_cast<uint8_t>(form.rex_w << 7 | vvvv | form.vex.l << 2 | pp), form.opcode};
        bytes.resize(15, 0x11);
        for (unsigned modrm = 0; modrm < 256; ++modrm) {
            Decoded d;
            bytes[4] = static_cast<uint8_t>(modrm);
            if (modrm >> 6 == 1 || modrm >> 6 == 2 || !decode(bytes.data(), bytes.size(), &d)) continue;
            form.has_modrm = d.insn.attributes & ZYDIS_ATTRIB_HAS_MODRM;
            form.modrm = static_cast<uint8_t>(modrm);
            form.mnemonic = d.insn.mnemonic;
            form.vex.vvvv = vvvv != 0x78;
            const auto [known, is_new] = seen.insert({{form.mnemonic, form.has_modrm && modrm >= 0xc0, form.free_reg ? 0 : modrm >> 3 & 7}, forms_.size()});
            if (is_new) add_form(form, d);
            else if (known->second < forms_.size()) forms_[known->second].vex.vvvv |= form.vex.vvvv;
        }
    }
}

void Generator::add_form(Form form, const Decoded& d) {
    const std::optional<Group> group = group_of(d.insn, d.operands);
    if (!group) return;
    form.group = *group;
    if ((form.group == Group::Integer || form.group == Group::Stack) && moves_segment(d.insn, d.operands)) form.group = Group::Segment;
    // 66 on a near branch in 64-bit mode: ignored by Intel, honoured by AMD (APM vol. 3, "Near branches in 64-bit mode").
    if (form.group == Group::Branch && (form.prefixes & kP66)) return;
    // Reserved prefixes that processors give a meaning: F2 and F3 choose the condition of LOOPE and LOOPNE on AMD.
    if ((form.mnemonic == ZYDIS_MNEMONIC_LOOPE || form.mnemonic == ZYDIS_MNEMONIC_LOOPNE) && (form.prefixes & (kPF2 | kPF3))) return;
    // AMD has no 64-bit far pointers (APM vol. 3, LFS), and its MOVSXD reads 32 bits for a 16-bit destination.
    if (form.rex_w && (form.mnemonic == ZYDIS_MNEMONIC_LFS || form.mnemonic == ZYDIS_MNEMONIC_LGS || form.mnemonic == ZYDIS_MNEMONIC_LSS)) return;
    if (form.mnemonic == ZYDIS_MNEMONIC_MOVSXD && (form.prefixes & kP66)) return;
    // Outside 64-bit mode W1 of these is ignored (SDM vol. 2, footnotes), but #UD on AMD.
    const bool dword = form.mnemonic == ZYDIS_MNEMONIC_VPEXTRD || form.mnemonic == ZYDIS_MNEMONIC_VPINSRD;
    if (dword && form.rex_w && mode_ != Mode::Long) return;
    forms_.push_back(form);
}

std::vector<Form> Generator::forms(Group group) const {
    std::vector<Form> result;
    std::copy_if(forms_.begin(), forms_.end(), std::back_inserter(result), [&](const Form& f) { return f.group == group; });
    return result;
}

/// Outside 64-bit mode R and X are fixed, and B and the highest bit of vvvv mean nothing.
void Generator::put_vex(std::vector<uint8_t>* out, const Form& form, Random& random) const {
    const bool wide = mode_ == Mode::Long;
    auto tail = static_cast<uint8_t>(form.vex.l << 2 | vex_pp(form.prefixes) | 0x78);
    if (form.vex.vvvv) tail = static_cast<uint8_t>((tail & 0x87) | (random.below(16) << 3));
    const auto extensions = static_cast<uint8_t>(wide ? random.below(8) << 5 : 0xc0 | random.below(2) << 5);
    if (form.map == 1 && !form.rex_w && (extensions & 0x60) == 0x60 && random.one_in(2)) {
        if (!wide) tail |= 0x40;
        out->insert(out->end(), {0xc5, static_cast<uint8_t>(tail | (wide ? extensions & 0x80 : 0x80))});
    } else {
        out->insert(out->end(), {0xc4, static_cast<uint8_t>(extensions | form.map), static_cast<uint8_t>(tail | form.rex_w << 7)});
    }
    out->push_back(form.opcode);
}

void Generator::put_legacy(std::vector<uint8_t>* out, const Form& form, Random& random) const {
    if (form.prefixes & kP66) out->push_back(0x66);
    if (form.prefixes & kPF2) out->push_back(0xf2);
    if (form.prefixes & kPF3) out->push_back(0xf3);
    if (random.one_in(12)) out->insert(out->begin() + static_cast<long>(random.below(out->size() + 1)), 0xf0);
    if (form.rex_w || (mode_ == Mode::Long && random.one_in(2)))
        out->push_back(static_cast<uint8_t>(0x40 | form.rex_w << 3 | random.below(8)));
    put_opcode(out, form.map, form.opcode);
}

std::vector<uint8_t> Generator::encode(const Form& form, Random& random) const {
    std::vector<uint8_t> bytes;
    if (random.one_in(6)) bytes.push_back(random.pick({uint8_t{0x26}, mode_ == Mode::Segmented16 ? uint8_t{0x26} : uint8_t{0x2e}, uint8_t{0x36}, uint8_t{0x3e}, uint8_t{0x64}, uint8_t{0x65}}));
    if (random.one_in(mode_ == Mode::Long ? 6 : 12)) bytes.push_back(0x67);
    if (form.vex.present) {
        put_vex(&bytes, form, random);
    } else {
        put_legacy(&bytes, form, random);
    }
    if (form.has_modrm) {
        uint8_t modrm = form.modrm;
        if (!form.fixed_rm) {
            const uint8_t mod = modrm >= 0xc0 ? 3 : static_cast<uint8_t>(random.below(3));
            modrm = static_cast<uint8_t>(mod << 6 | (modrm & 0x38) | random.below(8));
        }
        if (form.free_reg) modrm = static_cast<uint8_t>((modrm & 0xc7) | random.below(8) << 3);
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
    // PAUSE with REX.B: XCHG R8, RAX on AMD (as 90 is without F3), PAUSE on Intel.
    if (form.mnemonic == ZYDIS_MNEMONIC_PAUSE && d.insn.raw.rex.B) test.code[d.insn.raw.rex.offset] &= 0xfe;
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

std::optional<Case> Generator::make_invalid(const Form& form, Random& random) const {
    std::optional<Case> test = make(form, random);
    if (!test) return std::nullopt;
    auto vex = std::ranges::find_if(test->code, [](uint8_t b) { return b == 0xc4 || b == 0xc5; });
    uint8_t& tail = vex[*vex == 0xc4 ? 2 : 1];
    const bool three = *vex == 0xc4;
    switch (random.below(7)) {
        case 0: tail = static_cast<uint8_t>((tail & 0x87) | random.below(mode_ == Mode::Long || three ? 16 : 8) << 3 | (mode_ == Mode::Long || three ? 0 : 0x40)); break;
        case 1: tail ^= 4; break;
        case 2: tail = static_cast<uint8_t>((tail & 0xfc) | random.below(4)); break;
        case 3: tail ^= three ? 0x80 : 4; break;
        case 4:
            if (three) vex[1] = static_cast<uint8_t>((vex[1] & 0xe0) | random.below(32));
            break;
        case 5: {   // a register for memory, or [rDI] for a register; with room for an immediate
            const auto modrm = vex + (three ? 4 : 3);
            if (!form.has_modrm) return std::nullopt;
            *modrm = static_cast<uint8_t>(*modrm < 0xc0 ? *modrm | 0xc0 : (*modrm & 0x38) | 7);
            test->code.resize(static_cast<size_t>(modrm - test->code.begin()) + 2);
            break;
        }
        default:
            test->code.insert(vex, random.pick({uint8_t{0x66}, uint8_t{0xf2}, uint8_t{0xf3}, uint8_t{0xf0},
                                                static_cast<uint8_t>(mode_ == Mode::Long ? 0x40 + random.below(16) : 0x66)}));
    }
    Decoded d;
    std::vector<uint8_t> padded = test->code;
    padded.resize(32);
    if (decode(padded.data(), 15, &d)) return std::nullopt;
    const auto op = std::ranges::find_if(test->code, [](uint8_t b) { return b == 0xc4; });
    if (test->code.end() - op > 3 && (op[1] & 0x1f) == 3 && op[3] < 2) return std::nullopt;   // AMD takes VPERMQ and VPERMPD with W0
    test->at = test->in.rip = kCode + random.below(kPage - 64);
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

std::optional<Instruction> Generator::last_of(const Case& test, const Outcome& outcome, size_t* end) const {
    if (test.instructions > 1 && !outcome.trapped) return std::nullopt;
    const uint64_t linear = outcome.out.rip + (test.mode == Mode::Segmented16 ? kCode : 0);
    Instruction i;
    for (size_t at = 0; at < test.code.size() && decode(test.code.data() + at, test.code.size() - at, &i); at += i.insn.length) {
        *end = at + i.insn.length;
        if (test.instructions == 1 || test.at + at == linear) return i;
    }
    return std::nullopt;
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
