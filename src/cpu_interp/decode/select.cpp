#include "cpu_interp/decode/decode.h"

namespace yado::cpu_interp {

Selected select(const Insn& i) {
    if (i.vex) return select_vex(i);
    Selected s = select_system(i);
    if (!s.run) s = select_fpu(i);
    if (!s.run) s = select_integer(i);
    return s;
}

}  // namespace yado::cpu_interp
