// A decoded block: instructions that run one after the other, then two slots. The slots follow the last instruction:
// the first is its fall-through (it has a handler of its own), both hold links of direct branches to blocks of the same
// guest-physical page. Links never leave the page, and a page's blocks die together, so no link dangles.
#pragma once

#include "cpu_interp/core.h"

namespace yado::cpu_interp {

/// Bits of Block::mode above CodeMode: the code segment's limit must be checked (no chaining, no links); the Mmu that
/// its operands are looked up with.
inline constexpr uint8_t kLimited = 4;
inline constexpr unsigned kModeMmuShift = 3;
inline constexpr unsigned kBlockSlots = 2;
inline constexpr unsigned kMaxBlockInsns = 48;
inline constexpr unsigned kMaxBlockBytes = 240;  // Insn::offset is a byte

struct Block {
    uint64_t gpa;        ///< of the first byte
    Block* next;         ///< in the page's bucket
    uint16_t bytes;      ///< length of the code
    uint8_t count;       ///< instructions, slots not counted
    uint8_t mode;
    uint32_t heat;       ///< the tier's: executions left before it is translated
    const void* native;  ///< the tier's: translated code, or nullptr
    const void* native_flags;  ///< the same, entered with the arithmetic flags in the host's
    Handler first;       ///< the interpreter's handler of insn[0], which a tier may have replaced
    bool refused;        ///< the last instruction raises #UD or #GP whatever its bytes look like
    bool ungrouped;      ///< the tier's: every access checks by itself
    uint32_t setbacks;   ///< the tier's: group checks that failed
    uint16_t samples;    ///< the tier's: how often a request found it running
    bool traced;         ///< the tier's: its translation goes on into other blocks
    bool crossing;       ///< one instruction that goes on in the next page (CrossingTail)
    Insn insn[];         ///< count + kBlockSlots

    const Insn* end() const { return insn + count; }
};

/// Behind a crossing block's slots: the bytes in the next page, which are compared whenever the block runs. So nothing has to be invalidated
/// when they change.
struct CrossingTail {
    static constexpr uint64_t kNever = ~uint64_t{0};

    Handler run;              ///< the instruction's; Block::first compares
    uint64_t context = kNever;  ///< Core::context that `next_page` is good in: while it is the Core's the page is not mapped elsewhere
    const uint8_t* next_page = nullptr;
    uint8_t size;
    uint8_t bytes[15];
};
inline constexpr size_t kBlockHeader = sizeof(Block) / sizeof(Insn);
static_assert(sizeof(Block) == kBlockHeader * sizeof(Insn));

/// A slot's link; flat says whether the target lies in the block's page, so that it may be linked.
inline Block* link_of(const Insn* slot) { return reinterpret_cast<Block*>(slot->imm64); }
inline CrossingTail& tail_of(const Block& b) { return *reinterpret_cast<CrossingTail*>(const_cast<Insn*>(b.end() + kBlockSlots)); }
inline constexpr unsigned kTailSlots = (sizeof(CrossingTail) + sizeof(Insn) - 1) / sizeof(Insn);

inline void set_link(const Insn* slot, Block* b) { const_cast<Insn*>(slot)->imm64 = reinterpret_cast<uint64_t>(b); }

}  // namespace yado::cpu_interp
