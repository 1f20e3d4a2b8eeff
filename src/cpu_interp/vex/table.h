// The table of VEX instructions: which handler runs an encoding, and which encodings there are (SDM vol. 2, 2.4 and the
// opcode tables of each instruction). What it does not hold is #UD.
#pragma once

#include <vector>

#include "cpu_interp/insn.h"

namespace yado::cpu_interp::vex {

/// VEX.W and VEX.L of a form; Any: ignored (WIG, LIG). Bits32 and Bits64: W is the size of a general-purpose register, and
/// ignored outside 64-bit mode.
enum class W : uint8_t { Any, W0, W1, Bits32, Bits64 };
enum class L : uint8_t { Any, L0, L1 };
/// None: VEX.vvvv must be 1111b.
enum class V : uint8_t { None, Used };
/// What ModRM names.
enum class Rm : uint8_t { Register, Memory, Both };

struct Opcode {
    Map map;
    Mandatory prefix;
    uint8_t opcode;
};
struct Rule {
    W w = W::Any;
    L l = L::Any;
    V v = V::Used;
    Rm rm = Rm::Both;
    int8_t group = -1;  ///< ModRM.reg, where the opcode is a group
};

class Table {
  public:
    void add(Opcode o, Rule rule, Handler run) { rows_.push_back({key(o), rule, run}); }
    /// To be called after the last add().
    void sort();
    /// nullptr: no such form.
    Handler find(const Insn& i) const;

  private:
    struct Row {
        uint16_t key;
        Rule rule;
        Handler run;
    };
    static uint16_t key(Opcode o) {
        return static_cast<uint16_t>(static_cast<unsigned>(o.map) << 10 | static_cast<unsigned>(o.prefix) << 8 | o.opcode);
    }
    std::vector<Row> rows_;
};

void add_state(Table& t);
void add_move(Table& t);
void add_integer(Table& t);
void add_fp(Table& t);
void add_imm(Table& t);
void add_masked(Table& t);
void add_strings(Table& t);  // fpu/sse_imm.cpp
void add_bmi(Table& t);      // integer/bmi.cpp

}  // namespace yado::cpu_interp::vex
