// Where the guest's registers are while translated code runs, and how translated code reaches its Core.
//
//   rbp            &core + kBias, so that Core's first 256 bytes have one-byte displacements
//   rax, rcx       scratch (LAHF needs AH, shifts need CL)
//   rsp            the vCPU thread's own stack, at the same place in all translated code
//   the other 12   guest registers; the four that compilers use least stay in Core::gpr ("at home")
//   xmm0 to 15     the guest's, while NativeState::vectors says so
//   st0 to 7       the guest's, and x87's control and status words, while NativeState::x87 says so
//   EFLAGS         the guest's arithmetic flags, or nothing: FlagTracker knows
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/state.h"
#include "cpu_interp/core.h"

namespace yado::cpu_bt {

using cpu_interp::Core;

enum HostReg : int8_t { kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi, kR8, kR9, kR10, kR11, kR12, kR13, kR14, kR15, kAtHome = -1 };

/// Guest register to host register. MUL, DIV and sign extension want RDX where it is.
inline constexpr std::array<HostReg, 16> kHostOf = {
    /* rax */ kR10, /* rcx */ kR11, /* rdx */ kRdx, /* rbx */ kRbx, /* rsp */ kR14, /* rbp */ kR15, /* rsi */ kRsi, /* rdi */ kRdi,
    /* r8 */ kR8,   /* r9 */ kR9,   kAtHome,        kAtHome,        /* r12 */ kR12, /* r13 */ kR13, kAtHome,        kAtHome};

/// True for the host registers that a C++ function may change.
constexpr bool is_volatile(HostReg r) { return r == kRdx || r == kRsi || r == kRdi || (r >= kR8 && r <= kR11); }

inline constexpr int kBias = 128;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"  // GCC supports it for Core: no virtual bases
namespace at {  // displacements from rbp
#define YADO_AT(name, member) inline constexpr int name = static_cast<int>(offsetof(Core, member)) - kBias
YADO_AT(kGpr, gpr);
YADO_AT(kRip, rip);
YADO_AT(kFlags, aflags);
YADO_AT(kSysflags, sysflags);
YADO_AT(kCpl, cpl);
YADO_AT(kRequests, requests);
YADO_AT(kRipPage, native.rip_page);
YADO_AT(kFpu, native.fpu);
YADO_AT(kSystem, native.system);
YADO_AT(kCr4, cr4);
YADO_AT(kExitBlock, native.exit_block);
YADO_AT(kExitHead, native.exit_head);
YADO_AT(kCareful, native.careful);
YADO_AT(kExitInsn, native.exit_insn);
YADO_AT(kExitLink, native.exit_link);
YADO_AT(kKept, native.kept);
YADO_AT(kMissed, native.missed);
YADO_AT(kVectors, native.vectors);
YADO_AT(kX87, native.x87);
YADO_AT(kGroup, native.group);
YADO_AT(kStoreSize, native.store_size);
YADO_AT(kStoreLog, native.store_log);
YADO_AT(kContext, context);
YADO_AT(kJumps, jumps);
YADO_AT(kTlb, tlb);
YADO_AT(kSegments, seg);
#undef YADO_AT
constexpr int group(int n) { return kGroup + 8 * n; }
constexpr int home(unsigned guest) { return kGpr + 8 * static_cast<int>(guest); }
constexpr int selector(unsigned segment) {
    return kSegments + static_cast<int>(segment * sizeof(cpu::Segment) + offsetof(cpu::Segment, selector));
}
constexpr int segment_base(unsigned segment) {
    return kSegments + static_cast<int>(segment * sizeof(cpu::Segment) + offsetof(cpu::Segment, base));
}
}  // namespace at
#pragma GCC diagnostic pop

}  // namespace yado::cpu_bt
