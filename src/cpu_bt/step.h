// What is translated: a straight line of instructions, from one block or from several that run one after the other.
#pragma once

#include <array>
#include <cstdint>

#include "cpu_interp/block.h"

namespace yado::cpu_bt {

/// Where the line goes on behind an instruction that ends its block.
enum class Path : uint8_t {
    End,       ///< nowhere: the line ends here
    Next,      ///< at the following instruction: not a branch, or one that is not taken
    Taken,     ///< at the target of a direct branch
};

struct Step {
    const cpu_interp::Insn* insn;
    cpu_interp::Block* block;
    uint16_t n;             ///< of the block's instructions
    Path path = Path::Next; ///< of a block's last instruction

    /// Offset in the page of the block's first byte.
    uint32_t block_at() const { return static_cast<uint32_t>(block->gpa & 0xfff); }
    bool last_of_block() const { return n + 1 == block->count; }
};

inline constexpr unsigned kMaxSteps = 128;

/// A line being put together. All blocks are of one page and one mode.
class Line {
  public:
    /// False: no room.
    bool append(cpu_interp::Block& block) {
        if (count_ + block.count > kMaxSteps) return false;
        for (uint16_t n = 0; n < block.count; ++n) steps_[count_++] = {&block.insn[n], &block, n};
        steps_[count_ - 1].path = Path::End;
        return true;
    }
    /// The steps of another line from `first` on.
    void set_rest(const Line& of, unsigned first) {
        count_ = 0;
        for (unsigned k = first; k < of.count_; ++k) steps_[count_++] = of.steps_[k];
    }
    Step& last() { return steps_[count_ - 1]; }
    unsigned size() const { return count_; }
    const Step& operator[](unsigned k) const { return steps_[k]; }
    void clear() { count_ = 0; }

  private:
    std::array<Step, kMaxSteps> steps_;
    unsigned count_ = 0;
};

}  // namespace yado::cpu_bt
