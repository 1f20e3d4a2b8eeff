// Random bytes executed at CPL 0 and 3, by the interpreter and by the translator, through faults and their handlers: registers, flags,
// memory, devices asked and the way it ended have to be the same. Each case has a random source of its own: YADO_FUZZ_CASE runs one alone.
#include <Zydis/Zydis.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>

#include "code.h"

namespace yado::execute {
namespace {

using oracle::environment;

constexpr uint64_t kDefaultSeed = 8086, kDefaultCount = 15'000;
constexpr unsigned kReported = 5, kDoubts = 20;
constexpr const char* kEnds[] = {"halted", "triple fault", "failed", "endless"};
constexpr const char* kGprNames[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};

template <typename T>
void compare(std::string& out, std::string_view name, const T& one, const T& other) {
    if (one != other) out += fmt::format("  {}: interpreter {:#x}, translator {:#x}\n", name, one, other);
}

void compare_segments(std::string& out, const cpu::CpuState& one, const cpu::CpuState& other) {
    for (unsigned n = 0; n < 6; ++n)
        if (one.seg[n] != other.seg[n]) out += fmt::format("  segment {}: {:#x}/{:#x} and {:#x}/{:#x}\n", n, one.seg[n].selector, one.seg[n].attr, other.seg[n].selector, other.seg[n].attr);
    if (one.tr != other.tr || one.ldtr != other.ldtr || one.gdtr != other.gdtr || one.idtr != other.idtr) out += "  descriptor tables\n";
}

void compare_state(std::string& out, const cpu::CpuState& one, const cpu::CpuState& other) {
    for (unsigned n = 0; n < 16; ++n) compare(out, kGprNames[n], one.gpr[n], other.gpr[n]);
    compare(out, "rip", one.rip, other.rip);
    compare(out, "rflags", one.rflags, other.rflags);
    compare_segments(out, one, other);
    compare(out, "cr0", one.cr0, other.cr0);
    compare(out, "cr2", one.cr2, other.cr2);
    compare(out, "cr3", one.cr3, other.cr3);
    compare(out, "cr4", one.cr4, other.cr4);
    compare(out, "efer", one.efer, other.efer);
    compare(out, "xcr0", one.xcr0, other.xcr0);
    compare(out, "dr6", one.dr6, other.dr6);
    compare(out, "dr7", one.dr7, other.dr7);
    for (unsigned n = 0; n < 4; ++n) compare(out, "dr0 to dr3", one.dr[n], other.dr[n]);
    for (const auto& [number, value] : one.msrs)
        if (number != cpu::msr::IA32_TSC && number != cpu::msr::IA32_TSC_ADJUST) compare(out, fmt::format("msr {:#x}", number), value, other.msrs.contains(number) ? other.msrs.at(number) : ~value);
    for (unsigned n = 0; n < one.xsave.bytes.size(); ++n)
        compare(out, fmt::format("xsave byte {}", n), one.xsave.bytes[n], other.xsave.bytes[n]);
}

/// One line a difference; empty: they agree.
std::string differences(const Outcome& one, const Outcome& other) {
    std::string out;
    if (one.end != other.end) out += fmt::format("  end: interpreter {} {}, translator {} {}\n", kEnds[static_cast<int>(one.end)], one.failure, kEnds[static_cast<int>(other.end)], other.failure);
    compare(out, "device accesses", one.accesses, other.accesses);
    compare(out, "device accesses' sum", one.access_hash, other.access_hash);
    compare_state(out, one.state, other.state);
    for (size_t n = 0, told = 0; n < one.ram.size() && told < 20; ++n)
        if (one.ram[n] != other.ram[n]) compare(out, fmt::format("memory at {:#x}", n), static_cast<unsigned>(one.ram[n]), static_cast<unsigned>(other.ram[n])), ++told;
    return out;
}

std::string disassemble(const Case& test) {
    std::string out;
    ZydisDisassembledInstruction insn;
    for (size_t at = 0; at < test.code.size();) {
        const bool known = ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, test.at + at, test.code.data() + at, test.code.size() - at, &insn));
        const size_t length = known ? insn.info.length : 1;
        out += fmt::format("  {:#x}:", test.at + at);
        for (size_t n = 0; n < length; ++n) out += fmt::format(" {:02x}", test.code[at + n]);
        out += fmt::format("   {}\n", known ? insn.text : "?");
        at += length;
    }
    return out;
}

std::string describe(const Case& test) {
    std::string out = fmt::format("  CPL {}, rip {:#x}, rflags {:#x}, cr0 {:#x}, cr4 {:#x}, xcr0 {:#x}, dr0 {:#x}, dr7 {:#x}\n ", test.ring == Ring::User ? 3 : 0, test.state.rip,
                                  test.state.rflags, test.state.cr0, test.state.cr4, test.state.xcr0, test.state.dr[0], test.state.dr7);
    for (unsigned n = 0; n < 16; ++n) out += fmt::format(" {} {:#x}", kGprNames[n], test.state.gpr[n]);
    return out + "\n" + disassemble(test);
}

class Execute : public testing::Test {
  protected:
    Case make(uint64_t index) {
        oracle::Random random(seed_ + index * 0x9e3779b97f4a7c15);
        random.next();
        return make_case(random, interpreter_);
    }

    void check(uint64_t index) {
        const Case test = make(index);
        const Outcome one = interpreter_.run(test, Requests::Many), other = translator_.run(test, Requests::Many);
        ++ends_[static_cast<int>(one.end)];
        kicks_ += other.kicks;
        if (one.end == End::Endless || other.end == End::Endless) return;
        const std::string difference = differences(one, other);
        if (difference.empty()) return;
        if (interpreter_.tables_changed(one) || translator_.tables_changed(other)) ++undecided_;
        else judge(index, test, difference, interpreter_.code_changed(test, one) || translator_.code_changed(test, other));
    }

    /// Code that reads the time or random numbers does not agree with itself. Nor does code that has overwritten itself while requests
    /// came: a REP instruction that one interrupts is fetched anew, and how far it had come by then is another matter each time.
    void judge(uint64_t index, const Case& test, std::string difference, bool overwritten) {
        const Outcome quiet = interpreter_.run(test, Requests::None);
        const std::string without_requests = differences(quiet, translator_.run(test, Requests::None));
        if (without_requests.empty()) difference = "  only with requests\n" + difference;
        else difference = without_requests;
        if ((without_requests.empty() && overwritten) || disagrees_with_itself(test, quiet, without_requests.empty() ? Requests::Many : Requests::None)) {
            ++undecided_;
            return;
        }
        if (++failures_ <= kReported) ADD_FAILURE() << fmt::format("YADO_FUZZ_SEED={} YADO_FUZZ_CASE={}\n", seed_, index) << difference << describe(test);
    }

    bool disagrees_with_itself(const Case& test, const Outcome& quiet, Requests requests) {
        for (unsigned n = 0; n < kDoubts; ++n)
            if (!differences(quiet, interpreter_.run(test, requests)).empty()) return true;
        return false;
    }

    uint64_t seed_ = environment("YADO_FUZZ_SEED", kDefaultSeed);
    Machine interpreter_{Runner::Interpreter}, translator_{Runner::Translator};
    uint64_t ends_[4] = {}, kicks_ = 0, undecided_ = 0, failures_ = 0;
};

TEST_F(Execute, InterpreterAndTranslatorAgreeOnRandomCode) {
    const uint64_t one = environment("YADO_FUZZ_CASE", ~0ull);
    if (one != ~0ull) return check(one);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(environment("YADO_FUZZ_SECONDS", 0));
    uint64_t index = 0;
    const uint64_t count = environment("YADO_FUZZ_COUNT", kDefaultCount);
    while (index < count || std::chrono::steady_clock::now() < end) check(index++);
    fmt::print("  {} cases, seed {}: {} halted, {} triple faults, {} refused, {} endless, {} undecided, {} kicks; {} instructions by the interpreter\n", index, seed_, ends_[0], ends_[1],
               ends_[2], ends_[3], undecided_, kicks_, interpreter_.vcpu().instructions());
    EXPECT_EQ(failures_, 0u);
    EXPECT_LT(undecided_, index / 20) << "too much that depends on time";
    EXPECT_LT(ends_[2], index / 100) << "states that are refused";
}

}  // namespace
}  // namespace yado::execute
