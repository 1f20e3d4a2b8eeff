// The guest's x87, MMX and SSE state, and what the run loop does with it.
//
// Registers live here, in the layout of FXSAVE64, between instructions. Two parts may be in the host's own registers while
// a vCPU runs, and fpu_leave() brings them back:
//   MXCSR  from the first SSE floating-point instruction until fpu_leave(): rounding, FTZ, DAZ and sticky flags are then
//          the host's. C++ code that runs meanwhile would round the guest's way and leave its flags to the guest.
//   x87    only inside an unbroken run of x87 instructions; it never escapes from the handlers of fpu/. In translated code
//          (cpu_bt/runtime.h) from the first x87 or MMX instruction until that code is left.
//
// Thread: the vCPU's own.
#pragma once

#include <cstdint>

#include "cpu/cpu_model.h"
#include "cpu/state.h"

namespace yado::cpu_interp {

class Core;

using Xmm = long long __attribute__((vector_size(16), may_alias));

/// x87 control, status and MXCSR bits (SDM vol. 1, 8.1 and 10.2.3).
namespace x87 {
inline constexpr uint16_t kExceptions = 0x3f, IE = 1, DE = 2, ZE = 4, OE = 8, UE = 16, PE = 32, SF = 0x40, ES = 0x80, B = 0x8000,
                          kTop = 0x3800, kControlMask = 0x1f3f, kControlFixed = 0x40, kControlInit = 0x37f,
                          kControlReset = 0x40;
}
namespace mxcsr {
inline constexpr uint32_t kFlags = 0x3f, DAZ = 0x40, kMasks = 0x1f80, UM = 0x800, FTZ = 0x8000, kReset = 0x1f80, kValid = 0xffff;
}

/// One x87 register as FXSAVE stores it: ten bytes, six reserved. MMX registers are the mantissas.
struct St {
    uint64_t mantissa = 0;
    uint16_t exponent = 0;
    uint16_t reserved[3] = {};
};

/// Where the guest's MXCSR is. Precise: in the host with all exceptions masked, flags clear, for one instruction.
enum class MxcsrPlace : uint8_t { Memory, Host, Precise };

struct alignas(64) Fpu {
    // FXSAVE64 layout (SDM vol. 1, table 10-2), 416 bytes
    uint16_t fcw = x87::kControlInit;
    uint16_t fsw = 0;
    uint8_t ftw = 0;       ///< abridged: bit n set: physical register n is not empty
    uint8_t zero = 0;
    uint16_t fop = 0;
    uint64_t fip = 0;
    uint64_t fdp = 0;
    uint32_t mxcsr = mxcsr::kReset;   ///< flags are stale while place == Host
    uint32_t mxcsr_mask = mxcsr::kValid;
    St st[8];              ///< relative to TOP
    union {
        Xmm vectors[64] = {};  ///< the four below in one: n and n + 16 are the halves of YMM n or of temporary n - 32
        struct {
            Xmm xmm[16];
            // beyond FXSAVE
            Xmm ymm_high[16];        ///< bits 255:128
            Xmm temporary[16];       ///< of the running VEX instruction: memory operands, results that may not stand
            Xmm temporary_high[16];
        };
    };
    MxcsrPlace place = MxcsrPlace::Memory;
    bool x87_in_host = false;
    uint32_t host_mxcsr = mxcsr::kReset;  ///< to be restored by fpu_leave
    alignas(16) uint8_t operand[16] = {};  ///< memory operand of the running x87 instruction
    alignas(64) uint8_t host_image[512] = {};

    unsigned top() const { return fsw >> 11 & 7; }
    uint64_t& mm(unsigned n) { return st[n & 7].mantissa; }  ///< valid when top() == 0
};

/// Power-on state (SDM vol. 3, table 9-1). INIT keeps everything: nothing to call.
void fpu_reset(Fpu& fpu);

/// To and from the saved form; fpu_leave() must have been called. XSTATE_BV is honoured: a missing component is in its
/// initial state. Import forces reserved bits to what the CPU allows.
void fpu_export(const Fpu& fpu, cpu::XsaveArea& area);
void fpu_import(Fpu& fpu, const cpu::XsaveArea& area);

/// Features of this part that the host CPU can execute.
cpu::FeatureSet fpu_supported_features();

void fpu_leave_slow(Fpu& fpu);
/// Gives the host its own MXCSR back. To be called before run() returns, before a device is called and before other C++
/// code that computes with floating point; cheap when there is nothing to do. The guest's comes back by itself.
inline void fpu_leave(Fpu& fpu) {
    if (fpu.place != MxcsrPlace::Memory) [[unlikely]] fpu_leave_slow(fpu);
}

/// Puts the guest's MXCSR into the host's for more than one instruction. false: the guest has unmasked an exception, so
/// that each instruction has to be looked at.
bool fpu_host_mxcsr(Fpu& fpu);
/// Puts the guest's x87 registers into the host's; XMM registers are lost. The caller brings them back by FXSAVE64 to
/// `host_image`, of which FOP, FIP and FDP are not the guest's. false: the guest has unmasked an exception, so that the
/// interpreter has to run each instruction.
bool fpu_host_x87(Fpu& fpu);
/// What the host's control word is while the guest's x87 state is not there: the ABI's.
inline constexpr uint16_t kHostControl = x87::kControlInit;
/// The guest's MXCSR with the flags up to now.
uint32_t fpu_mxcsr(Fpu& fpu);
/// LDMXCSR; the caller has checked the reserved bits.
void fpu_set_mxcsr(Fpu& fpu, uint32_t value);

}  // namespace yado::cpu_interp
