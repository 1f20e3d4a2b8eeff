// The translator as its own check (`yado run --check=lockstep`): every block is run twice from the same state, first by
// translated code, then, everything undone, by the interpreter, whose results count. What they do not agree on is reported.
//
//   block entered -> translated code up to its first interpreted instruction, miss or end (stores logged) -> results kept,
//   stores undone, registers put back -> the interpreter over the same instructions (stores logged) -> compare
//       equal:      on with the interpreter behind them
//       different:  stores undone, registers put back, again; what differs kMostAttempts times is a difference. The guest's
//                   devices write into its memory at any time, so that once means nothing.
//
// Blocks are neither linked nor chained: Block::native stays empty, so that translated jumps find nothing but the way out,
// and Block::native_flags holds the code. One vCPU only: another's stores between the two passes would look like differences.
// Thread: the vCPU's own; count() any.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <vector>

#include "base/counter.h"
#include "cpu_bt/block_translator.h"
#include "cpu_bt/code_cache.h"
#include "cpu_bt/engine.h"
#include "cpu_bt/lockstep_state.h"
#include "cpu_interp/block_cache.h"
#include "cpu_interp/tier.h"

namespace yado::cpu_bt {

class LockstepTier final : public cpu_interp::Tier, private cpu_interp::StoreObserver {
  public:
    /// Called with a report of many lines; the guest's state is then the interpreter's.
    using OnDifference = std::function<void(Core&, const std::string& report)>;

    /// Errors: Failed (no executable memory).
    static Result<std::unique_ptr<LockstepTier>> create(Core& core, Check check, OnDifference on_difference);
    ~LockstepTier() override;

    void placed(Block& block) override;
    void reset() override;
    void make_room(cpu_interp::BlockCache& blocks) override { blocks.drop_all(); }
    const void* untranslated() const override { return executable(runtime_.untranslated()); }
    void count(cpu::Stats& out) const override;

  private:
    static constexpr unsigned kMostAttempts = 3;

    LockstepTier(Core& core, Check check, OnDifference on_difference, CodeCache cache);
    static LockstepTier& of(Core& c) { return static_cast<LockstepTier&>(*c.tier); }

    static void run(Core& c, const Insn* i);
    static void stop(Core& c, const Insn* i);
    static uint64_t interpret(Core* core, Block* block, uint32_t n);
    static uint64_t fill(Core* core, uint64_t linear, uint64_t what);
    void storing(uint64_t linear, void* host, unsigned size) override;

    bool is_left_out(Block& block);
    bool translate(Block& block);
    unsigned compare(Block& block);
    /// How far translated code came: instructions, and whether it has set RIP behind the last.
    struct Reached {
        unsigned insns = 0;
        bool gone_on = false;
        bool nothing() const { return insns == 0 && !gone_on; }
    };
    Reached run_translated(Block& block);
    Reached where_left(const Block& block) const;
    void drop_write_tags();
    std::exception_ptr run_interpreted(Block& block, const Reached& reached);
    Reached attempt(Block& block, std::exception_ptr& raised);
    const void* executable(size_t offset) const { return cache_.executable() + offset; }

    Core& core_;
    Check check_;
    OnDifference on_difference_;
    CodeCache cache_;
    Assembler code_;
    Runtime runtime_;
    BlockTranslator translator_;
    Line line_;

    Difference found_;                           ///< by the last attempt
    StoreLog translated_stores_, interpreted_stores_;
    StoredBytes stored_;
    std::vector<cpu_interp::TlbEntry*> filled_;  ///< in this pass of translated code
    bool recording_ = false;                     ///< the interpreter's stores
    bool stopped_ = false;                       ///< it came to the end of what it was to run

    uint32_t turn_ = 0;                          ///< of the runs that are left out but for some
    Counter blocks_, instructions_, repeated_, differences_;
};

}  // namespace yado::cpu_bt
