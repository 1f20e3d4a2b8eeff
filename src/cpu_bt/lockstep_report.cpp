#include "cpu_bt/lockstep_report.h"

#include <Zydis/Zydis.h>
#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace yado::cpu_bt {

namespace {

constexpr const char* kGprNames[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};

std::string flags_text(uint16_t aflags) {
    namespace h = cpu_interp::hflags;
    constexpr std::pair<uint16_t, const char*> kNames[] = {{h::CF, "CF"}, {h::PF, "PF"}, {h::AF, "AF"}, {h::ZF, "ZF"}, {h::SF, "SF"}, {h::OF, "OF"}};
    std::string text;
    for (const auto& [bit, name] : kNames)
        if (aflags & bit) text += text.empty() ? name : std::string(" ") + name;
    return text.empty() ? "-" : text;
}

std::string hex(const std::byte* bytes, size_t size) {
    std::string text;
    for (size_t n = size; n-- > 0;) text += fmt::format("{:02x}", static_cast<uint8_t>(bytes[n]));
    return text;
}

// --- the block ----------------------------------------------------------------------------------------------------------------

std::string disassembled(uint64_t rip, const uint8_t* bytes, size_t size) {
    ZydisDisassembledInstruction text;
    if (ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, rip, bytes, size, &text))) return text.text;
    return "?";
}

std::string block_text(Core& core, const cpu_interp::Block& block, unsigned compared) {
    std::array<uint8_t, cpu_interp::kMaxBlockBytes + 16> code{};
    const auto known = std::as_writable_bytes(std::span(code)).first(std::min<size_t>(block.bytes, code.size()));
    (void)core.wiring.memory.read(GuestPhysAddr(block.gpa), known);
    std::string text;
    for (unsigned n = 0; n < block.count; ++n) {
        const cpu_interp::Insn& i = block.insn[n];
        const uint8_t* bytes = code.data() + i.offset;
        const uint64_t rip = core.block_rip + i.offset;
        text += fmt::format("  {} {:#x}  {:<32}{}\n", n < compared ? '=' : ' ', rip,
                            fmt::format("{:02x}", fmt::join(bytes, bytes + i.length, "")), disassembled(rip, bytes, i.length));
    }
    return text;
}

// --- what differs ---------------------------------------------------------------------------------------------------------------

void add_row(std::string& text, std::string_view name, const std::string& before, const std::string& translator, const std::string& interpreter) {
    if (translator != interpreter) text += fmt::format("    {:<8} before {}\n             translator  {}\n             interpreter {}\n", name, before, translator, interpreter);
}

void add_registers(std::string& text, const Difference& d) {
    const auto row = [&](std::string_view name, uint64_t b, uint64_t t, uint64_t i) {
        add_row(text, name, fmt::format("{:016x}", b), fmt::format("{:016x}", t), fmt::format("{:016x}", i));
    };
    for (unsigned n = 0; n < 16; ++n) row(kGprNames[n], d.before.gpr[n], d.translator.gpr[n], d.interpreter.gpr[n]);
    if (d.rip) row("rip", d.before.rip, d.translator.rip, d.interpreter.rip);
    row("rflags", d.before.sysflags, d.translator.sysflags, d.interpreter.sysflags);
    add_row(text, "flags", flags_text(d.before.aflags), flags_text(d.translator.aflags), flags_text(d.interpreter.aflags));
}

/// FXSAVE's layout (SDM vol. 1, table 10-2), then the upper halves.
void add_fpu(std::string& text, const Difference& d) {
    const auto row = [&](const std::string& name, size_t at, size_t size) {
        add_row(text, name, hex(&d.before.fpu[at], size), hex(&d.translator.fpu[at], size), hex(&d.interpreter.fpu[at], size));
    };
    row("fcw", 0, 2), row("fsw", 2, 2), row("ftw", 4, 2), row("fop", 6, 2), row("fip", 8, 8), row("fdp", 16, 8), row("mxcsr", 24, 4), row("mask", 28, 4);
    for (unsigned n = 0; n < 8; ++n) row(fmt::format("st{}", n), 32 + 16 * n, 16);
    for (unsigned n = 0; n < 16; ++n) row(fmt::format("xmm{}", n), 160 + 16 * n, 16);
    for (unsigned n = 0; n < 16; ++n) row(fmt::format("ymm{}h", n), 416 + 16 * n, 16);
}

void add_memory(std::string& text, const Difference& d) {
    constexpr size_t kMostShown = 64;
    for (size_t n = 0; n < std::min(d.memory.size(), kMostShown); ++n) {
        const MemoryDifference& m = d.memory[n];
        text += fmt::format("    byte at {:#x}: before {:02x} translator {:02x} interpreter {:02x}\n", m.linear, m.before, m.translator, m.interpreter);
    }
    if (d.memory.size() > kMostShown) text += fmt::format("    and {} bytes more\n", d.memory.size() - kMostShown);
}

std::string before_text(const Registers& r) {
    std::string text;
    for (unsigned n = 0; n < 16; ++n) text += fmt::format("    {:<3} {:016x}{}", kGprNames[n], r.gpr[n], n % 4 == 3 ? "\n" : "");
    return text + fmt::format("    flags {}, rflags {:#x}, mxcsr {}\n", flags_text(r.aflags), r.sysflags, hex(&r.fpu[24], 4));
}

}  // namespace

std::string report_of(Core& core, const cpu_interp::Block& block, unsigned compared, const Difference& d) {
    std::string text = fmt::format("lock-step: translator and interpreter differ in the block at {:#x} (guest-physical {:#x}, CPL {})\n", core.block_rip,
                                   block.gpa, core.cpl);
    text += block_text(core, block, compared);
    text += "  differences after the instructions marked =:\n";
    if (!d.interpreter_raised.empty()) text += fmt::format("    the interpreter met {}\n", d.interpreter_raised);
    add_registers(text, d);
    add_fpu(text, d);
    add_memory(text, d);
    text += "  before the block:\n" + before_text(d.before);
    text.pop_back();
    return text;
}

}  // namespace yado::cpu_bt
