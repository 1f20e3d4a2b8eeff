// Where lines go on in which a group of accesses turned out to cross into a page elsewhere: the rest of the line translated once
// more, with every access checking by itself. By the block and instruction that the group's check belongs to.
// Thread: the vCPU's own. A block's ways have to be forgotten when its memory becomes another block's.
#pragma once

#include <x86intrin.h>

#include <unordered_map>
#include <utility>
#include <vector>

#include "cpu_interp/block.h"

namespace yado::cpu_bt {

class CarefulWays {
  public:
    /// nullptr: none.
    const void* find(const cpu_interp::Block& block, uint32_t insn) const {
        const auto at = blocks_.find(&block);
        if (at == blocks_.end()) return nullptr;
        for (const Way& way : at->second.ways)
            if (way.insn == insn) return way.native;
        return nullptr;
    }
    void add(const cpu_interp::Block& block, uint32_t insn, const void* native) { blocks_[&block].ways.push_back({insn, native}); }
    void forget(const cpu_interp::Block& block) {
        if (!blocks_.empty()) blocks_.erase(&block);
    }
    void clear() { blocks_.clear(); }

    /// Counts a setback of the line that begins with `head`. True: they come so fast that sharing checks does not pay there.
    bool too_fast(cpu_interp::Block& head) {
        if (++head.setbacks % kRound != 0) return false;
        const uint64_t now = __rdtsc(), since = std::exchange(blocks_[&head].since, now);
        return since != 0 && now - since < kRound * kDear;
    }

  private:
    static constexpr uint32_t kRound = 64;   ///< setbacks that are judged together
    static constexpr uint64_t kDear = 500;  ///< cycles of the TSC between two; one costs some 350
    struct Way {
        uint32_t insn;
        const void* native;
    };
    struct Ways {
        std::vector<Way> ways;
        uint64_t since = 0;  ///< when the last round ended
    };
    std::unordered_map<const cpu_interp::Block*, Ways> blocks_;
};

}  // namespace yado::cpu_bt
