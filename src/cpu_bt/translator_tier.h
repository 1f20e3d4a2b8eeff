// The translator as a tier over one vCPU's interpreter: counts how often blocks run, translates the warm ones, enters and
// leaves translated code, links jumps. Thread: the vCPU's own.
#pragma once

#include <memory>
#include <optional>

#include "cpu_bt/block_translator.h"
#include "cpu_bt/careful_ways.h"
#include "cpu_bt/code_cache.h"
#include "cpu_bt/perf_listing.h"
#include "cpu_bt/tier_stats.h"
#include "cpu_interp/generations.h"
#include "cpu_interp/tier.h"

namespace yado::cpu_bt {

struct TierOptions {
    size_t cache_bytes = size_t{32} << 20;
    uint32_t warm = 16;                  ///< executions by the interpreter before a block is translated; at least 1
    uint32_t careful = 4;                ///< setbacks of a line before the rest of it is translated without groups; at least 1
    FlagMode flags = FlagMode::Live;
    bool link = true;                    ///< direct jumps inside a page go from block to block
    std::shared_ptr<const PerfListing> perf{};  ///< or nullptr
};

class TranslatorTier final : public cpu_interp::Tier {
  public:
    /// Errors: Failed (no executable memory).
    static Result<std::unique_ptr<TranslatorTier>> create(Core& core, const TierOptions& options);

    void placed(Block& block) override;
    void reset() override;
    void make_room(cpu_interp::BlockCache& blocks) override;
    const void* untranslated() const override { return executable(runtime_.untranslated()); }

    void count(cpu::Stats& out) const override;

    // Callbacks that suit any tier.
    static uint64_t begin_vectors(Core* core);
    static uint64_t begin_x87(Core* core);
    static uint64_t find(Core* core);
    /// The access itself is served; is the whole group?
    static bool group_served(const Core& core, uint64_t linear, const Miss& m) { return core.tlb_entry(m.group_access(), linear).hit(linear, m.span); }

  private:
    TranslatorTier(Core& core, const TierOptions& options, CodeCache cache);

    static TranslatorTier& of(Core& c) { return static_cast<TranslatorTier&>(*c.tier); }
    static void run_cold(Core& c, const Insn* i);
    static void run_translated(Core& c, const Insn* i);
    void count_way(const Core& c);
    static void go_on(Core& c);
    static void enter_remembered(Core& c);
    static void follow(Core& c, uint32_t reason);
    static Block* block_in_page(Core& c, const Block& from);
    static uint64_t interpret(Core* core, Block* block, uint32_t n);
    static uint64_t fill(Core* core, uint64_t linear, uint64_t what);
    bool group_spans_neighbours(uint64_t linear, const Miss& m);
    static void stop(Core& c, const Insn* i);

    void translate(Block& block);
    bool has_room();
    std::optional<BlockTranslator::Entries> emit_line(const Block& block, BlockTranslator::Grouping grouping);
    void set_back(Block& head, Block& block, uint32_t insn);
    const void* translate_rest(Block& head, Block& block, uint32_t insn);
    bool translate_line(Block& head, BlockTranslator::Grouping grouping);
    void translate_again(Block& head, BlockTranslator::Grouping grouping);
    void list(const Block& block, size_t from) const;
    void translate_ungrouped(Block& block);
    void note_sample(Block& block);
    void trace(Block& head);
    void link(const Block& to, uint32_t reason);
    void count_code() { stats_.code_bytes.set(runtime_.end() + generations_.used()); }
    const void* executable(size_t offset) const { return cache_.executable() + offset; }

    Core& core_;
    TierOptions options_;
    CodeCache cache_;
    Assembler code_;
    Runtime runtime_;
    BlockTranslator translator_;
    cpu_interp::Generations generations_;
    Line line_;
    CarefulWays careful_;
    Insn single_[2] = {};       ///< the instruction that interpret() runs, and stop
    bool completed_ = false;    ///< it ran to its end
    TierStats stats_;
};

}  // namespace yado::cpu_bt
