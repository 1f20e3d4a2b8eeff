#include "cpu_interp/integer/select.h"

#include <initializer_list>

namespace yado::cpu_interp {

Selected select_integer(const Insn& i) {
    for (const auto kind : {select_alu, select_move, select_branch, select_stack, select_shift, select_bits, select_string,
                            select_multiply, select_hint, select_adx, select_legacy})
        if (const Selected s = kind(i); s.run) return s;
    return {};
}

}  // namespace yado::cpu_interp
