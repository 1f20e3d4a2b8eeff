// Writing control registers, shared by MOV CRn, LMSW and CLTS.
#pragma once

#include "cpu_interp/core.h"

namespace yado::cpu_interp {

/// Each raises #GP(0) for what the manual forbids, changing nothing (SDM vol. 2, MOV control registers).
void write_cr0(Core& c, const Insn* i, uint64_t value);
void write_cr3(Core& c, const Insn* i, uint64_t value);
void write_cr4(Core& c, const Insn* i, uint64_t value);
/// WRMSR IA32_EFER; false: #GP.
bool write_efer(Core& c, uint64_t value);
bool write_xcr0(Core& c, uint64_t value);

}  // namespace yado::cpu_interp
