// Makes cases: every encoding of every opcode map is offered to Zydis, and what it knows as an instruction of the levels
// that the interpreter implements becomes a form. A case is a form with random prefixes, operands and state, whose memory
// operands are then led into the window by solving for the registers that address them.
#pragma once

#include <Zydis/Zydis.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "machine.h"
#include "random.h"

namespace yado::oracle {

enum class Group : uint8_t { Integer, String, Stack, Branch, X87, Mmx, Sse, Sse2, Sse3, Sse4, State, Privileged, Segment, Crypto, Bmi, Avx, Avx2, Fma, Gather };

/// One encoding: what the generator keeps fixed. The rest of the bytes is random in each case.
struct Form {
    Group group;
    ZydisMnemonic mnemonic;
    uint8_t map;          ///< 0: one-byte, 1: 0F, 2: 0F38, 3: 0F3A
    struct Vex {
        bool present = false;
        uint8_t l = 0;
        bool vvvv = false;   ///< used: names a register
    } vex;
    uint8_t opcode;
    uint8_t prefixes;     ///< kP66 | kPF2 | kPF3; VEX: pp
    uint8_t rex_w;        ///< or VEX.W
    bool has_modrm;
    uint8_t modrm;        ///< with has_modrm: reg fixed; mod is 3 or "memory"; rm fixed only where it selects
    bool fixed_rm;
    bool free_reg = false;   ///< reg is random, too
};
inline constexpr uint8_t kP66 = 1, kPF2 = 2, kPF3 = 4;

struct Instruction {
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

class Generator {
  public:
    explicit Generator(Mode mode);
    std::vector<Form> forms(Group group) const;

    /// A random case of a form; nullopt when the random choices did not fit together (try again).
    std::optional<Case> make(const Form& form, Random& random) const;
    /// A VEX form with its prefix changed to something that Zydis refuses; nullopt: it was not refused.
    std::optional<Case> make_invalid(const Form& form, Random& random) const;
    /// A block: several cases' instructions one after the other, sharing the last one's state.
    std::optional<Case> make_block(const std::vector<Form>& forms, Random& random, unsigned length) const;

    /// A block whose memory operands lie close together (close.cpp).
    std::optional<Case> make_close_block(const std::vector<Form>& forms, Random& random, unsigned length) const;

    std::string disassemble(const Case& test) const;

    /// The instruction that `outcome` ended with, and the offset behind it: the one that faulted, or a case's only one.
    std::optional<Instruction> last_of(const Case& test, const Outcome& outcome, size_t* end) const;

  private:
    using Decoded = Instruction;
    bool decode(const uint8_t* bytes, size_t size, Decoded* out) const;
    std::vector<uint8_t> encode(const Form& form, Random& random) const;
    void put_legacy(std::vector<uint8_t>* out, const Form& form, Random& random) const;
    void put_vex(std::vector<uint8_t>* out, const Form& form, Random& random) const;
    bool lead_to_base(std::vector<uint8_t>* code, Random& random) const;
    std::vector<uint8_t> close_instruction(const std::vector<Form>& forms, Random& random) const;
    void offer_vex(Form form);
    void offer(uint8_t map, uint8_t opcode, uint8_t prefixes, uint8_t rex_w);
    void add_form(Form form, const Decoded& decoded);
    bool place_operands(Case* test, const Decoded& decoded, Random& random) const;
    bool place(Case* test, Decoded* decoded, const ZydisDecodedOperand& operand, Random& random) const;
    bool place_gather(Case* test, Decoded* decoded, Random& random) const;
    uint64_t segment_base(ZydisRegister segment) const;
    std::optional<uint64_t> effective(const Case& test, const Decoded& decoded, const ZydisDecodedOperand& operand) const;
    void fill(Case* test, const Decoded& decoded, unsigned index, uint64_t at, Random& random) const;
    bool moves_selector(const Decoded& decoded) const;
    void tune(Case* test, const Decoded& decoded, Random& random) const;

    Mode mode_;
    ZydisDecoder decoder_;
    std::vector<Form> forms_;
};

/// A state with random registers; flags, x87, MXCSR and XMM included.
Registers random_registers(Random& random, Mode mode);

}  // namespace yado::oracle
