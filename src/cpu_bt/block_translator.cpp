#include "cpu_bt/block_translator.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "cpu_interp/interp.h"

namespace yado::cpu_bt {

using Place = FlagTracker::Place;

namespace {

bool host_has_rorx() { return (cpu_interp::supported_features() & cpu::feature_set({cpu::Feature::BMI2})) != 0; }

}  // namespace

bool translatable(const Block& b) {
    return b.mode >> cpu_interp::kModeMmuShift <= 2 && (b.mode & 7) == static_cast<uint8_t>(cpu_interp::CodeMode::Bits64);
}

BlockTranslator::BlockTranslator(Assembler& code, const Runtime& runtime, const cpu::CpuModel& model, FlagMode flags, Purpose purpose)
    : code_(code), runtime_(runtime), model_(model), flag_mode_(flags), purpose_(purpose), short_rotate_(host_has_rorx()), flags_(code) {}

std::optional<BlockTranslator::Entries> BlockTranslator::translate(const Line& line, Grouping grouping) {
    line_ = &line;
    mmu_ = line[0].block->mode >> cpu_interp::kModeMmuShift;
    n_ = 0;
    done_ = vectors_ = x87_ = executed_ = false;
    pointer_ = -1;
    cold_.clear();
    calls_.clear();
    find_forms();
    if (line.size() == 1 && !forms_[0].translate) return std::nullopt;
    find_live_flags();
    if (grouping == Grouping::On) groups_.find(line, forms_);
    else groups_.clear();
    const Entries entries = enter();
    if (line[0].block->crossing) check_second_page(*line[0].block);
    for (n_ = 0; n_ < line.size() && !done_; ++n_) instruction(n_);
    cold_parts();
    return entries;
}

void BlockTranslator::find_forms() {
    for (unsigned n = 0; n < line_->size(); ++n) {
        const Step& step = (*line_)[n];
        forms_[n] = form_of(*step.insn, model_);
        if (forms_[n].translate && refuses(*step.insn, forms_[n])) forms_[n] = {};
        if (step.block->refused && step.last_of_block()) forms_[n] = {};
    }
}

void BlockTranslator::find_live_flags() {
    uint8_t live = flag::All;
    for (unsigned n = line_->size(); n-- > 0;) {
        live_[n] = flag_mode_ == FlagMode::Strict ? flag::All : live;
        live = static_cast<uint8_t>((live & ~forms_[n].flags_set) | forms_[n].flags_read);
    }
}

uint8_t BlockTranslator::live_before() const {
    if (flag_mode_ == FlagMode::Strict) return flag::All;
    return static_cast<uint8_t>((live_[n_] & ~forms_[n_].flags_set) | forms_[n_].flags_read);
}

/// True if the flags that the block is entered with are wanted in EFLAGS before anything destroys them.
bool BlockTranslator::host_flags_first() const {
    for (unsigned n = 0; n < line_->size(); ++n) {
        const Insn& i = *(*line_)[n].insn;
        const Form& f = forms_[n];
        if (!f.translate || f.x87) return false;
        if (f.flags_read && !f.ends_block) return !i.mem;
        if (f.ends_block) return f.translate == &BlockTranslator::jump_if || f.translate == &BlockTranslator::jump;
        const bool touches_memory = (i.mem && f.rm != Use::None) || f.translate == &BlockTranslator::push_register ||
                                    f.translate == &BlockTranslator::pop_register;
        if (touches_memory || f.vector_reg || f.vector_rm) return false;
        if (f.changes_flags) return true;
    }
    return true;
}

/// The request poll, once for each way the flags come in.
BlockTranslator::Entries BlockTranslator::enter() {
    const bool wanted = live_before() != 0;
    Entries e{};
    if (wanted && host_flags_first()) {
        e.memory = code_.here();
        FlagTracker::emit_load(code_);
        e.flags = code_.here();
        code_.mov(code_.ecx, code_.dword[code_.rbp + at::kRequests]);
        code_.db(0xe3);  // JRCXZ: leaves the flags alone
        code_.db(5);
        flags_.set(Place::Host);
        cold_always(Cold::Kind::Leave);
        return e;
    }
    e.flags = code_.here();
    if (wanted) FlagTracker::emit_save(code_);
    e.memory = code_.here();
    code_.cmp(code_.dword[code_.rbp + at::kRequests], 0);
    flags_.set(wanted ? Place::Memory : Place::Dead);
    cold(cc::kNotEqual, Cold::Kind::Leave);
    return e;
}

/// A crossing block is what was translated only while the bytes in the second page are its own (run_crossing, which looks where
/// that page is). In front of the first instruction, after the request poll.
void BlockTranslator::check_second_page(const Block& block) {
    const cpu_interp::CrossingTail& tail = cpu_interp::tail_of(block);
    flags_.save();
    code_.mov(code_.rax, reinterpret_cast<uint64_t>(&tail));
    code_.load(kRcx, at::kContext);
    code_.cmp(code_.rcx, code_.qword[code_.rax + offsetof(cpu_interp::CrossingTail, context)]);
    flags_.destroyed();
    cold(cc::kNotEqual, Cold::Kind::Leave);
    code_.mov(code_.rax, code_.qword[code_.rax + offsetof(cpu_interp::CrossingTail, next_page)]);
    for (unsigned at = 0; at < tail.size;) {
        int32_t bytes = 0;
        const unsigned size = std::min(4u, std::bit_floor(tail.size - at));
        std::memcpy(&bytes, tail.bytes + at, size);
        if (size == 4) code_.cmp(code_.dword[code_.rax + at], static_cast<uint32_t>(bytes));
        else if (size == 2) code_.cmp(code_.word[code_.rax + at], static_cast<uint32_t>(static_cast<int16_t>(bytes)));
        else code_.cmp(code_.byte[code_.rax + at], static_cast<uint32_t>(static_cast<int8_t>(bytes)));
        cold(cc::kNotEqual, Cold::Kind::Leave);
        at += size;
    }
}

void BlockTranslator::instruction(unsigned n) {
    const Form& f = forms_[n];
    const Step& step = (*line_)[n];
    if (!f.notes_pointer && !stays(*step.insn, f)) store_pointer();
    if (!f.translate) return run_interpreted();
    if (f.ends_block && step.path != Path::End) return continue_line(*step.insn, f, step.path);
    (this->*f.translate)(*step.insn, f);
    if (done_ || !step.last_of_block() || step.path != Path::End) return;
    store_pointer();
    executed_ = true;
    go_direct(after(*step.insn));
}

/// An instruction that could not be translated; a block's last one may end it, so the interpreter takes over for good.
void BlockTranslator::run_interpreted() {
    if ((*line_)[n_].last_of_block() || purpose_ == Purpose::Compare) {
        cold_always(Cold::Kind::Leave);
        done_ = true;
        return;
    }
    flags_.save();
    code_.mov(code_.eax, (*line_)[n_].n);
    call_block_part(BlockPart::Interpret, n_);
    flags_.set(Place::Both);
    vectors_ = x87_ = false;
}

// --- flags --------------------------------------------------------------------------------------------------------------

void BlockTranslator::before_check() {
    if (live_before() != 0) flags_.save();
}

bool BlockTranslator::needs_host_flags(const Form& f) const {
    return f.flags_read || (f.changes_flags && (live_[n_] & ~f.flags_set));
}

void BlockTranslator::keep_flags_for(const Form& f) {
    if (needs_host_flags(f)) flags_.load();
}

// --- cold parts -----------------------------------------------------------------------------------------------------------

/// Where the running instruction leaves to; resume is filled in by here() when the instruction is complete.
void BlockTranslator::cold(unsigned condition, Cold::Kind kind) { add_cold(code_.jump_if(condition), kind); }
void BlockTranslator::cold_always(Cold::Kind kind) { add_cold(code_.jump(), kind); }

void BlockTranslator::add_cold(size_t jump, Cold::Kind kind, uint32_t target) {
    cold_.push_back({.kind = kind, .jump = jump, .insn = n_, .executed = executed_, .vectors = vectors_, .x87 = x87_,
                     .flags = flags_.place(), .target = target});
}

/// Misses of the running instruction go on here.
void BlockTranslator::resume_here() {
    for (auto c = cold_.rbegin(); c != cold_.rend() && c->insn == n_; ++c)
        if (c->kind != Cold::Kind::LoadVectors && c->kind != Cold::Kind::LoadX87) c->resume = code_.here();
}

void BlockTranslator::call_block_part(BlockPart part, unsigned insn) {
    code_.db(0xe8);
    code_.dd(0);
    calls_.push_back({code_.here(), part, (*line_)[insn].block});
}

void BlockTranslator::jump_block_part(BlockPart part, unsigned insn) { calls_.push_back({code_.jump(), part, (*line_)[insn].block}); }

void BlockTranslator::cold_parts() {
    for (size_t k = 0; k < cold_.size(); ++k) cold_part(cold_[k]);
    block_parts();
}

/// What cold parts of a block have in common: they name the block.
void BlockTranslator::block_parts() {
    for (size_t first = 0; first < calls_.size(); ++first) {
        if (calls_[first].block == nullptr) continue;
        const Call like = calls_[first];
        const size_t start = emit_block_part(like.part, like.block);
        for (size_t k = first; k < calls_.size(); ++k) {
            Call& call = calls_[k];
            if (call.block != like.block || call.part != like.part) continue;
            code_.aim(call.jump, start);
            call.block = nullptr;
        }
    }
}

size_t BlockTranslator::emit_block_part(BlockPart part, Block* block) {
    const size_t start = code_.here();
    if (part == BlockPart::Interpret) {
        code_.mov(code_.rcx, reinterpret_cast<uint64_t>(block));
        code_.jump_to(runtime_.interpret());
        return start;
    }
    if (part == BlockPart::Miss) {
        code_.store(at::kMissed, kRax);
        code_.mov(code_.rax, reinterpret_cast<uint64_t>((*line_)[0].block));
        code_.store(at::kExitHead, kRax);
    }
    code_.mov(code_.rax, reinterpret_cast<uint64_t>(block));
    code_.store(at::kExitBlock, kRax);
    switch (part) {
    case BlockPart::Leave: code_.jump_to(runtime_.leave()); break;
    case BlockPart::Miss: code_.jump_to(runtime_.miss()); break;
    case BlockPart::LoadX87: code_.jump_to(runtime_.load_x87()); break;
    default: code_.jump_to(runtime_.load_vectors());
    }
    return start;
}

void BlockTranslator::exit_for(uint32_t reason) { code_.mov(code_.dword[code_.rbp + at::kExitInsn], reason); }

void BlockTranslator::cold_part(const Cold& c) {
    code_.bind(c.jump);
    switch (c.kind) {
    case Cold::Kind::Miss: return miss_part(c);
    case Cold::Kind::Interpret: return interpret_part(c);
    case Cold::Kind::Find: return find_part(c);
    case Cold::Kind::Leave: return leave_part(c);
    case Cold::Kind::Follow: return follow_part(c);
    case Cold::Kind::LoadVectors:
        exit_for((*line_)[c.insn].n);
        call_block_part(BlockPart::LoadVectors, c.insn);
        return code_.jump_to(c.resume);
    case Cold::Kind::LoadX87:
        exit_for((*line_)[c.insn].n);
        call_block_part(BlockPart::LoadX87, c.insn);
        return code_.jump_to(c.resume);
    }
}

void BlockTranslator::interpret_part(const Cold& c) {
    if (purpose_ == Purpose::Compare) return leave_part(c);
    YADO_CHECK(c.resume != 0);
    const uint32_t n = (*line_)[c.insn].n;
    code_.mov(code_.eax, n);
    call_block_part(BlockPart::Interpret, c.insn);
    if (groups_.any()) {  // the TLB may have changed under a group's address: on with the interpreter
        exit_for(n + 1);
        return jump_block_part(BlockPart::Leave, c.insn);
    }
    if (c.vectors || c.x87) {
        exit_for(n + 1);
        if (c.vectors) call_block_part(BlockPart::LoadVectors, c.insn);
        if (c.x87) call_block_part(BlockPart::LoadX87, c.insn);
        FlagTracker::emit_load(code_);
    }
    code_.jump_to(c.resume);
}

/// rax is the linear address XOR the tag, rcx the entry's offset.
void BlockTranslator::miss_part(const Cold& c) {
    code_.xor_(code_.rax, code_.qword[code_.rbp + code_.rcx + c.tag]);
    if (c.access.span != 0) {
        code_.mov(code_.ecx, static_cast<uint32_t>(c.table));
        code_.call_to(runtime_.spanned());
        code_.aim(code_.jump_if(cc::kBelow), c.served);
    }
    code_.mov(code_.rcx, c.access.packed());
    call_block_part(BlockPart::Miss, c.insn);
    code_.aim(code_.jump_if(cc::kBelow), c.retry);
    if (c.access.span != 0) return careful_part(c);
    fallback(forms_[c.insn]) == Cold::Kind::Leave ? leave_part(c) : interpret_part(c);
}

/// A group is not served as one: on by the rest of the line without groups, if there is such code, else by the interpreter.
void BlockTranslator::careful_part(Cold c) {
    if (c.flags == Place::Host) {
        FlagTracker::emit_save(code_);
        c.flags = Place::Memory;
    }
    code_.load(kRax, at::kCareful);
    code_.test(code_.rax, code_.rax);
    const size_t none = code_.jump_if(cc::kEqual);
    code_.jmp(code_.rax);
    code_.bind(none);
    leave_part(c);
}

/// rax is the target, or `tag` says where it is in the jump entry at rcx.
void BlockTranslator::find_part(const Cold& c) {
    if (c.tag != 0) code_.mov(code_.rax, code_.qword[code_.rbp + code_.rcx + c.tag]);
    code_.call_to(runtime_.find());
    code_.aim(code_.jump_if(cc::kNotEqual), c.retry);
    leave_part(c);
}

void BlockTranslator::leave_part(const Cold& c) {
    if (c.flags == Place::Host) FlagTracker::emit_save(code_);
    exit_for((*line_)[c.insn].n + (c.executed ? 1 : 0));
    jump_block_part(BlockPart::Leave, c.insn);
}

void BlockTranslator::follow_part(const Cold& c) {
    if (c.flags == Place::Host) FlagTracker::emit_save(code_);
    linear_of(kRax, c.target);
    code_.store(at::kRip, kRax);
    exit_for(c.flags == Place::Host || c.flags == Place::Both ? exit_reason::kFollowFlags : exit_reason::kFollow);
    code_.mov(code_.dword[code_.rbp + at::kExitLink], static_cast<uint32_t>(c.jump));
    jump_block_part(BlockPart::Leave, c.insn);
}

}  // namespace yado::cpu_bt
