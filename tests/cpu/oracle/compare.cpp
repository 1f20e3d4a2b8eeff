#include "compare.h"

#include <fmt/format.h>

#include <cstring>

#include "cpu/state.h"

namespace yado::oracle {

namespace {

constexpr const char* kGprNames[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                       "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr const char* kSegNames[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
// RF: set in the image that a fault pushes (SDM vol. 3, 17.3.1.1), which the host shows and step_raw has not pushed.
constexpr uint64_t kNeverCompared = 0x10000;
constexpr uint64_t kHostOnly = 0x7fff'0000'0000;   ///< the host's stack, vDSO and kernel lie above

std::string hex(const uint8_t* bytes, size_t size) {
    std::string text;
    for (size_t i = size; i-- > 0;) text += fmt::format("{:02x}", bytes[i]);
    return text;
}

std::string trap_text(const Outcome& o) {
    if (!o.trapped) return "no fault";
    return fmt::format("vector {} error {:#x} address {:#x}", o.trap.vector, o.trap.error, o.trap.address);
}

/// MXCSR without what is known to differ. With overflow or underflow unmasked, PE is to say whether the result with an
/// unbounded exponent would be inexact (SDM vol. 1, 11.5.2.5), but the interpreter sees the host's masked answer. And DPPS,
/// DPPD stop after the stage that faults, so the flags of later stages stay clear on the host.
void settle_unmasked(const Mask& mask, const Outcome& n, Outcome* g) {
    uint32_t host, guest;
    std::memcpy(&host, n.out.fx.data() + 24, 4);
    std::memcpy(&guest, g->out.fx.data() + 24, 4);
    if (!n.trapped || n.trap.vector != 19) return;
    const bool range = host & ~(host >> 7) & 0x18;
    if (range) guest = (guest & ~0x20u) | (host & 0x20);
    if (mask.staged) guest = (guest & ~0x3fu) | (host & 0x3f);
    std::memcpy(g->out.fx.data() + 24, &guest, 4);
}

void compare_fx(const Mask& mask, const Outcome& n, Outcome g, std::string* out) {
    settle_unmasked(mask, n, &g);
    const auto field = [&](const char* name, size_t offset, size_t size) {
        if (std::memcmp(n.out.fx.data() + offset, g.out.fx.data() + offset, size) == 0) return;
        *out += fmt::format("  {}: host {} interpreter {}\n", name, hex(n.out.fx.data() + offset, size), hex(g.out.fx.data() + offset, size));
    };
    const bool x87 = !(mask.x87_of_fault && n.trapped);
    field("fcw", 0, 2);
    if (x87) field("fsw", 2, 2);
    if (x87) field("tags", 4, 1);
    field("mxcsr", 24, 4);
    for (unsigned i = 0; i < 8 && x87; ++i) field(fmt::format("st{}", i).c_str(), 32 + 16 * i, 10);
    for (unsigned i = 0; i < 16; ++i) field(fmt::format("xmm{}", i).c_str(), 160 + 16 * i, 16);
    for (unsigned i = 0; i < 16; ++i) {
        const uint8_t* host = n.out.high.data() + 16 * i;
        const uint8_t* guest = g.out.high.data() + 16 * i;
        if (std::memcmp(host, guest, 16) != 0) *out += fmt::format("  ymm{} high: host {} interpreter {}\n", i, hex(host, 16), hex(guest, 16));
    }
}

}  // namespace

namespace {

Mask mask_of_mnemonic(const Form& form) {
    namespace rf = cpu::rflags;
    // x87: the pointers and opcode of the last instruction; AMD keeps them only with an exception pending (APM vol. 2, 11.4.4).
    // MXCSR_MASK: bit 17 is AMD's misaligned exception mode, which the guest's CPUID does not show.
    switch (form.mnemonic) {
        case ZYDIS_MNEMONIC_FNSTENV: return {0, {{6, 8}, {12, 16}}, true};
        case ZYDIS_MNEMONIC_FNSAVE: return {0, {{6, 8}, {12, 16}}, true};
        case ZYDIS_MNEMONIC_FLDENV: case ZYDIS_MNEMONIC_FRSTOR: return {0, {}, true};
        case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: case ZYDIS_MNEMONIC_XSAVE: case ZYDIS_MNEMONIC_XSAVE64:
            return {0, {{6, 18}, {28, 4}}, true};
        case ZYDIS_MNEMONIC_FXRSTOR: case ZYDIS_MNEMONIC_FXRSTOR64: case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64:
            return {0, {}, true};
        // SDM vol. 2, MASKMOVDQU: faults of bytes that are not stored are the implementation's.
        case ZYDIS_MNEMONIC_MASKMOVDQU: case ZYDIS_MNEMONIC_MASKMOVQ: case ZYDIS_MNEMONIC_VMASKMOVDQU: return {0, {}, true, false, true};
        // The host of these tests makes the transition to MMX state even where the instruction then faults.
        case ZYDIS_MNEMONIC_CVTPI2PS: case ZYDIS_MNEMONIC_CVTPS2PI: case ZYDIS_MNEMONIC_CVTTPS2PI: case ZYDIS_MNEMONIC_CVTPD2PI:
        case ZYDIS_MNEMONIC_CVTTPD2PI: case ZYDIS_MNEMONIC_EMMS:
            return {0, {}, false, false, true};
        case ZYDIS_MNEMONIC_DPPS: case ZYDIS_MNEMONIC_DPPD: case ZYDIS_MNEMONIC_VDPPS: case ZYDIS_MNEMONIC_VDPPD:
            return {0, {}, false, false, false, true};
        // SDM vol. 2: "undefined" flags of the decimal instructions, which no 64-bit host can be asked for.
        case ZYDIS_MNEMONIC_AAA: case ZYDIS_MNEMONIC_AAS: return {rf::OF | rf::SF | rf::ZF | rf::PF, {}};
        case ZYDIS_MNEMONIC_AAD: case ZYDIS_MNEMONIC_AAM: return {rf::OF | rf::AF | rf::CF, {}};
        case ZYDIS_MNEMONIC_DAA: case ZYDIS_MNEMONIC_DAS: return {rf::OF, {}};
        // A POPA that faults half-way has loaded some registers on AMD; the manual does not say.
        case ZYDIS_MNEMONIC_POPA: case ZYDIS_MNEMONIC_POPAD: return {0, {}, false, true};
        // SDM vol. 2, PUSH: of a 32-bit push of a segment register the upper half is written by some processors.
        case ZYDIS_MNEMONIC_PUSH: {
            const bool one = form.map == 0 && (form.opcode & 0xe7) == 0x06, two = form.map == 1;
            if (one || two) return {0, {{-2, 2}}};
            return {};
        }
        // AMD family 17h of these tests reads only the halves of the operand that count.
        case ZYDIS_MNEMONIC_VMOVDDUP: return {.unread_parts = true};
        case ZYDIS_MNEMONIC_CMPSB: case ZYDIS_MNEMONIC_CMPSW: case ZYDIS_MNEMONIC_CMPSD: case ZYDIS_MNEMONIC_CMPSQ: return {.either_fault = true};
        default: return {};
    }
}

}  // namespace

Mask mask_of(const Form& form, Mode mode) {
    Mask mask = mask_of_mnemonic(form);
    mask.unread_parts |= form.vex.present && mode == Mode::Segmented16;  // over a segment's end
    return mask;
}

void settle(const Case& test, bool branch, Outcome* native) {
    const bool segmented = test.mode == Mode::Segmented16;
    const uint64_t rip = native->out.rip, linear = rip + (segmented ? kCode : 0);
    if (!native->trapped || linear == test.at) return;
    if (!branch && linear != test.at + test.code.size()) return;
    const bool halt = native->trap.vector == 13 && native->trap.error == 0;   // the HLT that fills the page, or the limit of CS
    const bool unmapped = native->trap.vector == 14 && native->trap.address == linear && (native->trap.error & 0x10);
    if (!halt && !unmapped) return;
    native->trapped = false;
    native->trap = {};
}

bool comparable(const Mask& mask, const Outcome& n, const Outcome& g) {
    const bool refused = g.trapped && g.trap.vector >= 12 && g.trap.vector <= 14;
    return !(mask.unread_parts && refused && (!n.trapped || n.trap.vector == 14));
}

std::string differences(const Case& test, const Mask& mask, const Outcome& n, const Outcome& g) {
    std::string out;
    const auto seen_of = [&](Trap trap) {
        if (trap.vector == 14 && trap.address >= kHostOnly) trap.error &= ~1u;   // the host may have mapped something there
        if (mask.fault_offset) trap.address &= ~(kPage - 1);
        if (mask.either_fault && (trap.vector == 17 || (trap.vector >= 12 && trap.vector <= 14))) trap = {.vector = 14};
        return trap;
    };
    if (n.trapped != g.trapped || seen_of(n.trap) != seen_of(g.trap)) out += fmt::format("  fault: host {}; interpreter {}\n", trap_text(n), trap_text(g));
    if (n.out.rip != g.out.rip) out += fmt::format("  rip: host {:#x} interpreter {:#x}\n", n.out.rip, g.out.rip);
    // 32-bit code cannot see the upper halves and R8 to R15: undefined over a mode switch (SDM vol. 1, 3.4.1.1).
    const unsigned count = test.mode == Mode::Long ? 16 : 8;
    const uint64_t seen = test.mode == Mode::Long ? ~0ull : 0xffffffff;
    for (unsigned i = 0; i < count; ++i)
        if (((n.out.gpr[i] ^ g.out.gpr[i]) & seen) && !(mask.gprs_of_fault && n.trapped))
            out += fmt::format("  {}: host {:#x} interpreter {:#x} (was {:#x})\n", kGprNames[i], n.out.gpr[i], g.out.gpr[i], test.in.gpr[i]);
    const uint64_t flags = (n.out.rflags ^ g.out.rflags) & ~kNeverCompared & ~mask.rflags;
    if (flags) out += fmt::format("  rflags: host {:#x} interpreter {:#x} (differ in {:#x}, was {:#x})\n", n.out.rflags, g.out.rflags, flags, test.in.rflags);
    for (unsigned i = 0; i < 6; ++i)
        // The host's kernel may return through IRET in between, which makes any null selector 0.
        if ((n.out.selectors[i] | g.out.selectors[i]) > 3 && n.out.selectors[i] != g.out.selectors[i])
            out += fmt::format("  {}: host {:#x} interpreter {:#x}\n", kSegNames[i], n.out.selectors[i], g.out.selectors[i]);
    compare_fx(mask, n, g, &out);
    return out;
}

std::string window_differences(const Mask& mask, uint32_t operand, const uint8_t* native, const uint8_t* guest) {
    if (std::memcmp(native, guest, kWindowSize) == 0) return {};
    std::string out;
    unsigned shown = 0;
    for (uint32_t i = 0; i < kWindowSize; ++i) {
        if (native[i] == guest[i]) continue;
        bool allowed = false;
        const int distance = static_cast<int>(i) - static_cast<int>(operand);
        for (const auto& [offset, length] : mask.memory) allowed |= distance >= offset && distance < offset + length;
        if (!allowed && shown++ < 12) out += fmt::format("  memory {:#x}: host {:02x} interpreter {:02x}\n", kWindow + i, native[i], guest[i]);
    }
    return out;
}

std::string describe(const Case& test) {
    std::string out = fmt::format("  at {:#x}, flags {:#x}, {} mode\n  bytes", test.at, test.in.rflags, kModeNames[static_cast<int>(test.mode)]);
    for (const uint8_t byte : test.code) out += fmt::format(" {:02x}", byte);
    out += "\n ";
    for (unsigned i = 0; i < 16; ++i) out += fmt::format(" {}={:x}", kGprNames[i], test.in.gpr[i]);
    const uint8_t* fx = test.in.fx.data();
    out += fmt::format("\n  fcw={} fsw={} tags={} mxcsr={}\n ", hex(fx, 2), hex(fx + 2, 2), hex(fx + 4, 1), hex(fx + 24, 4));
    for (unsigned i = 0; i < 8; ++i) out += fmt::format(" st{}={}", i, hex(fx + 32 + 16 * i, 10));
    out += "\n ";
    for (unsigned i = 0; i < 16; ++i) out += fmt::format(" ymm{}={}:{}", i, hex(test.in.high.data() + 16 * i, 16), hex(fx + 160 + 16 * i, 16));
    for (const auto& [at, bytes] : test.pokes) out += fmt::format("\n  [{:#x}] = {}", kWindow + at, hex(bytes.data(), std::min<size_t>(bytes.size(), 64)));
    return out + "\n";
}

}  // namespace yado::oracle
