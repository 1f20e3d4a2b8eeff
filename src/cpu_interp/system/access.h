// Inside system/ and memory.cpp: address translation, and memory access with rights given by the caller.
#pragma once

#include "cpu_interp/core.h"
#include "cpu_interp/system/system_state.h"

namespace yado::cpu_interp {

/// Page-fault error code (SDM vol. 3, 4.7).
namespace pf {
inline constexpr uint32_t P = 1, W = 2, U = 4, RSVD = 8, ID = 16;
}

/// The outcome of a page walk.
struct Walk {
    uint64_t gpa = 0;       ///< of the byte asked for
    bool writable = false;  ///< for these rights, and the dirty bit is set
    bool global = false;
    bool large = false;
    bool fault = false;
    uint32_t error = 0;     ///< if fault
};

/// Walks the page tables and sets accessed and dirty bits (SDM vol. 3, chapter 4). Never throws.
Walk walk(Core& c, uint64_t linear, Acc acc, Mmu rights);
/// Loads the four PAE pointers; false: reserved bits are set, nothing changed (SDM vol. 3, 4.4.1).
bool load_pdptes(Core& c, uint64_t cr3, uint64_t* out);

/// 1 to 4096 bytes with explicit rights.
void access(Core& c, const Insn* i, uint64_t linear, void* data, unsigned size, Acc acc, Mmu rights);

inline bool canonical(uint64_t a) { return static_cast<uint64_t>(static_cast<int64_t>(a << 16) >> 16) == a; }
inline bool long_mode(const Core& c) { return c.efer & cpu::efer::LMA; }
inline bool protected_mode(const Core& c) { return c.cr0 & cpu::cr0::PE; }
inline bool vm86(const Core& c) { return c.sysflags & cpu::rflags::VM; }
/// Real-address mode or virtual-8086: selectors are paragraphs.
inline bool paragraphs(const Core& c) { return !protected_mode(c) || vm86(c); }
inline unsigned iopl(const Core& c) { return c.sysflags >> 12 & 3; }
/// Rights of an explicit access at `cpl`.
inline Mmu rights_at(const Core& c, unsigned cpl) {
    if (cpl == 3) return Mmu::User;
    return c.cr4 & cpu::cr4::SMAP && c.sysflags & cpu::rflags::AC ? Mmu::SupervisorAc : Mmu::Supervisor;
}

}  // namespace yado::cpu_interp
