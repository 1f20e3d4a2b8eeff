#include "direct/exec_scan.h"

namespace yado::direct {

namespace {

/// What the byte behind 0F says (SDM vol. 2, appendix A, table A-3).
enum class Verdict : uint8_t { Harmless, Refused, ByModRm };

Verdict second_byte(uint8_t b) {
    switch (b) {
    case 0x02:                            // LAR
    case 0x03:                            // LSL: the host's processor number
    case 0x33:                            // RDPMC
    case 0x34:                            // SYSENTER: loses RIP and RSP
    case 0xa2: return Verdict::Refused;   // CPUID
    case 0x01:                            // SGDT, SIDT, SMSW, XGETBV, RDTSCP, RDPRU, RDPKRU, WRPKRU
    case 0xae:                            // XSAVE: of all that the host has switched on, more than the guest left room for
    case 0xc7: return Verdict::ByModRm;   // RDPID, RDRAND, RDSEED
    default: return Verdict::Harmless;
    }
}

bool refused_by_modrm(uint8_t second, uint8_t modrm) {
    const unsigned reg = modrm >> 3 & 7;
    if (second == 0xae) return modrm < 0xc0 && reg == 4;
    if (second == 0xc7) return modrm >= 0xc0 && reg >= 6;  // CMPXCHG8B and XSAVEC are memory forms
    if (modrm < 0xc0) return reg < 2 || reg == 4;
    return modrm == 0xd0 || reg == 4 || modrm == 0xee || modrm == 0xef || modrm == 0xf9 || modrm == 0xfd;
}

}  // namespace

bool may_run_natively(std::span<const uint8_t> page, std::span<const uint8_t> next, TscRead tsc) {
    const auto at = [&](size_t n) -> int {
        if (n < page.size()) return page[n];
        n -= page.size();
        return n < next.size() ? next[n] : -1;
    };
    for (size_t n = 0; n < page.size(); ++n) {
        if (page[n] != 0x0f) continue;
        const int second = at(n + 1);
        if (second < 0 || (second == 0x31 && tsc == TscRead::Refused)) return false;
        const Verdict verdict = second_byte(static_cast<uint8_t>(second));
        if (verdict == Verdict::Harmless) continue;
        const int modrm = at(n + 2);
        if (verdict == Verdict::Refused || modrm < 0 || refused_by_modrm(static_cast<uint8_t>(second), static_cast<uint8_t>(modrm))) return false;
    }
    return true;
}

}  // namespace yado::direct
