// Emits host code: Xbyak for our own instructions, encode() for the guest's, re-encoded with other operands.
// Intel SDM vol. 2, chapter 2. Addresses are those of the writable mapping; all jumps inside the cache are relative.
#pragma once

#include <xbyak/xbyak.h>

#include "cpu_bt/host_map.h"
#include "cpu_interp/insn.h"

namespace yado::cpu_bt {

/// The r/m operand of a re-encoded instruction: a register, or base + index * 2^scale + disp.
struct Rm {
    bool mem = false;
    int8_t reg = 0;
    int8_t base = -1, index = -1;  ///< -1: none
    uint8_t scale = 0;
    int32_t disp = 0;

    static Rm of(int reg) { return {.reg = static_cast<int8_t>(reg)}; }
    static Rm at(int base, int index = -1, unsigned scale = 0, int32_t disp = 0) {
        return {.mem = true, .base = static_cast<int8_t>(base), .index = static_cast<int8_t>(index),
                .scale = static_cast<uint8_t>(scale), .disp = disp};
    }
    static Rm home(unsigned guest) { return at(kRbp, -1, 0, at::home(guest)); }
};

/// Everything of an encoding but its operands.
struct Encoding {
    cpu_interp::Map map = cpu_interp::Map::One;
    uint8_t opcode = 0;
    bool p66 = false, pf3 = false, pf2 = false, lock = false;
    bool w = false;
    bool vex = false, l = false;
    uint8_t vvvv = 0;           ///< a host register
    bool byte_operand = false;  ///< a byte register that must not become AH to BH: REX always
};

class Assembler : public Xbyak::CodeGenerator {
  public:
    Assembler(uint8_t* memory, size_t size) : CodeGenerator(size, memory) {}

    /// prefixes, REX, opcode, ModRM, SIB, displacement; an immediate follows by db, dw, dd.
    void encode(const Encoding& e, int reg, const Rm& rm);
    void move(int to, int from) { mov(r64(to), r64(from)); }
    void load(int to, int disp) { mov(r64(to), qword[rbp + disp]); }
    void store(int disp, int from) { mov(qword[rbp + disp], r64(from)); }
    /// Sign-extended displacement of `size` 1, 2, 4 bytes.
    void immediate(int32_t value, unsigned size);

    static Xbyak::Reg64 r64(int r) { return Xbyak::Reg64(r); }
    static Xbyak::Reg32 r32(int r) { return Xbyak::Reg32(r); }

    // --- forward jumps: an offset to be bound later -------------------------------------------------------------------
    size_t here() const { return getSize(); }
    uint8_t* address(size_t offset) { return const_cast<uint8_t*>(getCode()) + offset; }
    /// Jcc rel32 (or JMP) to nowhere yet; returns what bind() takes.
    size_t jump_if(unsigned condition);
    size_t jump();
    void bind(size_t jump) { aim(jump, here()); }
    /// Points the jump at an offset. The end of a jump's displacement is what jump() returned.
    void aim(size_t jump, size_t target);
    void jump_to(size_t target) { aim(jump(), target); }
    void call_to(size_t target);
    /// Overwrites code at `from`, of at least five bytes, that is entered only there.
    void replace_by_jump(size_t from, size_t target);

  private:
    void legacy_prefixes(const Encoding& e, uint8_t rex);
    void vex_prefix(const Encoding& e, uint8_t rex);
};

/// Condition numbers of Jcc (SDM vol. 1, appendix B).
namespace cc {
inline constexpr unsigned kBelow = 2, kAboveOrEqual = 3, kEqual = 4, kNotEqual = 5, kBelowOrEqual = 6, kAbove = 7;
}

}  // namespace yado::cpu_bt
