#include "compare.h"

#include <fmt/format.h>

#include <cstring>

namespace yado::oracle {

namespace {

constexpr const char* kGprNames[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                       "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr const char* kSegNames[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
// RF: set in the image that a fault pushes (SDM vol. 3, 17.3.1.1), which the host shows and step_raw has not pushed.
constexpr uint64_t kNeverCompared = 0x10000;

std::string hex(const uint8_t* bytes, size_t size) {
    std::string text;
    for (size_t i = size; i-- > 0;) text += fmt::format("{:02x}", bytes[i]);
    return text;
}

std::string trap_text(const Outcome& o) {
    if (!o.trapped) return "no fault";
    return fmt::format("vector {} error {:#x} address {:#x}", o.trap.vector, o.trap.error, o.trap.address);
}

void compare_fx(const Outcome& n, const Outcome& g, std::string* out) {
    const auto field = [&](const char* name, size_t offset, size_t size) {
        if (std::memcmp(n.out.fx.data() + offset, g.out.fx.data() + offset, size) == 0) return;
        *out += fmt::format("  {}: host {} interpreter {}\n", name, hex(n.out.fx.data() + offset, size), hex(g.out.fx.data() + offset, size));
    };
    field("fcw", 0, 2);
    field("fsw", 2, 2);
    field("tags", 4, 1);
    field("mxcsr", 24, 4);
    for (unsigned i = 0; i < 8; ++i) field(fmt::format("st{}", i).c_str(), 32 + 16 * i, 10);
    for (unsigned i = 0; i < 16; ++i) field(fmt::format("xmm{}", i).c_str(), 160 + 16 * i, 16);
}

}  // namespace

Mask mask_of(ZydisMnemonic mnemonic) {
    switch (mnemonic) {
        // The pointers and opcode of the last x87 instruction: addresses differ in nothing, but AMD does not save them.
        case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FNSAVE: return {0, {{6, 8}, {12, 16}}};
        case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: case ZYDIS_MNEMONIC_XSAVE: case ZYDIS_MNEMONIC_XSAVE64:
            return {0, {{6, 18}}};
        default: return {};
    }
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

std::string differences(const Case& test, const Mask& mask, const Outcome& n, const Outcome& g) {
    std::string out;
    if (n.trapped != g.trapped || n.trap != g.trap) out += fmt::format("  fault: host {}; interpreter {}\n", trap_text(n), trap_text(g));
    if (n.out.rip != g.out.rip) out += fmt::format("  rip: host {:#x} interpreter {:#x}\n", n.out.rip, g.out.rip);
    // 32-bit code cannot see the upper halves and R8 to R15: undefined over a mode switch (SDM vol. 1, 3.4.1.1).
    const unsigned count = test.mode == Mode::Long ? 16 : 8;
    const uint64_t seen = test.mode == Mode::Long ? ~0ull : 0xffffffff;
    for (unsigned i = 0; i < count; ++i)
        if ((n.out.gpr[i] ^ g.out.gpr[i]) & seen)
            out += fmt::format("  {}: host {:#x} interpreter {:#x} (was {:#x})\n", kGprNames[i], n.out.gpr[i], g.out.gpr[i], test.in.gpr[i]);
    const uint64_t flags = (n.out.rflags ^ g.out.rflags) & ~kNeverCompared & ~mask.rflags;
    if (flags) out += fmt::format("  rflags: host {:#x} interpreter {:#x} (differ in {:#x}, was {:#x})\n", n.out.rflags, g.out.rflags, flags, test.in.rflags);
    for (unsigned i = 0; i < 6; ++i)
        if (n.out.selectors[i] != g.out.selectors[i])
            out += fmt::format("  {}: host {:#x} interpreter {:#x}\n", kSegNames[i], n.out.selectors[i], g.out.selectors[i]);
    compare_fx(n, g, &out);
    return out;
}

std::string window_differences(const Mask& mask, uint32_t operand, const uint8_t* native, const uint8_t* guest) {
    if (std::memcmp(native, guest, kWindowSize) == 0) return {};
    std::string out;
    unsigned shown = 0;
    for (uint32_t i = 0; i < kWindowSize; ++i) {
        if (native[i] == guest[i]) continue;
        bool allowed = false;
        for (const auto& [offset, length] : mask.memory) allowed |= i - operand >= offset && i - operand < offset + length;
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
    for (unsigned i = 0; i < 16; ++i) out += fmt::format(" xmm{}={}", i, hex(fx + 160 + 16 * i, 16));
    for (const auto& [at, bytes] : test.pokes) out += fmt::format("\n  [{:#x}] = {}", kWindow + at, hex(bytes.data(), std::min<size_t>(bytes.size(), 64)));
    return out + "\n";
}

}  // namespace yado::oracle
