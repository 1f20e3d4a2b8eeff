// Instructions against the host CPU. Each test takes a group of instruction forms; each form runs YADO_ORACLE_COUNT times
// (default below) with random operands and state, natively and by the interpreter, and every bit that an instruction can
// see or change is compared. YADO_ORACLE_SEED repeats a run; a failure prints bytes, disassembly, state and differences.
#include <algorithm>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "choices.h"
#include "compare.h"
#include "guest.h"
#include "native.h"

namespace yado::oracle {
namespace {

constexpr uint64_t kDefaultSeed = 20240229;
constexpr uint64_t kDefaultCount = 20;
constexpr unsigned kReported = 12;     ///< failing forms printed in full a test

/// Not where a difference that is allowed goes on into the next instruction, nor POPF, which could set TF.
bool fits_in_block(const Form& form) {
    const Mask mask = mask_of(form, Mode::Long);
    const bool popf = form.map == 0 && form.opcode == 0x9d;
    return mask.memory.empty() && !mask.rflags && !mask.fault_offset && !mask.x87_of_fault && !mask.staged && !popf;
}

/// AMD's misaligned exception mode (MXCSR bit 17) was switched on: the guest's CPUID does not show it, so that it has to refuse.
bool misaligned_mode(const Outcome& host) { return host.out.fx[26] & 2; }

/// VPCMPxSTRx, which AMD family 17h executes whatever VEX.W and vvvv are, and behind legacy prefixes; the manual has #UD (SDM vol. 2, 2.6).
bool host_reads_no_prefix(const std::vector<uint8_t>& code) {
    const auto vex = std::ranges::find(code, 0xc4);
    return code.end() - vex > 3 && (vex[1] & 31) == 3 && (vex[3] & 0xfc) == 0x60;
}

/// What of a long operand is looked at first, which decides the fault at a page's edge; and bit strings, which reach far.
bool may_differ_at_edges(const Form& form) {
    switch (form.mnemonic) {
    case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_BTS: case ZYDIS_MNEMONIC_BTR: case ZYDIS_MNEMONIC_BTC: case ZYDIS_MNEMONIC_POP:
    case ZYDIS_MNEMONIC_VMOVDDUP: return true;
    default: return false;
    }
}

class Oracle : public testing::Test {
  protected:
    static Native& native() {
        static Native instance;
        return instance;
    }
    static Guest& guest(Runner runner) {
        static const Segments host{native().runs(Mode::Flat32), native().runs(Mode::Segmented16)};
        static Guest guests[] = {Guest(Runner::Interpreter, host), Guest(Runner::Strict, host), Guest(Runner::Live, host)};
        return guests[static_cast<int>(runner)];
    }
    Guest& guest() { return guest(runner_); }
    static Generator& generator(Mode mode) {
        static Generator generators[] = {Generator(Mode::Long), Generator(Mode::Flat32), Generator(Mode::Segmented16)};
        return generators[static_cast<int>(mode)];
    }

    void SetUp() override {
        seed_ = environment("YADO_ORACLE_SEED", kDefaultSeed);
        count_ = environment("YADO_ORACLE_COUNT", kDefaultCount);
        Random random(seed_ ^ 0x5eed);
        for (uint64_t i = 0; i < kWindowSize; ++i) native().window()[i] = static_cast<uint8_t>(random.next());
        for (const Runner runner : {Runner::Interpreter, Runner::Strict, Runner::Live})
            std::memcpy(guest(runner).window(), native().window(), kWindowSize);
    }

    void poke(const Case& test) {
        for (const auto& [at, bytes] : test.pokes) {
            std::memcpy(native().window() + at, bytes.data(), bytes.size());
            std::memcpy(guest().window() + at, bytes.data(), bytes.size());
        }
    }

    /// The differences of one case, or nothing.
    std::string run(const Case& test, const Mask& mask, bool branch) {
        poke(test);
        std::memcpy(before_.data(), native().window(), kWindowSize);
        const Outcome interpreted = guest().run(test);
        std::string result;
        for (unsigned attempt = 0; attempt < kHostAttempts; ++attempt) {
            std::memcpy(native().window(), before_.data(), kWindowSize);
            result = run_native(test, mask, branch, interpreted);
            if (result.empty()) break;
        }
        if (const auto shorter = result.empty() ? std::nullopt : up_to_store(test, interpreted)) {
            for (uint8_t* window : {native().window(), guest().window()}) std::memcpy(window, before_.data(), kWindowSize);
            return run(*shorter, mask, branch);
        }
        std::memcpy(guest().window(), native().window(), kWindowSize);
        ++cases_;
        return result;
    }

    /// A block in which the host may go on where the interpreter faults, cut behind that instruction: up to there it is compared.
    static std::optional<Case> up_to_store(const Case& test, const Outcome& interpreted) {
        size_t end = 0;
        const auto last = generator(test.mode).last_of(test, interpreted, &end);
        if (!last || !may_go_on(*last, interpreted) || end == test.code.size()) return std::nullopt;
        Case shorter = test;
        shorter.code.resize(end);
        return shorter;
    }


    std::string run_native(const Case& test, const Mask& mask, bool branch, Outcome interpreted) {
        Outcome host = native().run(test);
        settle(test, branch, &host);
        size_t end = 0;
        if (const auto last = generator(test.mode).last_of(test, interpreted, &end))
            settle_choice(test, *last, host, native().window(), &interpreted, guest().window());
        if (runner_ == Runner::Live && interpreted.trapped) interpreted.out.rflags = host.out.rflags;
        std::string result = differences(test, mask, host, interpreted);
        result += window_differences(mask, test.pokes.empty() ? 0 : test.pokes.front().first, native().window(), guest().window());
        return misaligned_mode(host) || !comparable(mask, host, interpreted) ? "" : result;
    }

    void run_form(Mode mode, const Form& form, Random& random) {
        for (uint64_t i = 0; i < count_; ++i) {
            std::optional<Case> test;
            for (unsigned attempt = 0; attempt < 50 && !test; ++attempt) test = generator(mode).make(form, random);
            if (!test) continue;
            const std::string difference = run(*test, mask_of(form, mode), form.group == Group::Branch);
            if (!difference.empty()) report(mode, ZydisMnemonicGetString(form.mnemonic), *test, difference);
        }
    }

    /// Counts a failing case; prints the first of each name in full.
    void report(Mode mode, const std::string& name, const Case& test, const std::string& difference) {
        if (failures_[fmt::format("{} {}", kModeNames[static_cast<int>(mode)], name)]++ || failures_.size() > kReported) return;
        ADD_FAILURE() << generator(mode).disassemble(test) << "\n" << difference << describe(test);
    }

    void run_gathers(Mode mode, Runner runner = Runner::Interpreter) {
        count_ *= 20;   // few forms, many ways
        run_group(mode, Group::Gather, runner);
    }

    void run_group(Mode mode, Group group, Runner runner = Runner::Interpreter) {
        if (!native().runs(mode)) GTEST_SKIP() << "the host's kernel runs no " << kModeNames[static_cast<int>(mode)] << " code";
        if (group == Group::Segment && !keeps_segment_bases()) GTEST_SKIP() << "the host's kernel does not keep FS bases";
        runner_ = runner;
        Random random(seed_ + static_cast<uint64_t>(group) * 3 + static_cast<uint64_t>(mode));
        const std::vector<Form> forms = generator(mode).forms(group);
        ASSERT_FALSE(forms.empty());
        for (const Form& form : forms) run_form(mode, form, random);
        finish(fmt::format("{} forms", forms.size()));
    }

    /// VEX instructions with something in their prefix that makes them none.
    void run_invalid(Mode mode) {
        if (!native().runs(mode)) GTEST_SKIP() << "the host's kernel runs no " << kModeNames[static_cast<int>(mode)] << " code";
        Random random(seed_ + 2000 + static_cast<uint64_t>(mode));
        for (const Group group : {Group::Crypto, Group::Bmi, Group::Avx, Group::Avx2, Group::Fma, Group::Gather})
            for (const Form& form : generator(mode).forms(group)) {
                if (!form.vex.present) continue;
                for (uint64_t i = 0; i < count_; ++i) {
                    const std::optional<Case> test = generator(mode).make_invalid(form, random);
                    if (test && host_reads_no_prefix(test->code)) continue;
                    const std::string difference = test ? run(*test, mask_of(form, mode), false) : "";
                    if (!difference.empty()) report(mode, ZydisMnemonicGetString(form.mnemonic), *test, difference);
                }
            }
        finish("invalid VEX");
    }

    std::vector<Form> block_forms() {
        std::vector<Form> forms;
        for (const Group group : {Group::Integer, Group::Stack, Group::X87, Group::Mmx, Group::Sse, Group::Sse2, Group::Sse3, Group::Sse4,
                                  Group::Crypto, Group::Bmi, Group::Avx, Group::Avx2, Group::Fma})
            for (const Form& form : generator(Mode::Long).forms(group))
                if (fits_in_block(form)) forms.push_back(form);
        return forms;
    }

    /// Random straight-line blocks: what a single instruction's test cannot see, state carried from one to the next.
    void run_blocks(Runner runner) {
        run_blocks(runner, block_forms(), [&](const std::vector<Form>& forms, Random& random) {
            return generator(Mode::Long).make_block(forms, random, 2 + static_cast<unsigned>(random.below(7)));
        });
    }

    void run_close_blocks(Runner runner) {
        std::vector<Form> forms = block_forms();
        std::erase_if(forms, may_differ_at_edges);
        run_blocks(runner, forms, [&](const std::vector<Form>& chosen, Random& random) {
            return generator(Mode::Long).make_close_block(chosen, random, 2 + static_cast<unsigned>(random.below(12)));
        });
    }

    /// Blocks of x87, MMX and SSE: state in host registers from one instruction to the next, aliases, faults in between.
    void run_fpu_blocks(Runner runner) {
        std::vector<Form> forms;
        for (const Group group : {Group::X87, Group::X87, Group::Mmx, Group::Sse, Group::Sse2})
            for (const Form& form : generator(Mode::Long).forms(group))
                if (fits_in_block(form)) forms.push_back(form);
        run_blocks(runner, forms, [&](const std::vector<Form>& chosen, Random& random) {
            const auto length = 2 + static_cast<unsigned>(random.below(10));
            return random.one_in(2) ? generator(Mode::Long).make_block(chosen, random, length)
                                    : generator(Mode::Long).make_close_block(chosen, random, length);
        });
    }

    template <typename Make>
    void run_blocks(Runner runner, const std::vector<Form>& forms, Make make) {
        runner_ = runner;
        Random random(seed_ + 1000);
        for (uint64_t i = 0; i < count_ * 500; ++i) {
            const std::optional<Case> test = make(forms, random);
            if (!test) continue;
            const std::string difference = run(*test, {}, false);
            if (difference.empty()) continue;
            report(Mode::Long, fmt::format("block of {}", test->instructions), *test, difference);
        }
        finish("blocks");
    }

    void finish(const std::string& what) {
        fmt::print("  {}, {} cases, seed {}\n", what, cases_, seed_);
        std::string list;
        for (const auto& [name, count] : failures_) list += fmt::format(" {}:{}", name, count);
        EXPECT_TRUE(failures_.empty()) << "seed " << seed_ << "; failing cases by mnemonic:" << list;
    }

    /// See keeps_segment_bases().
    static constexpr unsigned kHostAttempts = 3;

    std::array<uint8_t, kWindowSize> before_{};   ///< the window, for the next attempt
    Runner runner_ = Runner::Interpreter;
    uint64_t seed_ = 0, count_ = 0, cases_ = 0;
    std::map<std::string, unsigned> failures_;
};

TEST_F(Oracle, Integer) { run_group(Mode::Long, Group::Integer); }
TEST_F(Oracle, String) { run_group(Mode::Long, Group::String); }
TEST_F(Oracle, Stack) { run_group(Mode::Long, Group::Stack); }
TEST_F(Oracle, Branch) { run_group(Mode::Long, Group::Branch); }
TEST_F(Oracle, X87) { run_group(Mode::Long, Group::X87); }
TEST_F(Oracle, Mmx) { run_group(Mode::Long, Group::Mmx); }
TEST_F(Oracle, Sse) { run_group(Mode::Long, Group::Sse); }
TEST_F(Oracle, Sse2) { run_group(Mode::Long, Group::Sse2); }
TEST_F(Oracle, Sse3) { run_group(Mode::Long, Group::Sse3); }
TEST_F(Oracle, Sse4) { run_group(Mode::Long, Group::Sse4); }
TEST_F(Oracle, State) { run_group(Mode::Long, Group::State); }
TEST_F(Oracle, Privileged) { run_group(Mode::Long, Group::Privileged); }
TEST_F(Oracle, Segment) { run_group(Mode::Long, Group::Segment); }
TEST_F(Oracle, Crypto) { run_group(Mode::Long, Group::Crypto); }
TEST_F(Oracle, Bmi) { run_group(Mode::Long, Group::Bmi); }
TEST_F(Oracle, Avx) { run_group(Mode::Long, Group::Avx); }
TEST_F(Oracle, Avx2) { run_group(Mode::Long, Group::Avx2); }
TEST_F(Oracle, Fma) { run_group(Mode::Long, Group::Fma); }
TEST_F(Oracle, Gather) { run_gathers(Mode::Long); }

TEST_F(Oracle, CryptoTranslated) { run_group(Mode::Long, Group::Crypto, Runner::Strict); }
TEST_F(Oracle, BmiTranslated) { run_group(Mode::Long, Group::Bmi, Runner::Strict); }
TEST_F(Oracle, AvxTranslated) { run_group(Mode::Long, Group::Avx, Runner::Strict); }
TEST_F(Oracle, Avx2Translated) { run_group(Mode::Long, Group::Avx2, Runner::Strict); }
TEST_F(Oracle, FmaTranslated) { run_group(Mode::Long, Group::Fma, Runner::Strict); }
TEST_F(Oracle, GatherTranslated) { run_gathers(Mode::Long, Runner::Strict); }

TEST_F(Oracle, IntegerTranslated) { run_group(Mode::Long, Group::Integer, Runner::Strict); }
TEST_F(Oracle, StringTranslated) { run_group(Mode::Long, Group::String, Runner::Strict); }
TEST_F(Oracle, StackTranslated) { run_group(Mode::Long, Group::Stack, Runner::Strict); }
TEST_F(Oracle, BranchTranslated) { run_group(Mode::Long, Group::Branch, Runner::Strict); }
TEST_F(Oracle, X87Translated) { run_group(Mode::Long, Group::X87, Runner::Strict); }
TEST_F(Oracle, MmxTranslated) { run_group(Mode::Long, Group::Mmx, Runner::Strict); }
TEST_F(Oracle, SseTranslated) { run_group(Mode::Long, Group::Sse, Runner::Strict); }
TEST_F(Oracle, Sse2Translated) { run_group(Mode::Long, Group::Sse2, Runner::Strict); }
TEST_F(Oracle, Sse3Translated) { run_group(Mode::Long, Group::Sse3, Runner::Strict); }
TEST_F(Oracle, Sse4Translated) { run_group(Mode::Long, Group::Sse4, Runner::Strict); }
TEST_F(Oracle, StateTranslated) { run_group(Mode::Long, Group::State, Runner::Strict); }
TEST_F(Oracle, PrivilegedTranslated) { run_group(Mode::Long, Group::Privileged, Runner::Strict); }
TEST_F(Oracle, SegmentTranslated) { run_group(Mode::Long, Group::Segment, Runner::Strict); }

TEST_F(Oracle, IntegerIn32BitCode) { run_group(Mode::Flat32, Group::Integer); }
TEST_F(Oracle, StringIn32BitCode) { run_group(Mode::Flat32, Group::String); }
TEST_F(Oracle, StackIn32BitCode) { run_group(Mode::Flat32, Group::Stack); }
TEST_F(Oracle, BranchIn32BitCode) { run_group(Mode::Flat32, Group::Branch); }
TEST_F(Oracle, X87In32BitCode) { run_group(Mode::Flat32, Group::X87); }
TEST_F(Oracle, MmxIn32BitCode) { run_group(Mode::Flat32, Group::Mmx); }
TEST_F(Oracle, SseIn32BitCode) { run_group(Mode::Flat32, Group::Sse); }
TEST_F(Oracle, Sse2In32BitCode) { run_group(Mode::Flat32, Group::Sse2); }
TEST_F(Oracle, Sse3In32BitCode) { run_group(Mode::Flat32, Group::Sse3); }
TEST_F(Oracle, Sse4In32BitCode) { run_group(Mode::Flat32, Group::Sse4); }
TEST_F(Oracle, StateIn32BitCode) { run_group(Mode::Flat32, Group::State); }
TEST_F(Oracle, PrivilegedIn32BitCode) { run_group(Mode::Flat32, Group::Privileged); }
TEST_F(Oracle, SegmentIn32BitCode) { run_group(Mode::Flat32, Group::Segment); }
TEST_F(Oracle, CryptoIn32BitCode) { run_group(Mode::Flat32, Group::Crypto); }
TEST_F(Oracle, BmiIn32BitCode) { run_group(Mode::Flat32, Group::Bmi); }
TEST_F(Oracle, AvxIn32BitCode) { run_group(Mode::Flat32, Group::Avx); }
TEST_F(Oracle, Avx2In32BitCode) { run_group(Mode::Flat32, Group::Avx2); }
TEST_F(Oracle, FmaIn32BitCode) { run_group(Mode::Flat32, Group::Fma); }
TEST_F(Oracle, GatherIn32BitCode) { run_gathers(Mode::Flat32); }

TEST_F(Oracle, IntegerIn16BitCode) { run_group(Mode::Segmented16, Group::Integer); }
TEST_F(Oracle, StringIn16BitCode) { run_group(Mode::Segmented16, Group::String); }
TEST_F(Oracle, StackIn16BitCode) { run_group(Mode::Segmented16, Group::Stack); }
TEST_F(Oracle, BranchIn16BitCode) { run_group(Mode::Segmented16, Group::Branch); }
TEST_F(Oracle, X87In16BitCode) { run_group(Mode::Segmented16, Group::X87); }
TEST_F(Oracle, StateIn16BitCode) { run_group(Mode::Segmented16, Group::State); }
TEST_F(Oracle, PrivilegedIn16BitCode) { run_group(Mode::Segmented16, Group::Privileged); }
TEST_F(Oracle, SegmentIn16BitCode) { run_group(Mode::Segmented16, Group::Segment); }
TEST_F(Oracle, BmiIn16BitCode) { run_group(Mode::Segmented16, Group::Bmi); }
TEST_F(Oracle, AvxIn16BitCode) { run_group(Mode::Segmented16, Group::Avx); }
TEST_F(Oracle, Avx2In16BitCode) { run_group(Mode::Segmented16, Group::Avx2); }

TEST_F(Oracle, InvalidVex) { run_invalid(Mode::Long); }
TEST_F(Oracle, InvalidVexIn32BitCode) { run_invalid(Mode::Flat32); }
TEST_F(Oracle, InvalidVexIn16BitCode) { run_invalid(Mode::Segmented16); }

TEST_F(Oracle, X87TranslatedWithLiveFlags) { run_group(Mode::Long, Group::X87, Runner::Live); }
TEST_F(Oracle, MmxTranslatedWithLiveFlags) { run_group(Mode::Long, Group::Mmx, Runner::Live); }

TEST_F(Oracle, FpuBlocks) { run_fpu_blocks(Runner::Interpreter); }
TEST_F(Oracle, FpuBlocksTranslated) { run_fpu_blocks(Runner::Strict); }
TEST_F(Oracle, FpuBlocksTranslatedWithLiveFlags) { run_fpu_blocks(Runner::Live); }
TEST_F(Oracle, CloseBlocks) { run_close_blocks(Runner::Interpreter); }
TEST_F(Oracle, CloseBlocksTranslated) { run_close_blocks(Runner::Strict); }
TEST_F(Oracle, CloseBlocksTranslatedWithLiveFlags) { run_close_blocks(Runner::Live); }
TEST_F(Oracle, Blocks) { run_blocks(Runner::Interpreter); }
TEST_F(Oracle, BlocksTranslated) { run_blocks(Runner::Strict); }
TEST_F(Oracle, BlocksTranslatedWithLiveFlags) { run_blocks(Runner::Live); }

}  // namespace
}  // namespace yado::oracle
