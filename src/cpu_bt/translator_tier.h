// The translator as a tier over one vCPU's interpreter: counts how often blocks run, translates the warm ones, enters and
// leaves translated code, links jumps. Thread: the vCPU's own.
#pragma once

#include <memory>

#include "cpu_bt/block_translator.h"
#include "cpu_bt/code_cache.h"
#include "cpu_interp/tier.h"

namespace yado::cpu_bt {

struct TierOptions {
    size_t cache_bytes = size_t{32} << 20;
    uint32_t warm = 16;                  ///< executions by the interpreter before a block is translated; at least 1
    FlagMode flags = FlagMode::Live;
    bool link = true;                    ///< direct jumps inside a page go from block to block
};

/// What happened, for `yado info` and --engine-stats.
struct TierStats {
    uint64_t translated = 0;      ///< blocks
    uint64_t refused = 0;         ///< blocks whose first instruction is the interpreter's and ends them
    uint64_t cache_resets = 0;    ///< times that the cache was full
    uint64_t exits = 0;           ///< ways out of translated code to C++
    uint64_t interpreted = 0;     ///< single instructions run by the interpreter in the middle of translated code
    uint64_t traces = 0;          ///< translations over several blocks
    uint64_t links = 0;
    uint64_t setbacks = 0;        ///< checks for a group of accesses that failed though the one access could be served
    uint64_t misses = 0;          ///< accesses that the TLB did not serve
};

class TranslatorTier final : public cpu_interp::Tier {
  public:
    /// Errors: Failed (no executable memory).
    static Result<std::unique_ptr<TranslatorTier>> create(Core& core, const TierOptions& options);

    void placed(Block& block) override;
    void reset() override;
    const void* untranslated() const override { return executable(runtime_.untranslated()); }

    const TierStats& stats() const { return stats_; }
    size_t bytes_used() const { return code_.here(); }

  private:
    TranslatorTier(Core& core, const TierOptions& options, CodeCache cache);

    static TranslatorTier& of(Core& c) { return static_cast<TranslatorTier&>(*c.tier); }
    static void run_cold(Core& c, const Insn* i);
    static void run_translated(Core& c, const Insn* i);
    static void go_on(Core& c);
    static void enter_remembered(Core& c);
    static void follow(Core& c, uint32_t reason);
    static uint64_t interpret(Core* core, Block* block, uint32_t n);
    static uint64_t begin_vectors(Core* core);
    static uint64_t fill(Core* core, uint64_t linear, uint64_t what);
    static uint64_t find(Core* core);
    bool group_served(uint64_t linear, const Miss& m);
    static void stop(Core& c, const Insn* i);

    void translate(Block& block);
    bool translate_line(Block& head, BlockTranslator::Grouping grouping);
    void translate_again(Block& head, BlockTranslator::Grouping grouping);
    void translate_ungrouped(Block& block);
    void note_sample(Block& block);
    void trace(Block& head);
    void link(const Block& to, uint32_t reason);
    const void* executable(size_t offset) const { return cache_.executable() + offset; }

    Core& core_;
    TierOptions options_;
    CodeCache cache_;
    Assembler code_;
    Runtime runtime_;
    BlockTranslator translator_;
    Line line_;
    Insn single_[2] = {};       ///< the instruction that interpret() runs, and stop
    bool completed_ = false;    ///< it ran to its end
    TierStats stats_;
};

}  // namespace yado::cpu_bt
