#include "cpu_bt/lockstep_tier.h"

#include <algorithm>

#include "base/check.h"
#include "base/failpoint.h"
#include "cpu_bt/lockstep_report.h"
#include "cpu_bt/translator_tier.h"

namespace yado::cpu_bt {

using cpu_interp::TlbEntry;
using cpu_interp::TlbFill;

namespace {

constexpr size_t kCacheBytes = size_t{64} << 20;
/// More than any block can need.
constexpr size_t kRoomForBlock = 96 << 10;
/// A block whose groups fail as often is translated again without.
constexpr uint32_t kMaxSetbacks = 16;
constexpr uint16_t kFirstRuns = 100;
constexpr uint32_t kEach = 61;

/// Lets the interpreter stop in front of an instruction.
class Barrier {
  public:
    Barrier(Insn& insn, cpu_interp::Handler stop) : insn_(insn), run_(insn.run) { insn_.run = stop; }
    ~Barrier() { insn_.run = run_; }
    Barrier(const Barrier&) = delete;

  private:
    Insn& insn_;
    cpu_interp::Handler run_;
};

std::string name_of(const std::exception_ptr& raised) {
    try {
        std::rethrow_exception(raised);
    } catch (const cpu_interp::GuestFault& fault) {
        return fmt::format("vector {} error {:#x}", static_cast<unsigned>(fault.vector), fault.error);
    } catch (const cpu_interp::RetryAlone&) {
        return "a store into the block itself";
    }
}

}  // namespace

Result<std::unique_ptr<LockstepTier>> LockstepTier::create(Core& core, Check check, OnDifference on_difference) {
    CodeCache cache = YADO_TRY(CodeCache::create(kCacheBytes));
    return std::unique_ptr<LockstepTier>(new LockstepTier(core, check, std::move(on_difference), std::move(cache)));
}

LockstepTier::LockstepTier(Core& core, Check check, OnDifference on_difference, CodeCache cache)
    : core_(core),
      check_(check),
      on_difference_(std::move(on_difference)),
      cache_(std::move(cache)),
      code_(cache_.writable(), cache_.size()),
      runtime_(code_, {interpret, TranslatorTier::begin_vectors, TranslatorTier::begin_x87, fill, TranslatorTier::find}, core.wiring.model.has(cpu::Feature::AVX)),
      translator_(code_, runtime_, core.wiring.model, FlagMode::Strict, Purpose::Compare) {
    core_.observer = this;
}

LockstepTier::~LockstepTier() { core_.observer = nullptr; }

void LockstepTier::placed(Block& block) {
    block.native = block.native_flags = nullptr;
    block.ungrouped = block.traced = false;
    block.setbacks = block.samples = 0;
    for (Insn* slot = block.insn + block.count; slot != block.insn + block.count + cpu_interp::kBlockSlots; ++slot) slot->flat = false;  // never linked
    if (translatable(block)) block.insn[0].run = run;
}

void LockstepTier::reset() { code_.setSize(runtime_.end()); }

void LockstepTier::count(cpu::Stats& out) const {
    out.push_back({"lockstep", cpu::StatKind::Values, "", {{"blocks_compared", blocks_.get()}, {"instructions_compared", instructions_.get()},
                                                          {"repeated", repeated_.get()}, {"differences", differences_.get()}}});
}

// --- the block ----------------------------------------------------------------------------------------------------------------

void LockstepTier::run(Core& c, const Insn*) {
    Block& b = *c.block;
    if (of(c).is_left_out(b)) return b.first(c, &b.insn[0]);
    const unsigned done = of(c).compare(b);
    if (done > b.count) return;
    Insn* i = b.insn + done;
    return (done == 0 ? b.first : i->run)(c, i);
}

/// Of all blocks together every kEach-th run, once a block has had its first ones: a prime number, so that no loop keeps step with it.
bool LockstepTier::is_left_out(Block& block) {
    if (check_ != Check::Sampled) return false;
    if (block.samples < kFirstRuns) return ++block.samples, false;
    return ++turn_ % kEach != 0;
}

/// Runs as much as translated code can, both ways. How many instructions that were; more than the block has if control has
/// left it. Throws what the interpreter raises.
unsigned LockstepTier::compare(Block& block) {
    if (!block.native_flags && !translate(block)) return 0;
    std::exception_ptr raised;
    Reached reached = attempt(block, raised);
    for (unsigned again = 1; again < kMostAttempts && !reached.nothing() && found_.any(); ++again) {
        ++repeated_;
        interpreted_stores_.undo();
        found_.before.put(core_);
        reached = attempt(block, raised);
    }
    if (reached.nothing()) return 0;
    ++blocks_;
    instructions_.add(reached.insns);
    if (found_.any()) {
        ++differences_;
        on_difference_(core_, report_of(core_, block, reached.insns, found_));
    }
    if (raised) std::rethrow_exception(raised);
    return reached.gone_on ? block.count + 1 : reached.insns;
}

/// False: the block is the interpreter's for good, or there is no room.
bool LockstepTier::translate(Block& block) {
    if (code_.here() + kRoomForBlock > cache_.size()) {
        core_.request(Core::kReqMakeRoom);
        return false;
    }
    line_.clear();
    line_.append(block);
    const auto entries = translator_.translate(line_, block.ungrouped ? BlockTranslator::Grouping::Off : BlockTranslator::Grouping::On);
    if (entries) block.native_flags = executable(entries->memory);
    else block.insn[0].run = block.first;
    return entries.has_value();
}

/// Both passes. The interpreter's is left out where translated code did nothing.
LockstepTier::Reached LockstepTier::attempt(Block& block, std::exception_ptr& raised) {
    found_.before.take(core_);
    const Reached reached = run_translated(block);
    found_.translator.take(core_);
    if (YADO_FAILPOINT("cpu_bt.disturb")) ++found_.translator.gpr[cpu::RAX];
    stored_.keep(translated_stores_);
    translated_stores_.undo();
    found_.before.put(core_);
    drop_write_tags();
    if (reached.nothing()) return reached;

    raised = run_interpreted(block, reached);
    found_.interpreter.take(core_);
    found_.rip = reached.gone_on;
    stored_.compare(translated_stores_, interpreted_stores_, found_.memory);
    found_.interpreter_raised = raised ? name_of(raised) : !reached.gone_on && !stopped_ ? "an early end of the block" : "";
    return reached;
}

// --- translated code ----------------------------------------------------------------------------------------------------------

LockstepTier::Reached LockstepTier::run_translated(Block& block) {
    Core& c = core_;
    c.native.rip_page = page_down(c.block_rip);
    c.native.store_log = translated_stores_.begin_outside();
    write_tags = true;
    using Enter = void (*)(Core*, const void*);
    reinterpret_cast<Enter>(reinterpret_cast<uintptr_t>(executable(runtime_.enter())))(&c, block.native_flags);
    write_tags = false;
    translated_stores_.end_outside(static_cast<const StoreRecord*>(c.native.store_log));
    c.block = &block;
    c.faulted = false;  // found by fill(): the interpreter will find it, too
    return where_left(block);
}

LockstepTier::Reached LockstepTier::where_left(const Block& block) const {
    const uint32_t reason = core_.native.exit_insn;
    YADO_CHECK(reason != exit_reason::kResume);
    if (reason > exit_reason::kResume) return {block.count, true};
    return {std::min<unsigned>(reason, block.count), false};
}

/// So that the interpreter's stores are seen. Tells the log which linear addresses it has.
void LockstepTier::drop_write_tags() {
    for (TlbEntry* e : filled_) {
        for (StoreRecord& r : translated_stores_.records())
            if (const auto host = reinterpret_cast<uint64_t>(r.host); page_down(host) == e->host) r.linear = page_down(e->tag) | (host & kPageMask);
        const auto index = static_cast<uint64_t>(e - &core_.tlb.entry[0][0]) % cpu_interp::kTlbSize;
        e->tag = TlbEntry::no_tag(index);
    }
    filled_.clear();
}

uint64_t LockstepTier::interpret(Core*, Block*, uint32_t) {
    YADO_CHECK(!"compared code interprets nothing");
    return 1;
}

uint64_t LockstepTier::fill(Core* core, uint64_t linear, uint64_t what) {
    LockstepTier& t = of(*core);
    const Miss m = Miss::unpack(what);
    const uint64_t address = linear + m.at;
    core->native.exit_insn = m.insn;
    if (m.aligned && address & (m.size - 1)) return static_cast<uint64_t>(TlbFill::Refused);
    const TlbFill answer = core->tlb_fill(address, m.size, m.access());
    t.filled_.push_back(&core->tlb.slot(core->mmu, cpu_interp::Acc::Write, address));
    if (answer != TlbFill::Filled || m.span == 0) return static_cast<uint64_t>(answer);
    if (TranslatorTier::group_served(*core, linear, m)) return static_cast<uint64_t>(answer);
    if (Block& b = *core->native.exit_block; ++b.setbacks > kMaxSetbacks && !b.ungrouped) {
        b.ungrouped = true;
        b.native_flags = nullptr;
    }
    return static_cast<uint64_t>(TlbFill::Refused);
}

// --- the interpreter ----------------------------------------------------------------------------------------------------------

void LockstepTier::stop(Core& c, const Insn*) { of(c).stopped_ = true; }

void LockstepTier::storing(uint64_t linear, void* host, unsigned size) {
    if (recording_) interpreted_stores_.add(linear, static_cast<uint8_t*>(host), size);
}

std::exception_ptr LockstepTier::run_interpreted(Block& block, const Reached& reached) {
    interpreted_stores_.clear();
    core_.context = 0;  // nothing chains to what follows
    stopped_ = false;
    recording_ = true;
    std::exception_ptr raised;
    try {
        if (reached.gone_on) {
            block.first(core_, block.insn);
        } else {
            const Barrier barrier(block.insn[reached.insns], stop);
            block.first(core_, block.insn);
        }
    } catch (...) {
        raised = std::current_exception();
    }
    recording_ = false;
    return raised;
}

}  // namespace yado::cpu_bt
