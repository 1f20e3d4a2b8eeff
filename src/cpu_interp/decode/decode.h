// The instruction decoder: bytes in, Insn out. Pure: no guest memory, no handlers. Intel SDM vol. 2, chapter 2, appendix A.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu_interp/insn.h"

namespace yado::cpu_interp {

/// SDM vol. 3, 6.15, #GP: an instruction may have 15 bytes.
inline constexpr unsigned kMaxInsnBytes = 15;

enum class DecodeStatus : uint8_t {
    Ok,
    NeedMore,   ///< the bytes end inside the instruction
    TooLong,    ///< more than 15 bytes: #GP(0)
    Undefined,  ///< no such opcode in this mode, or LOCK where it is not allowed: #UD
};

/// Decodes the instruction at bytes[0..n). Fills everything of *out but run (and flat for RIP-relative operands, which only
/// a block can settle). out->length is right for Ok and, as far as decoding came, for Undefined. Any thread.
DecodeStatus decode(const uint8_t* bytes, size_t n, CodeMode mode, Insn* out);

/// Asks the instruction's modules in their order; run == nullptr: undefined. Settles VEX.vvvv, see there.
Selected select(Insn& i);

}  // namespace yado::cpu_interp
