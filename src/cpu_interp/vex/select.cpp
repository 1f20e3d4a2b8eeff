// select_vex: from a decoded VEX instruction to its handler.
#include <algorithm>

#include "cpu_interp/vex/table.h"

namespace yado::cpu_interp {

namespace vex {

namespace {

bool fits_w(W w, const Insn& i) {
    switch (w) {
    case W::Any: return true;
    case W::W0: return !i.rex_w;
    case W::W1: return i.rex_w;
    case W::Bits32: return i.opsize == 4;
    case W::Bits64: return i.opsize == 8;
    }
    return false;
}

bool fits(const Rule& r, const Insn& i) {
    if (!fits_w(r.w, i)) return false;
    if (r.l != L::Any && i.vex_l != (r.l == L::L1)) return false;
    if (r.v == V::None && i.vvvv != 0) return false;
    if (r.rm != Rm::Both && i.mem != (r.rm == Rm::Memory)) return false;
    return r.group < 0 || r.group == (i.modrm >> 3 & 7);
}

const Table& table() {
    static const Table* const made = [] {
        auto* t = new Table;  // lives as long as the process
        for (const auto add : {add_state, add_move, add_integer, add_fp, add_imm, add_masked, add_strings, add_bmi}) add(*t);
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
