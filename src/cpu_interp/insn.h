// A decoded instruction: what the decoder makes, what a handler gets. 32 bytes; blocks are arrays of them.
//
// Threaded code: a handler does its work and ends with `return next(c, i)`, a tail call to the following instruction's
// handler, or sets c.rip and returns to the run loop (branches, system instructions: Selected::ends_block).
#pragma once

#include <cstdint>

namespace yado::cpu_interp {

class Core;
struct Insn;
using Handler = void (*)(Core& c, const Insn* i);

/// Opcode maps (SDM vol. 2, appendix A). Of VEX instructions: VEX.mmmmm.
enum class Map : uint8_t { One, Of, Of38, Of3A };

/// The mandatory prefix that chose the instruction (SSE), or the last of 66/F3/F2 seen: F3 and F2 win over 66. VEX: VEX.pp.
enum class Mandatory : uint8_t { None, P66, PF3, PF2 };

inline constexpr uint8_t kNoReg = 16;   ///< c.gpr[16] is always 0
inline constexpr uint8_t kRipReg = 17;  ///< RIP-relative: base is the address of the next instruction

struct Insn {
    Handler run;
    union {
        struct {
            int32_t imm;   ///< immediate, sign-extended from its size (relative branches: the displacement)
            int32_t disp;  ///< memory displacement; ENTER's second immediate; far pointer's selector
        };
        uint64_t imm64;    ///< MOV r64, imm64 and moffs64 only
    };
    uint8_t base;          ///< GPR of the address, kNoReg or kRipReg (a SIB base of 101 with mod 00 is kNoReg whatever REX.B)
    uint8_t index;         ///< GPR or kNoReg; of a gather the vector register (address is then not to be used)
    uint8_t scale;         ///< 0 to 3
    uint8_t seg;           ///< effective segment (cpu::SegReg)
    uint8_t reg;           ///< ModRM.reg with REX.R (or the opcode's low 3 bits with REX.B where there is no ModRM)
    uint8_t rm;            ///< ModRM.rm with REX.B; meaningful when !mem
    uint8_t opsize;        ///< effective operand size 2, 4, 8; byte forms are known by their handlers
    uint8_t addrsize;      ///< 2, 4, 8
    uint8_t length;        ///< 1 to 15
    uint8_t offset;        ///< from the first byte of the block
    uint8_t opcode;        ///< last opcode byte
    Map map;
    Mandatory mandatory;
    uint8_t modrm;         ///< the raw ModRM byte
    bool mem : 1;          ///< ModRM names memory
    /// 64-bit mode, 64-bit address, segment base 0: linear = gpr[base] + (gpr[index] << scale) + disp. With kRipReg disp is
    /// then relative to the block's start (gpr[17]); without flat it is the encoded one. Use Core::address and effective.
    bool flat : 1;
    bool rex : 1;          ///< any REX prefix (byte registers are SPL..DIL, not AH..BH)
    bool rex_w : 1;        ///< REX.W or VEX.W
    bool lock : 1;
    bool rep : 1;          ///< F3
    bool repne : 1;        ///< F2
    bool op66 : 1;         ///< 66 present
    uint8_t mode : 2;      ///< CodeMode below
    /// A VEX prefix: map, mandatory, rex_w and the extended registers are its fields; rex, lock, rep, repne, op66 are clear.
    bool vex : 1;
    bool vex_l : 1;        ///< VEX.L
    uint8_t vvvv : 4;      ///< the register that VEX.vvvv names (0 where it names none)
};
static_assert(sizeof(Insn) == 32);

/// The part of the CPU's mode that decoding depends on.
enum class CodeMode : uint8_t { Bits16, Bits32, Bits64 };

struct Selected {
    Handler run = nullptr;    ///< nullptr: not this module's instruction
    bool ends_block = false;  ///< control may not continue with i+1, or the mode or the mapping may have changed
};

/// Chosen once per decoded instruction, in this order; the first that answers wins; nobody: #UD.
/// system/: privileged and sensitive instructions, far transfers, I/O, MSRs, CPUID, RDTSC, HLT, INT, IRET, SYSCALL ...
Selected select_system(const Insn& i);
/// vex/: what has a VEX prefix, and nothing else; asked alone.
Selected select_vex(const Insn& i);
/// fpu/: x87 (D8 to DF, 9B), MMX, SSE to SSE4.2, FXSAVE, XSAVE, EMMS, LDMXCSR, MASKMOVQ, non-temporal moves, CRC32 is integer's.
Selected select_fpu(const Insn& i);
/// integer/: everything else.
Selected select_integer(const Insn& i);

}  // namespace yado::cpu_interp
