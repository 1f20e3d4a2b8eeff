#include "cpu_bt/translator_tier.h"

#include <algorithm>
#include <utility>

#include "cpu_bt/line_finder.h"
#include "cpu_bt/test_tier.h"
#include "cpu_interp/block_cache.h"
#include "cpu_interp/chain.h"
#include "cpu_interp/fpu/fpu.h"
#include "cpu_interp/run.h"
#include "cpu_interp/system/system_state.h"
#include "cpu_interp/time_split.h"

namespace yado::cpu_bt {

using cpu_interp::Doing;
using cpu_interp::Spending;

namespace {

/// More than any line can need: kMaxSteps instructions with their cold parts.
constexpr size_t kRoomForLine = 96 << 10;
constexpr unsigned kHotSamples = 2;

}  // namespace

Result<std::unique_ptr<TranslatorTier>> TranslatorTier::create(Core& core, const TierOptions& options) {
    CodeCache cache = YADO_TRY(CodeCache::create(options.cache_bytes));
    return std::unique_ptr<TranslatorTier>(new TranslatorTier(core, options, std::move(cache)));
}

TranslatorTier::TranslatorTier(Core& core, const TierOptions& options, CodeCache cache)
    : core_(core),
      options_(options),
      cache_(std::move(cache)),
      code_(cache_.writable(), cache_.size()),
      runtime_(code_, {interpret, begin_vectors, begin_x87, fill, find}, core.wiring.model.has(cpu::Feature::AVX)),
      translator_(code_, runtime_, core.wiring.model, options.flags),
      generations_(runtime_.end(), cache_.size()) {
    single_[1].run = stop;
    if (options_.perf) options_.perf->shared_part({cache_.executable(), runtime_.end()});
}

void TranslatorTier::placed(Block& block) {
    block.native = block.native_flags = nullptr;
    block.ungrouped = false;
    block.setbacks = block.samples = 0;
    block.traced = false;
    block.heat = options_.warm;
    careful_.forget(block);
    if (translatable(block)) block.insn[0].run = run_cold;
}

void TranslatorTier::reset() {
    if (generations_.used() == 0) return;
    if (options_.perf) options_.perf->dropped({cache_.executable() + runtime_.end(), cache_.size() - runtime_.end()});
    code_.setSize(runtime_.end());
    generations_.reset();
    careful_.clear();
    cache_.discard(runtime_.end());
    count_code();
}

void TranslatorTier::make_room(cpu_interp::BlockCache& blocks) {
    ++stats_.evictions;
    generations_.advance();
    blocks.drop_code(generations_.youngest());
    code_.setSize(generations_.begin());
    count_code();
    if (options_.perf) options_.perf->dropped({cache_.executable() + generations_.begin(), generations_.end() - generations_.begin()});
}

void TranslatorTier::count(cpu::Stats& out) const {
    stats_.append_to(out);
    out.push_back({"code_cache", cpu::StatKind::Values, "bytes", {{"used", stats_.code_bytes.get()}, {"size", cache_.size()}}});
}

void TranslatorTier::translate(Block& block) {
    line_.clear();
    line_.append(block);
    translate_line(block, block.ungrouped ? BlockTranslator::Grouping::Off : BlockTranslator::Grouping::On);
}

/// False: there soon is.
bool TranslatorTier::has_room() {
    if (generations_.has_room(code_.here(), kRoomForLine)) return true;
    core_.request(Core::kReqMakeRoom);  // at the next block boundary
    return false;
}

/// Emits line_, which lies in the page of `block`. nullopt: there was no room, or nothing to translate.
std::optional<BlockTranslator::Entries> TranslatorTier::emit_line(const Block& block, BlockTranslator::Grouping grouping) {
    const Spending spending(core_.time, Doing::Translation);
    if (!has_room()) return std::nullopt;
    const size_t from = code_.here();
    const auto entries = translator_.translate(line_, grouping);
    if (!entries) return std::nullopt;
    generations_.filled_to(code_.here());
    core_.blocks->note_code(block, generations_.youngest());
    count_code();
    list(block, from);
    return entries;
}

/// Translates line_, which begins with `head`. False: there was no room, or nothing to translate.
bool TranslatorTier::translate_line(Block& head, BlockTranslator::Grouping grouping) {
    if (!has_room()) {
        head.heat = 1;  // again when there is room
        return false;
    }
    const auto entries = emit_line(head, grouping);
    if (!entries) {
        ++stats_.refused;
        head.insn[0].run = head.first;
        return false;
    }
    ++stats_.translated;
    head.native = executable(entries->memory);
    head.native_flags = executable(entries->flags);
    head.insn[0].run = run_translated;
    return true;
}

/// The old code leads to the new.
void TranslatorTier::translate_again(Block& head, BlockTranslator::Grouping grouping) {
    const auto offset = [&](const void* native) { return static_cast<size_t>(static_cast<const uint8_t*>(native) - cache_.executable()); };
    const size_t old[2] = {offset(head.native), offset(head.native_flags)};
    if (!translate_line(head, grouping)) return;
    code_.replace_by_jump(old[0], offset(head.native));
    if (old[1] != old[0]) code_.replace_by_jump(old[1], offset(head.native_flags));
}

/// A group's check has failed, in front of that instruction of the line, though the one access is served. The line may be running: code
/// that is made here is for later, but for its way on.
void TranslatorTier::set_back(Block& head, Block& block, uint32_t insn) {
    ++stats_.setbacks;
    if (careful_.too_fast(head) && !head.ungrouped) translate_ungrouped(head);
    if (head.setbacks < options_.careful) return;
    core_.native.careful = careful_.find(block, insn);
    if (!core_.native.careful) core_.native.careful = translate_rest(head, block, insn);
}

/// The line of `head` from there on, ungrouped. nullptr: no room.
const void* TranslatorTier::translate_rest(Block& head, Block& block, uint32_t insn) {
    Line whole;
    if (!head.traced || !find_line(*core_.blocks, head, core_.wiring.model, whole)) {
        whole.clear();
        whole.append(head);
    }
    unsigned at = 0;
    while (at < whole.size() && (whole[at].block != &block || whole[at].n != insn)) ++at;
    if (at == whole.size()) {  // the line was another one when it was translated
        whole.clear();
        whole.append(block);
        at = insn;
    }
    line_.set_rest(whole, at);
    const auto entries = emit_line(block, BlockTranslator::Grouping::Off);
    if (!entries) return nullptr;
    ++stats_.careful;
    careful_.add(block, insn, executable(entries->memory));
    return executable(entries->memory);
}

/// A line whose groups keep crossing pages.
void TranslatorTier::translate_ungrouped(Block& block) {
    block.ungrouped = true;
    line_.clear();
    line_.append(block);
    translate_again(block, BlockTranslator::Grouping::Off);
}

/// Requests, timer interrupts above all, come at random: what they find running twice is hot.
void TranslatorTier::note_sample(Block& block) {
    if (!options_.link || block.traced || block.ungrouped || ++block.samples < kHotSamples) return;
    block.traced = true;
    trace(block);
}

void TranslatorTier::trace(Block& head) {
    if (!find_line(*core_.blocks, head, core_.wiring.model, line_)) return;
    ++stats_.traces;
    translate_again(head, BlockTranslator::Grouping::On);
}

/// For `perf`: the code from that offset on is the running block's.
void TranslatorTier::list(const Block& block, size_t from) const {
    if (!options_.perf) return;
    const bool user = block.mode >> cpu_interp::kModeMmuShift == static_cast<unsigned>(cpu_interp::Mmu::User);
    const uint64_t rip = page_down(core_.block_rip) | (block.gpa & kPageMask);
    options_.perf->translated({rip, user, core_.system->lstar}, {cache_.executable() + from, code_.here() - from});
}

void TranslatorTier::link(const Block& to, uint32_t reason) {
    if (!options_.link) return;
    const void* target = reason == exit_reason::kFollowFlags ? to.native_flags : to.native;
    code_.aim(core_.native.exit_link, static_cast<size_t>(static_cast<const uint8_t*>(target) - cache_.executable()));
    ++stats_.links;
}

// --- handlers: what a block's first instruction runs --------------------------------------------------------------------------

void TranslatorTier::run_cold(Core& c, const Insn* i) {
    Block& b = *c.block;
    if (--b.heat == 0) of(c).translate(b);
    if (b.native) return run_translated(c, i);
    return b.first(c, i);
}

void TranslatorTier::run_translated(Core& c, const Insn*) {
    TranslatorTier& t = of(c);
    c.native.rip_page = page_down(c.block_rip);
    using Enter = void (*)(Core*, const void*);
    {
        const Spending spending(c.time, Doing::Translated);
        reinterpret_cast<Enter>(reinterpret_cast<uintptr_t>(t.executable(t.runtime_.enter())))(&c, c.block->native);
    }
    t.count_way(c);
    return go_on(c);
}

void TranslatorTier::count_way(const Core& c) {
    const uint32_t reason = c.native.exit_insn;
    if (reason == exit_reason::kResume) return;  // interpret() has counted
    if (reason == exit_reason::kUntranslated) return stats_.left_by(Way::Untranslated);
    if (reason > exit_reason::kResume) return stats_.left_by(Way::Follow);
    if (c.faulted) return stats_.left_by(Way::Fault);
    if (reason == 0 && c.requests.load(std::memory_order_relaxed) != 0) return stats_.left_by(Way::Request);
    stats_.left_by(Way::Instruction);
    if (const Block& b = *c.native.exit_block; reason < b.count) stats_.left_at.add(b.insn[reason]);
}

/// Translated code was left: on with another block, or with the interpreter in the middle of this one.
void TranslatorTier::go_on(Core& c) {
    const uint32_t reason = c.native.exit_insn;
    if (reason == exit_reason::kResume) return;
    if (reason < exit_reason::kResume) {
        Block& b = *c.native.exit_block;
        c.block = &b;
        c.block_rip = c.native.rip_page + (b.gpa & 0xfff);
        if (reason == 0 && c.requests.load(std::memory_order_relaxed)) of(c).note_sample(b);
        const Insn* i = b.insn + reason;
        if (c.faulted) {  // a page fault found by fill()
            c.rip = c.rip_of(i);
            return;
        }
        c.icount += b.count - std::min<uint32_t>(reason, b.count);  // as enter() does
        return (reason == 0 ? b.first : i->run)(c, i);
    }
    if (reason == exit_reason::kUntranslated) return enter_remembered(c);
    return follow(c, reason);
}

/// The jump cache named a block that had no translation when it was entered there.
void TranslatorTier::enter_remembered(Core& c) {
    Block* b = cpu_interp::chained(c, c.rip);
    if (!b) return;
    if (b->native) c.jumps[cpu_interp::jump_slot(c.rip)].native = b->native;
    return cpu_interp::enter(c, b, c.rip);
}

/// The block at RIP, to which a direct jump of `from` leads: remembered in its slots, as the interpreter does.
Block* TranslatorTier::block_in_page(Core& c, const Block& from) {
    const bool falls_through = ((from.gpa + from.bytes) ^ c.rip) % kPageSize == 0;
    const Insn* slot = from.end() + (falls_through ? 0 : 1);
    if (Block* b = slot->flat ? cpu_interp::link_of(slot) : nullptr) return b;
    Block* b = c.blocks->known(page_down(from.gpa) | (c.rip & kPageMask), from.mode);
    if (b && slot->flat) cpu_interp::set_link(slot, b);
    return b;
}

/// A direct jump inside the page of exit_block.
void TranslatorTier::follow(Core& c, uint32_t reason) {
    Block* b = block_in_page(c, *c.native.exit_block);
    if (!b || !cpu_interp::kChain || c.requests.load(std::memory_order_relaxed)) return;
    if (b->native) of(c).link(*b, reason);
    return cpu_interp::enter(c, b, c.rip);
}

// --- what translated code calls ---------------------------------------------------------------------------------------------------

void TranslatorTier::stop(Core& c, const Insn*) { of(c).completed_ = true; }

uint64_t TranslatorTier::interpret(Core* core, Block* block, uint32_t n) {
    Core& c = *core;
    TranslatorTier& t = of(c);
    const Spending spending(c.time, Doing::Interpreter);
    c.block = block;
    c.block_rip = c.native.rip_page + (block->gpa & 0xfff);
    t.single_[0] = block->insn[n];
    if (n == 0) t.single_[0].run = block->first;
    t.stats_.interpreted.add(t.single_[0]);
    t.completed_ = false;
    c.native.exit_insn = exit_reason::kResume;
    try {
        t.single_[0].run(c, t.single_);
    } catch (const cpu_interp::GuestFault& fault) {
        c.caught = fault;
        c.faulted = true;
        t.stats_.left_by(Way::Fault);
        return 1;
    }
    if (!t.completed_) {  // it has set rip
        t.stats_.left_by(Way::Elsewhere);
        return 1;
    }
    if (c.requests.load(std::memory_order_relaxed) == 0) [[likely]] return 0;
    t.stats_.left_by(Way::Request);
    c.rip = c.next_rip(t.single_);
    return 1;
}

uint64_t TranslatorTier::begin_vectors(Core* core) {
    Core& c = *core;
    if (c.cr0 & (cpu::cr0::EM | cpu::cr0::TS) || !(c.cr4 & cpu::cr4::OSFXSR)) return 0;
    constexpr uint64_t kVectorState = cpu::kXcr0Sse | cpu::kXcr0Avx;
    const bool avx = c.cr4 & cpu::cr4::OSXSAVE && (c.xcr0 & kVectorState) == kVectorState;
    if (c.wiring.model.has(cpu::Feature::AVX) && !avx) return 0;  // VEX instructions would have to be #UD
    return cpu_interp::fpu_host_mxcsr(*c.fpu);
}

uint64_t TranslatorTier::begin_x87(Core* core) {
    if (core->cr0 & (cpu::cr0::EM | cpu::cr0::TS)) return 0;
    return cpu_interp::fpu_host_x87(*core->fpu);
}

uint64_t TranslatorTier::fill(Core* core, uint64_t linear, uint64_t what) {
    using cpu_interp::TlbFill;
    TranslatorTier& t = of(*core);
    const Miss m = Miss::unpack(what);
    core->native.careful = nullptr;
    const uint64_t address = linear + m.at;
    core->native.exit_insn = m.insn;
    if (m.aligned && address & (m.size - 1)) return static_cast<uint64_t>(TlbFill::Refused);
    const Spending spending(core->time, Doing::TlbMiss);
    const TlbFill answer = core->tlb_fill(address, m.size, m.access());
    t.stats_.missed(answer);
    const bool served = m.span == 0 || group_served(*core, linear, m) || t.group_spans_neighbours(linear, m);
    if (answer != TlbFill::Filled || served) return static_cast<uint64_t>(answer);
    t.set_back(*core->native.exit_head, *core->native.exit_block, m.insn);
    return static_cast<uint64_t>(TlbFill::Refused);
}

uint64_t TranslatorTier::find(Core* core) { return cpu_interp::find_jump(*core, core->native.missed); }

/// Runtime::spanned() will serve it.
bool TranslatorTier::group_spans_neighbours(uint64_t linear, const Miss& m) {
    const cpu_interp::Acc acc = m.group_access();
    const uint64_t next = page_down(linear) + kPageSize;
    if (linear + m.span <= next || linear + m.span > next + kPageSize) return false;
    const cpu_interp::TlbEntry &first = core_.tlb_entry(acc, linear), &second = core_.tlb_entry(acc, next);
    return first.hit(linear, 1) && second.hit(next, 1) && second.host == first.host + kPageSize;
}

Result<std::unique_ptr<cpu_interp::Tier>> make_test_tier(Core& core, FlagMode flags, Linking linking) {
    return YADO_TRY(TranslatorTier::create(core, {.warm = 1, .careful = 1, .flags = flags, .link = linking == Linking::On}));
}

}  // namespace yado::cpu_bt
