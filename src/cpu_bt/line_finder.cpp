#include "cpu_bt/line_finder.h"

#include "cpu_bt/block_translator.h"

namespace yado::cpu_bt {

using cpu_interp::Block;
using cpu_interp::BlockCache;

namespace {

using T = BlockTranslator;

/// A short loop is unrolled as often, or until the line has as many instructions.
constexpr unsigned kMaxRounds = 8, kEnough = 64;

struct Way {
    Block* block = nullptr;
    Path path = Path::End;
};

Block* block_at(BlockCache& blocks, const Block& from, int64_t offset) {
    if (offset < 0 || offset >= 4096) return nullptr;
    return blocks.known(page_down(from.gpa) | static_cast<uint64_t>(offset), from.mode);
}

/// Of a conditional branch's two ways the one that requests have found running more often; else backwards, as loops go.
Way likelier(Way taken, Way next, bool backwards) {
    if (!taken.block || !next.block) return {};
    if (taken.block->samples != next.block->samples) return taken.block->samples > next.block->samples ? taken : next;
    return backwards ? taken : next;
}

Way way_on(BlockCache& blocks, const Block& b, const cpu::CpuModel& model) {
    const Insn& last = b.insn[b.count - 1];
    const Form f = b.refused ? Form{} : form_of(last, model);
    const int64_t after = static_cast<int64_t>(b.gpa & 0xfff) + b.bytes;
    const Way next{block_at(blocks, b, after), Path::Next};
    if (!f.translate) return {};
    if (!f.ends_block) return next;
    const Way taken{block_at(blocks, b, after + last.imm), Path::Taken};
    if (f.translate == &T::jump || f.translate == &T::call) return taken;
    return f.translate == &T::jump_if ? likelier(taken, next, last.imm < 0) : Way{};
}

bool in_line(const Line& line, const Block* b) {
    for (unsigned k = 0; k < line.size(); ++k)
        if (line[k].block == b) return true;
    return false;
}

}  // namespace

bool find_line(BlockCache& blocks, Block& head, const cpu::CpuModel& model, Line& line) {
    if (head.crossing) return false;
    line.clear();
    line.append(head);
    unsigned rounds = 1;
    for (const Block* at = &head;;) {
        const Way way = way_on(blocks, *at, model);
        if (!way.block || way.block->ungrouped || way.block->crossing) break;
        if (way.block == &head ? ++rounds > kMaxRounds || line.size() >= kEnough : rounds == 1 && in_line(line, way.block)) break;
        Step& branch = line.last();
        if (!line.append(*way.block)) break;
        branch.path = way.path;
        at = way.block;
    }
    return line.size() > head.count;
}

}  // namespace yado::cpu_bt
