// Which pages of guest code may be run natively: those without an instruction whose answer the guest must not see.
#pragma once

#include <cstdint>
#include <span>

namespace yado::direct {

/// True if no instruction that begins in `page` can be one of CPUID, RDTSCP, RDPID, RDPMC, XGETBV, RDPRU, RDRAND, RDSEED, LSL, LAR, SGDT,
/// SIDT, SMSW, RDPKRU, WRPKRU, SYSENTER, XSAVE, and where asked RDTSC, however the bytes are cut into instructions. Bytes that merely look
/// like one refuse a page, too; so SLDT and STR are let through, which look like constants and tell little. `next` is what follows in
/// memory (a few bytes; empty: unknown, and then a page that ends in the middle of such an instruction is refused).
enum class TscRead : bool { Harmless, Refused };
bool may_run_natively(std::span<const uint8_t> page, std::span<const uint8_t> next, TscRead tsc);

}  // namespace yado::direct
