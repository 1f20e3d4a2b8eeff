// What a translator plugs into the interpreter. Without one the interpreter is all there is.
//
// A translated block is entered through its first instruction's handler like any other, so interpreted and translated code
// meet in one place: a Block. The tier decides what that handler is (BlockCache::place calls placed()), and may leave to the
// interpreter in front of any instruction.
// Thread: the vCPU's own.
#pragma once

#include "cpu_interp/block.h"

namespace yado::cpu_interp {

class Tier {
  public:
    virtual ~Tier() = default;
    /// A block was decoded. The tier may take its first handler (Block::first keeps the interpreter's).
    virtual void placed(Block& block) = 0;
    /// All blocks are gone; no translation may be entered any more.
    virtual void reset() = 0;
    /// Core::kReqMakeRoom, between blocks: the tier's memory is full.
    virtual void make_room(BlockCache& blocks) = 0;
    /// Where translated code goes for a block that has no translation: leaves for the interpreter with the jump entry.
    virtual const void* untranslated() const = 0;
    /// Appends what it counted. Any thread.
    virtual void count(cpu::Stats&) const {}
};

}  // namespace yado::cpu_interp
