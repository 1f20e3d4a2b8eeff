// Blocks whose memory operands lie close together: a few registers point into the window, often near the edge of a page, and every
// operand is one of them with a small displacement. What the translator knows of addresses in a block is put to the test.
#include <algorithm>

#include "generate.h"

namespace yado::oracle {

namespace {

/// RBX, RSI, RSP and, with REX.B, R8, R10, R12: one that is kept in memory and two that need a SIB byte among them.
constexpr uint8_t kLowBases[] = {3, 6, 4}, kHighBases[] = {8, 10, 12};

/// What changes these registers in ways that a translator may follow, or must notice that it cannot.
struct Bytes {
    uint8_t size;
    uint8_t bytes[8];
};
constexpr Bytes kMoves[] = {
    {4, {0x48, 0x8d, 0x5b, 0x08}},              // lea rbx, [rbx + 8]
    {4, {0x48, 0x8d, 0x73, 0xf0}},              // lea rsi, [rbx - 16]
    {4, {0x4c, 0x8d, 0x46, 0x14}},              // lea r8, [rsi + 20]
    {4, {0x48, 0x83, 0xc3, 0x18}},              // add rbx, 24
    {4, {0x48, 0x83, 0xee, 0x09}},              // sub rsi, 9
    {7, {0x49, 0x81, 0xc2, 0x30, 0, 0, 0}},     // add r10, 48
    {7, {0x48, 0x81, 0xec, 0x20, 0, 0, 0}},     // sub rsp, 32
    {4, {0x48, 0x83, 0xc4, 0x10}},              // add rsp, 16
    {3, {0x48, 0xff, 0xc6}},                    // inc rsi
    {3, {0x49, 0xff, 0xc8}},                    // dec r8
    {3, {0x48, 0x89, 0xde}},                    // mov rsi, rbx
    {3, {0x4d, 0x8b, 0xd0}},                    // mov r10, r8
    {3, {0x48, 0x89, 0xe3}},                    // mov rbx, rsp
    {3, {0x48, 0x87, 0xde}},                    // xchg rsi, rbx
    {3, {0x4d, 0x87, 0xc2}},                    // xchg r10, r8
    {1, {0x53}}, {1, {0x5e}},                   // push rbx; pop rsi
    {2, {0x41, 0x50}}, {2, {0x41, 0x5a}},       // push r8; pop r10
    {1, {0x54}}, {1, {0x5c}},                   // push rsp; pop rsp
    {2, {0x6a, 0x11}}, {1, {0x9c}},             // push imm8; pushf
    {2, {0x66, 0x50}}, {2, {0x66, 0x58}},       // push ax; pop ax
    {3, {0xff, 0x73, 0x08}},                    // push [rbx + 8]
    {4, {0x66, 0x83, 0xc3, 0x05}},              // add bx, 5
    {3, {0x80, 0xc3, 0x03}},                    // add bl, 3
    {3, {0x80, 0xef, 0x00}},                    // sub bh, 0
    {4, {0x48, 0x0f, 0xb1, 0xde}},              // cmpxchg rsi, rbx
    {4, {0x48, 0x0f, 0xc1, 0xf3}},              // xadd rbx, rsi
    {4, {0x48, 0x0f, 0x45, 0xf3}},              // cmovne rsi, rbx
    {3, {0x0f, 0x92, 0xc3}},                    // setc bl
};

/// Where the pages' rights change, as an offset in the window, and what lies between.
uint64_t anchor(Random& random) {
    static constexpr uint64_t kEdges[] = {kPage, kWindowWritable, kWindowSize, 0};
    if (random.one_in(3)) return kWindow + random.pick(kEdges) + random.below(160) - 80;
    return kWindow + 0x300 + random.below(kWindowWritable - 0x600);
}

}  // namespace

/// Gives the instruction's memory operand one of the bases and a small displacement. False: it has none that can.
bool Generator::lead_to_base(std::vector<uint8_t>* code, Random& random) const {
    Decoded d;
    if (!decode(code->data(), code->size(), &d) || !(d.insn.attributes & ZYDIS_ATTRIB_HAS_MODRM) || d.insn.raw.modrm.mod == 3) return false;
    if (d.insn.address_width != 64 || d.insn.attributes & (ZYDIS_ATTRIB_HAS_SEGMENT_FS | ZYDIS_ATTRIB_HAS_SEGMENT_GS)) return false;
    const bool vex = d.insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    const bool high = vex ? d.insn.raw.vex.offset != d.insn.raw.modrm.offset - 3u && !(code->at(d.insn.raw.vex.offset + 1u) & 0x20) : d.insn.raw.rex.B;
    const uint8_t base = high ? random.pick(kHighBases) : random.pick(kLowBases);
    const bool far = random.one_in(4);
    const int32_t disp = static_cast<int32_t>(random.below(far ? 600 : 128)) - (far ? 300 : 64);
    code->resize(d.insn.raw.modrm.offset);
    code->push_back(static_cast<uint8_t>((far ? 0x80 : 0x40) | d.insn.raw.modrm.reg << 3 | (base & 7)));
    if ((base & 7) == 4) code->push_back(0x24);
    for (unsigned n = 0; n < (far ? 4 : 1); ++n) code->push_back(static_cast<uint8_t>(disp >> (8 * n)));
    for (unsigned n = 0; n < 6; ++n) code->push_back(static_cast<uint8_t>(random.next()));
    const ZydisMnemonic mnemonic = d.insn.mnemonic;
    if (!decode(code->data(), code->size(), &d) || d.insn.mnemonic != mnemonic || d.insn.raw.modrm.mod == 3) return false;
    code->resize(d.insn.length);
    return true;
}

std::vector<uint8_t> Generator::close_instruction(const std::vector<Form>& forms, Random& random) const {
    for (;;) {
        Decoded d;
        if (random.one_in(4)) {
            const Bytes& b = random.pick(kMoves);
            std::vector<uint8_t> move(b.bytes, b.bytes + b.size);
            if (decode(move.data(), move.size(), &d)) return move;
            continue;
        }
        const Form& form = forms[random.below(forms.size())];
        if (!form.has_modrm || form.fixed_rm || form.modrm >= 0xc0) continue;
        std::vector<uint8_t> code = encode(form, random);
        if (!decode(code.data(), code.size(), &d) || d.insn.mnemonic != form.mnemonic) continue;
        if (lead_to_base(&code, random)) return code;
    }
}

std::optional<Case> Generator::make_close_block(const std::vector<Form>& forms, Random& random, unsigned length) const {
    Case block;
    block.mode = mode_;
    block.in = random_registers(random, mode_);
    block.in.rflags &= ~0x40000ull;   // AC: see tune()
    for (unsigned n = 0; n < length; ++n) {
        const std::vector<uint8_t> code = close_instruction(forms, random);
        block.code.insert(block.code.end(), code.begin(), code.end());
    }
    const uint64_t at = anchor(random);
    for (const uint8_t r : {3, 6, 4, 8, 10, 12}) block.in.gpr[r] = (random.one_in(4) ? anchor(random) : at) + random.below(64) - 32;
    if (!random.one_in(4))
        for (const uint8_t r : {3, 6, 4, 8, 10, 12}) block.in.gpr[r] &= ~15ull;
    block.instructions = length;
    block.at = kCode + random.below(kPage - 64 - block.code.size());
    block.in.rip = block.at;
    return block;
}

}  // namespace yado::oracle
