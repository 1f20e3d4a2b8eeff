// The decoder against Zydis on random bytes: where both know the instruction, its length and its memory operand agree.
// YADO_FUZZ_SEED repeats a run, YADO_FUZZ_COUNT sets the number of byte strings a mode.
#include <Zydis/Zydis.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <map>
#include <random>

#include "cpu/state.h"
#include "cpu_interp/decode/decode.h"

namespace yado::cpu_interp {
namespace {

constexpr uint64_t kDefaultSeed = 1985, kDefaultCount = 400'000;
constexpr unsigned kReported = 20;
using Bytes16 = std::array<uint8_t, 16>;

uint64_t environment(const char* name, uint64_t fallback) {
    const char* text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 0) : fallback;
}

/// Random bytes, but prefixes, two-byte opcodes and VEX more often than one in 256.
Bytes16 random_bytes(std::mt19937_64& random) {
    static constexpr uint8_t kPrefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x64, 0x65, 0x48, 0x41, 0x4f, 0x44};
    Bytes16 bytes;
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
    size_t at = 0;
    while (at < 4 && random() % 3 == 0) bytes[at++] = kPrefixes[random() % std::size(kPrefixes)];
    if (random() % 4 == 0) {
        bytes[at] = random() % 3 ? 0xc4 : 0xc5;
        if (random() % 4) bytes[at + 1] |= 0xc0;
        if (bytes[at] == 0xc4) bytes[at + 1] = static_cast<uint8_t>((bytes[at + 1] & 0xe0) | random() % 4);
        if (random() % 2) bytes[at + 2] |= 0x78;
        return bytes;
    }
    if (random() % 2) bytes[at++] = 0x0f;
    if (random() % 8 == 0) bytes[at] = random() % 2 ? 0x38 : 0x3a;
    return bytes;
}

/// What the level that the interpreter implements leaves out (x86-64-v3), or Zydis reads differently.
bool comparable(const ZydisDecodedInstruction& insn) {
    if (insn.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && insn.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX) return false;
    switch (insn.meta.isa_set) {
        case ZYDIS_ISA_SET_AMD3DNOW: case ZYDIS_ISA_SET_SSE4A: case ZYDIS_ISA_SET_KEYLOCKER: case ZYDIS_ISA_SET_KEYLOCKER_WIDE:
        case ZYDIS_ISA_SET_MPX: case ZYDIS_ISA_SET_CET: case ZYDIS_ISA_SET_PADLOCK_ACE: case ZYDIS_ISA_SET_PADLOCK_PHE:
        case ZYDIS_ISA_SET_PADLOCK_PMM: case ZYDIS_ISA_SET_PADLOCK_RNG: case ZYDIS_ISA_SET_VTX: case ZYDIS_ISA_SET_SVM:
        case ZYDIS_ISA_SET_SMX: case ZYDIS_ISA_SET_KNC_MISC: case ZYDIS_ISA_SET_KNCSTREAM: case ZYDIS_ISA_SET_KNC_PF_HINT:
            return false;
        default: break;
    }
    switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1:                                      // 0F FF has a ModRM byte on some processors
        case ZYDIS_MNEMONIC_JKZD: case ZYDIS_MNEMONIC_JKNZD: return false;
        default: return true;
    }
}

uint8_t gpr_number(ZydisRegister reg) {
    if (reg == ZYDIS_REGISTER_NONE) return kNoReg;
    if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP) return kRipReg;
    return static_cast<uint8_t>(ZydisRegisterGetId(reg));
}

struct Operand {
    uint8_t base, index;
    unsigned scale;
    int64_t disp;
    uint8_t seg;
    friend bool operator==(const Operand&, const Operand&) = default;
    std::string text() const { return fmt::format("base {} index {} scale {} disp {:#x} segment {}", base, index, scale, disp, seg); }
};

class Comparison {
  public:
    Comparison(CodeMode mode, ZydisMachineMode machine, ZydisStackWidth width) : mode_(mode) { ZydisDecoderInit(&zydis_, machine, width); }

    void run(const Bytes16& bytes) {
        Insn ours;
        const DecodeStatus status = decode(bytes.data(), 15, mode_, &ours);
        const bool known = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zydis_, bytes.data(), 15, &insn_, operands_));
        if (!known || !comparable(insn_)) return;
        ++compared_;
        if (near_branch_with_66()) return;
        if (status != DecodeStatus::Ok) return note(bytes, fmt::format("we refuse it: status {}", static_cast<int>(status)));
        if (ours.length != insn_.length) return note(bytes, fmt::format("length {} but Zydis says {}", ours.length, insn_.length));
        compare_memory(bytes, ours);
        compare_vex(bytes, ours);
    }

    /// Truncation: a decoder that is given fewer bytes than the instruction has must ask for more, never read on.
    void run_truncated(const Bytes16& bytes) {
        Insn whole, part;
        if (decode(bytes.data(), 15, mode_, &whole) != DecodeStatus::Ok) return;
        for (unsigned n = 0; n < whole.length; ++n)
            if (decode(bytes.data(), n, mode_, &part) == DecodeStatus::Ok) note(bytes, fmt::format("accepted from {} of {} bytes", n, whole.length));
    }

    void finish(uint64_t seed) {
        fmt::print("  {} instructions compared, seed {}\n", compared_, seed);
        std::string list;
        for (const auto& [name, count] : failed_) list += fmt::format(" {}:{}", name, count);
        EXPECT_TRUE(failed_.empty()) << "seed " << seed << ";" << list;
    }

  private:
    /// 66 on near branches in 64-bit mode: the manual leaves it to the processor (SDM vol. 2, JMP: "ignored" by Intel).
    bool near_branch_with_66() const {
        return mode_ == CodeMode::Bits64 && insn_.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && (insn_.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE);
    }

    void compare_memory(const Bytes16& bytes, const Insn& ours) {
        for (unsigned k = 0; k < insn_.operand_count; ++k) {
            const ZydisDecodedOperand& o = operands_[k];
            if (o.type != ZYDIS_OPERAND_TYPE_MEMORY || o.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM) continue;
            if (!ours.mem) return note(bytes, "no memory operand");
            Operand theirs{gpr_number(o.mem.base), gpr_number(o.mem.index), o.mem.scale, o.mem.disp.has_displacement ? o.mem.disp.value : 0,
                           static_cast<uint8_t>(ZydisRegisterGetId(o.mem.segment))};
            Operand mine{ours.base, ours.index, ours.index == kNoReg ? 0u : 1u << ours.scale, ours.disp, ours.seg};
            // Zydis 4.0 gives R13D as base, and no displacement, for SIB base 101, mod 00 with REX.B and 67; the manual says
            // no base and disp32 (vol. 2, 2.2.1.2).
            if (mine.base == kNoReg && theirs.base == cpu::R13 && ours.addrsize == 4 && ours.modrm >> 6 == 0)
                theirs.base = kNoReg, theirs.disp = mine.disp;
            // CET gives 3E before indirect branches another meaning, which Zydis assumes.
            if (insn_.attributes & ZYDIS_ATTRIB_HAS_NOTRACK) mine.seg = theirs.seg;
            if (ours.addrsize == 2) mine.scale = theirs.scale;
            if (o.mem.type == ZYDIS_MEMOP_TYPE_AGEN || o.mem.type == ZYDIS_MEMOP_TYPE_MIB) mine.seg = theirs.seg;
            if (ours.addrsize < 8) mine.disp = static_cast<int32_t>(mine.disp), theirs.disp = static_cast<int32_t>(theirs.disp);
            if (mine != theirs) note(bytes, fmt::format("we: {}; Zydis: {}", mine.text(), theirs.text()));
        }
    }

    void compare_vex(const Bytes16& bytes, const Insn& ours) {
        const bool vex = insn_.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
        if (ours.vex != vex) return note(bytes, vex ? "VEX not seen" : "VEX seen");
        if (!vex) return;
        const auto& raw = insn_.raw.vex;
        const bool mode64 = mode_ == CodeMode::Bits64;
        const bool fields = static_cast<unsigned>(ours.map) == raw.m_mmmm && static_cast<unsigned>(ours.mandatory) == raw.pp &&
                            ours.rex_w == raw.W && ours.vex_l == raw.L && ours.vvvv == (~raw.vvvv & 15u) && ours.opcode == insn_.opcode;
        if (!fields) note(bytes, fmt::format("fields: map {} pp {} W {} L {} vvvv {}", static_cast<int>(ours.map),
                                             static_cast<int>(ours.mandatory), ours.rex_w, ours.vex_l, ours.vvvv + 0));
        if (ours.modrm != 0 && ours.reg != ((ours.modrm >> 3 & 7) | (mode64 && !raw.R ? 8 : 0))) note(bytes, "ModRM.reg");
    }

    void note(const Bytes16& bytes, const std::string& what) {
        const std::string name = ZydisMnemonicGetString(insn_.mnemonic);
        if (failed_[name]++ || failed_.size() > kReported) return;
        std::string text;
        for (unsigned i = 0; i < 15; ++i) text += fmt::format(" {:02x}", bytes[i]);
        ADD_FAILURE() << name << ":" << text << ": " << what;
    }

    CodeMode mode_;
    ZydisDecoder zydis_;
    ZydisDecodedInstruction insn_{};
    ZydisDecodedOperand operands_[ZYDIS_MAX_OPERAND_COUNT];
    uint64_t compared_ = 0;
    std::map<std::string, unsigned> failed_;
};

void fuzz(CodeMode mode, ZydisMachineMode machine, ZydisStackWidth width) {
    const uint64_t seed = environment("YADO_FUZZ_SEED", kDefaultSeed), count = environment("YADO_FUZZ_COUNT", kDefaultCount);
    std::mt19937_64 random(seed + static_cast<unsigned>(mode));
    Comparison comparison(mode, machine, width);
    for (uint64_t i = 0; i < count; ++i) {
        const Bytes16 bytes = random_bytes(random);
        comparison.run(bytes);
        if (i % 8 == 0) comparison.run_truncated(bytes);
    }
    comparison.finish(seed);
}

TEST(DecoderFuzz, AgreesWithZydisIn64BitMode) { fuzz(CodeMode::Bits64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); }
TEST(DecoderFuzz, AgreesWithZydisIn32BitMode) { fuzz(CodeMode::Bits32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32); }
TEST(DecoderFuzz, AgreesWithZydisIn16BitMode) { fuzz(CodeMode::Bits16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16); }

}  // namespace
}  // namespace yado::cpu_interp
