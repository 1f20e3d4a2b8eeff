#include "cpu_bt/instruction_counts.h"

#include <Zydis/Zydis.h>

#include <bit>
#include <span>

namespace yado::cpu_bt {

using cpu_interp::CodeMode;
using cpu_interp::Insn;
using cpu_interp::Mandatory;
using cpu_interp::Map;

namespace {

/// What decides an instruction's name, in 32 bits.
struct Key {
    uint32_t opcode : 8, modrm : 8, map : 2, mandatory : 2, size : 2, mode : 2, rep : 2, vex : 1, vex_l : 1, w : 1, unused : 2, taken : 1;

    /// Of a memory operand only ModRM.reg counts.
    static Key of(const Insn& i) {
        const auto modrm = static_cast<uint8_t>(i.mem ? i.modrm & 0x38 : i.modrm);
        return {.opcode = i.opcode, .modrm = modrm, .map = static_cast<uint32_t>(i.map), .mandatory = static_cast<uint32_t>(i.mandatory),
                .size = static_cast<uint32_t>(std::countr_zero(i.opsize)), .mode = i.mode, .rep = static_cast<uint32_t>(i.rep | i.repne << 1),
                .vex = i.vex, .vex_l = i.vex_l, .w = i.vex && i.rex_w, .unused = 0, .taken = 1};
    }
};
static_assert(sizeof(Key) == sizeof(uint32_t));

/// An encoding with the same name: ModRM and more than enough bytes behind it.
struct Example {
    std::array<uint8_t, ZYDIS_MAX_INSTRUCTION_LENGTH> bytes{};
    unsigned length = 0;
    void put(uint8_t byte) { bytes[length++] = byte; }

    explicit Example(const Key& k) {
        k.vex ? put_vex(k) : put_prefixes(k);
        put(static_cast<uint8_t>(k.opcode));
        put(static_cast<uint8_t>(k.modrm));
    }

  private:
    /// Three bytes (SDM vol. 2, 2.3.5): R, X, B and vvvv inverted. Map and Mandatory have the fields' values.
    void put_vex(const Key& k) {
        put(0xc4);
        put(static_cast<uint8_t>(0xe0 | k.map));
        put(static_cast<uint8_t>(k.w << 7 | 0x78 | k.vex_l << 2 | k.mandatory));
    }
    void put_prefixes(const Key& k) {
        const bool wide = k.mode == static_cast<unsigned>(CodeMode::Bits64);
        if (k.size == 1 || k.mandatory == static_cast<unsigned>(Mandatory::P66)) put(0x66);
        if (k.mandatory == static_cast<unsigned>(Mandatory::PF3) || k.rep & 1) put(0xf3);
        if (k.mandatory == static_cast<unsigned>(Mandatory::PF2) || k.rep & 2) put(0xf2);
        if (k.size == 3 && wide) put(0x48);
        if (k.map != static_cast<unsigned>(Map::One)) put(0x0f);
        if (k.map == static_cast<unsigned>(Map::Of38)) put(0x38);
        if (k.map == static_cast<unsigned>(Map::Of3A)) put(0x3a);
    }
};

ZydisDecoder decoder_for(unsigned mode) {
    ZydisDecoder decoder;
    const bool wide = mode == static_cast<unsigned>(CodeMode::Bits64);
    const bool narrow = mode == static_cast<unsigned>(CodeMode::Bits16);
    ZydisDecoderInit(&decoder, wide ? ZYDIS_MACHINE_MODE_LONG_64 : narrow ? ZYDIS_MACHINE_MODE_LEGACY_16 : ZYDIS_MACHINE_MODE_LEGACY_32,
                     wide ? ZYDIS_STACK_WIDTH_64 : narrow ? ZYDIS_STACK_WIDTH_16 : ZYDIS_STACK_WIDTH_32);
    return decoder;
}

/// MOV is many instructions: those of system registers are told apart.
const char* system_register_of(std::span<const ZydisDecodedOperand> operands) {
    for (const ZydisDecodedOperand& operand : operands) {
        if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        switch (ZydisRegisterGetClass(operand.reg.value)) {
        case ZYDIS_REGCLASS_SEGMENT: return " segment";
        case ZYDIS_REGCLASS_CONTROL: return " control";
        case ZYDIS_REGCLASS_DEBUG: return " debug";
        default: break;
        }
    }
    return "";
}

std::string name_of(const Key& key) {
    const ZydisDecoder decoder = decoder_for(key.mode);
    const Example example(key);
    ZydisDecodedInstruction insn;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, example.bytes.data(), example.bytes.size(), &insn, operands.data()))) return "?";
    const bool repeated = insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
    std::string name = (repeated ? "rep " : "") + std::string(ZydisMnemonicGetString(insn.mnemonic));
    if (insn.mnemonic == ZYDIS_MNEMONIC_MOV) name += system_register_of(std::span(operands).first(insn.operand_count_visible));
    return name;
}

}  // namespace

void InstructionCounts::add(const Insn& i) {
    const auto key = std::bit_cast<uint32_t>(Key::of(i));
    unsigned at = key * 0x9e3779b1u >> 22;
    for (unsigned probe = 0; probe < kMostProbes; ++probe, at = (at + 1) % kSlots) {
        Slot& slot = slots_[at];
        const uint32_t there = slot.key.load(std::memory_order_relaxed);
        if (there == key) return slot.count.add();
        if (there != 0) continue;
        slot.key.store(key, std::memory_order_relaxed);
        return slot.count.add();
    }
    others_.add();
}

std::map<std::string, uint64_t> InstructionCounts::by_mnemonic() const {
    std::map<std::string, uint64_t> counts;
    for (const Slot& slot : slots_)
        if (const uint32_t key = slot.key.load(std::memory_order_relaxed); key != 0) counts[name_of(std::bit_cast<Key>(key))] += slot.count.get();
    if (const uint64_t others = others_.get()) counts["others"] = others;
    return counts;
}

std::string mnemonic_of(const Insn& i) { return name_of(Key::of(i)); }

}  // namespace yado::cpu_bt
