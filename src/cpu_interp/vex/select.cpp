// select_vex: from a decoded VEX instruction to its handler.
#include <algorithm>

#include "cpu_interp/vex/table.h"

namespace yado::cpu_interp {

namespace vex {

namespace {

bool fits(const Rule& r, const Insn& i) {
    if (r.w != W::Any && i.rex_w != (r.w == W::W1)) return false;
    if (r.l != L::Any && i.vex_l != (r.l == L::L1)) return false;
    if (r.v == V::None && i.vvvv != 0) return false;
    if (r.rm != Rm::Both && i.mem != (r.rm == Rm::Memory)) return false;
    return r.group < 0 || r.group == (i.modrm >> 3 & 7);
}

const Table& table() {
    static const Table* const made = [] {
        auto* t = new Table;  // lives as long as the process
        add_state(*t);
        t->sort();
        return t;
    }();
    return *made;
}

}  // namespace

void Table::sort() { std::ranges::stable_sort(rows_, {}, &Row::key); }

Handler Table::find(const Insn& i) const {
    for (const Row& row : std::ranges::equal_range(rows_, key({i.map, i.mandatory, i.opcode}), {}, &Row::key))
        if (fits(row.rule, i)) return row.run;
    return nullptr;
}

}  // namespace vex

Selected select_vex(const Insn& i) { return {vex::table().find(i)}; }

}  // namespace yado::cpu_interp
