// Branches, calls and returns. Inside the page of the block a jump is linked to its target's translation; beyond it, and
// where the target is not known, the vCPU's jump cache is looked up. SDM vol. 2; near branches are 64 bits wide.
#include "cpu_bt/block_translator.h"

namespace yado::cpu_bt {

using cpu_interp::JumpEntry;
using cpu_interp::kJumpCacheSize;

namespace {

constexpr HostReg kGuestRsp = kHostOf[cpu::RSP];
const Xbyak::Reg64 kStack = Assembler::r64(kGuestRsp);
constexpr int kEntryBits = 5;
static_assert(sizeof(JumpEntry) == 1 << kEntryBits);
constexpr int kEntryRip = at::kJumps + static_cast<int>(offsetof(JumpEntry, rip));
constexpr int kEntryContext = at::kJumps + static_cast<int>(offsetof(JumpEntry, context));
constexpr int kEntryNative = at::kJumps + static_cast<int>(offsetof(JumpEntry, native));

}  // namespace

void BlockTranslator::linear_of(HostReg to, int64_t at) {
    code_.load(to, at::kRipPage);
    if (at != 0) code_.encode({.opcode = 0x8d, .w = true}, to, Rm::at(to, -1, 0, static_cast<int32_t>(at)));
}

// --- the jump cache (cpu_interp/chain.h: jump_slot) -------------------------------------------------------------------------

void BlockTranslator::find_target() {
    if (flags_.in_host() && !flags_.in_memory()) {
        code_.mov(code_.rcx, code_.rax);
        flags_.save();
        code_.mov(code_.rax, code_.rcx);
    }
    const size_t retry = code_.here();
    code_.mov(code_.ecx, code_.eax);
    code_.shr(code_.ecx, 12);
    code_.xor_(code_.ecx, code_.eax);
    code_.and_(code_.ecx, kJumpCacheSize - 1);
    code_.shl(code_.ecx, kEntryBits);
    code_.cmp(code_.qword[code_.rbp + code_.rcx + kEntryRip], code_.rax);
    flags_.destroyed();
    const auto find = [&] {
        cold(cc::kNotEqual, Cold::Kind::Find);
        cold_.back().retry = retry;
    };
    find();
    code_.load(kRax, at::kContext);
    code_.cmp(code_.rax, code_.qword[code_.rbp + code_.rcx + kEntryContext]);
    find();
    cold_.back().tag = kEntryRip;  // rax is lost, but the entry's RIP was the same
}

void BlockTranslator::go_found() {
    code_.mov(code_.rax, code_.qword[code_.rbp + code_.rcx + kEntryRip]);
    code_.and_(code_.rax, -4096);
    code_.store(at::kRipPage, kRax);
    code_.jmp(code_.qword[code_.rbp + code_.rcx + kEntryNative]);
    done_ = true;
}

void BlockTranslator::go_direct(int64_t target) {
    if (in_page(target)) return follow(static_cast<uint32_t>(target));
    flags_.save();
    linear_of(kRax, target);
    find_target();
    go_found();
}

void BlockTranslator::follow(uint32_t target) {
    add_cold(code_.jump(), Cold::Kind::Follow, target);
    done_ = true;
}

// --- jumps --------------------------------------------------------------------------------------------------------------------

void BlockTranslator::jump_if(const Insn& i, const Form&) {
    const unsigned condition = i.opcode & 15;
    const int64_t target = after(i) + i.imm;
    flags_.load();
    if (in_page(target)) add_cold(code_.jump_if(condition), Cold::Kind::Follow, static_cast<uint32_t>(target));
    else branch_beyond_page(condition, target);
    go_direct(after(i));
}

/// A direct branch whose one way is the line's: the other leaves it.
void BlockTranslator::continue_line(const Insn& i, const Form& f, Path path) {
    if (f.translate == &BlockTranslator::jump) return;
    if (f.translate == &BlockTranslator::call) {
        push_return_address(i);
        return adjust_stack(-8);
    }
    flags_.load();
    const unsigned leaves = (i.opcode & 15) ^ (path == Path::Taken ? 1 : 0);
    const int64_t other = path == Path::Taken ? after(i) : after(i) + i.imm;
    if (in_page(other)) add_cold(code_.jump_if(leaves), Cold::Kind::Follow, static_cast<uint32_t>(other));
    else branch_beyond_page(leaves, other);
    done_ = false;
}

void BlockTranslator::branch_beyond_page(unsigned condition, int64_t target) {
    const size_t not_taken = code_.jump_if(condition ^ 1);
    const FlagTracker::Place before = flags_.place();
    go_direct(target);
    code_.bind(not_taken);
    flags_.set(before);
}

void BlockTranslator::jump(const Insn& i, const Form&) { go_direct(after(i) + i.imm); }

void BlockTranslator::jump_indirect(const Insn& i, const Form&) {
    if (i.mem) {
        code_.encode({.opcode = 0x8b, .w = true}, kRax, memory_operand(i, 8, false));
    } else {
        before_check();
        code_.move(kRax, value_of(i.rm, kRcx));
    }
    find_target();
    go_found();
}

// --- calls and returns: RSP moves last, so that the interpreter can begin again ---------------------------------------------------

void BlockTranslator::push_return_address(const Insn& i) {
    const Rm rm = only_rcx(stack_operand(cpu::RSP, -8, true));
    linear_of(kRax, after(i));
    code_.encode({.opcode = 0x89, .w = true}, kRax, rm);
}

void BlockTranslator::call(const Insn& i, const Form&) {
    const int64_t target = after(i) + i.imm;
    if (in_page(target)) {
        push_return_address(i);
        adjust_stack(-8);
        return follow(static_cast<uint32_t>(target));
    }
    before_check();
    linear_of(kRax, target);
    find_target();
    finish_call(i);
}

/// rcx: offset of the target's jump entry.
void BlockTranslator::finish_call(const Insn& i) {
    code_.store(at::kKept, kRcx);
    push_return_address(i);
    adjust_stack(-8);
    code_.load(kRcx, at::kKept);
    go_found();
}

void BlockTranslator::call_indirect(const Insn& i, const Form&) {
    if (i.mem) {
        code_.encode({.opcode = 0x8b, .w = true}, kRax, memory_operand(i, 8, false));
    } else {
        before_check();
        code_.move(kRax, value_of(i.rm, kRcx));
    }
    find_target();
    finish_call(i);
}

void BlockTranslator::ret(const Insn& i, const Form&) {
    code_.encode({.opcode = 0x8b, .w = true}, kRax, stack_operand(cpu::RSP, 0, false));
    find_target();
    code_.encode({.opcode = 0x8d, .w = true}, kGuestRsp, Rm::at(kGuestRsp, -1, 0, 8 + static_cast<uint16_t>(i.imm)));
    go_found();
}

}  // namespace yado::cpu_bt
