// select_fpu: from a decoded instruction to its handler.
#include "cpu_interp/fpu/ops.h"

namespace yado::cpu_interp {

namespace {

const Table& table() {
    static const Table* const made = [] {
        auto* t = new Table;  // lives as long as the process
        add_sse_int(*t);
        add_sse_fp(*t);
        add_sse_move(*t);
        add_sse_imm(*t);
        add_mmx(*t);
        add_mmx_convert(*t);
        return t;
    }();
    return *made;
}

}  // namespace

Selected select_fpu(const Insn& i) {
    if (i.map == Map::One) return {select_x87(i)};
    if (i.map == Map::Of && i.opcode == 0xae) return {select_save(i)};
    if (i.map == Map::Of && i.opcode >= 0x71 && i.opcode <= 0x73) return {select_vector_shift(i)};
    const Row& row = table().find(i);
    return {i.mem ? row.mem : row.reg};
}

}  // namespace yado::cpu_interp
