// An instruction that goes on in the next page: it stays decoded, and what happens to its second part is seen.
#include <gmock/gmock.h>

#include "bt_guest.h"
#include "cpu_interp/chain.h"

namespace yado::cpu_bt::test {
namespace {

using cpu_interp::test::kTables;

constexpr uint64_t kPages = 0x40'0000, kTable = 0x9000, kFrames = 0x60'0000;
constexpr uint64_t kStart = kPages + 4096 - 2;  ///< of ADD EAX, imm8 (83 C0 ib): the number is the next page's first byte

/// Pages of 4 KiB at kPages: `code` over the end of the first, from two bytes in front of it.
void load_crossing(cpu_interp::test::Guest& g, std::span<const std::byte> code) {
    g.store<uint64_t>(kTables + 0x2000 + 8 * (kPages >> 21), kTable | 7);
    for (uint64_t n = 0; n < 512; ++n) g.store<uint64_t>(kTable + 8 * n, (kFrames + n * kPageSize) | 7);
    g.load(kFrames + (kStart - kPages), code);
}

/// Control stayed in translated code, where blocks are chained at all (not with sanitizers).
void expect_translated(const BtGuest& g) {
    auto left = g.counted("left_by");
    if (cpu_interp::kChain) {
        EXPECT_LT(left["follow"] + left["untranslated_target"], 20u);
    }
}

TEST(Crossing, AnInstructionOverTwoPagesIsDecodedOnce) {
    GUEST_CODE(code, 64, "1: add $3, %eax; dec %ecx; jnz 1b; hlt");
    BtGuest g;
    load_crossing(g, code);
    cpu::CpuState s = BtGuest::long_mode(kStart);
    s.gpr[cpu::RCX] = 1000;
    EXPECT_EQ(g.run(s).gpr[cpu::RAX], 3000u);
    EXPECT_EQ(g.counted("code")["blocks_decoded"], 3u);  // it, what follows, HLT
    expect_translated(g);
}

TEST(Crossing, TheSecondPartMayHaveAnySize) {
    GUEST_CODE(code, 64, "1: movabs $0xfedcba98f6f4f210, %rdx; add %rdx, %rax; dec %ecx; jnz 1b; hlt");
    for (uint64_t second = 1; second < 10; ++second) {
        BtGuest g;
        load_crossing(g, {});
        const uint64_t before = 10 - second;  // bytes in the first page
        g.load(kFrames + kPageSize - before, code);
        cpu::CpuState s = BtGuest::long_mode(kPages + kPageSize - before);
        s.gpr[cpu::RCX] = 50;
        EXPECT_EQ(g.run(s).gpr[cpu::RAX], 50 * 0xfedcba98f6f4f210) << second;
        expect_translated(g);
    }
}

TEST(Crossing, AStoreIntoItsSecondPartIsSeen) {
    GUEST_CODE(code, 64, "1: add $3, %eax; incb (%rdi); dec %ecx; jnz 1b; hlt");
    BtGuest g;
    load_crossing(g, code);
    cpu::CpuState s = BtGuest::long_mode(kStart);
    s.gpr[cpu::RCX] = 5;
    s.gpr[cpu::RDI] = kPages + kPageSize;
    EXPECT_EQ(g.run(s).gpr[cpu::RAX], 3u + 4 + 5 + 6 + 7);
}

TEST(Crossing, AnotherSecondPageIsSeen) {
    GUEST_CODE(code, 64, "1: add $3, %eax; mov %rbx, (%rdi); invlpg (%rsi); dec %ecx; jnz 1b; hlt");
    BtGuest g;
    load_crossing(g, code);
    // the same code in another frame, with another number
    g.load(kFrames + 9 * kPageSize, code.subspan(2));
    g.store<uint8_t>(kFrames + 9 * kPageSize, 40);
    cpu::CpuState s = BtGuest::long_mode(kStart);
    s.gpr[cpu::RCX] = 3;
    s.gpr[cpu::RBX] = (kFrames + 9 * kPageSize) | 7;
    s.gpr[cpu::RDI] = kTable + 8;
    s.gpr[cpu::RSI] = kPages + kPageSize;
    EXPECT_EQ(g.run(s).gpr[cpu::RAX], 3u + 40 + 40);
}

TEST(Crossing, ASecondPageThatGoesAwayIsAPageFaultAtIt) {
    GUEST_CODE(code, 64, "1: mov (%r8), %rbx; add $8, %r8; mov %rbx, (%rdi); invlpg (%rsi); 2: add $3, %eax; jmp 1b");
    constexpr uint64_t kBefore = 13;  // bytes in front of the ADD
    BtGuest g;
    load_crossing(g, code);
    g.load(kFrames + (kStart - kPages) - kBefore, code);
    for (const uint64_t n : {0, 1, 2}) g.store<uint64_t>(kData + 8 * n, n == 2 ? 0 : (kFrames + kPageSize) | 7);
    cpu::CpuState s = BtGuest::long_mode(kStart - kBefore);
    s.gpr[cpu::R8] = kData;
    s.gpr[cpu::RDI] = kTable + 8;
    s.gpr[cpu::RSI] = kPages + kPageSize;
    ASSERT_TRUE(g.vcpus[0]->set_state(s));
    const cpu::Exit exit = g.vcpus[0]->run();  // no IDT: triple fault
    ASSERT_TRUE(std::holds_alternative<cpu::ShutdownRequest>(exit));
    EXPECT_EQ(std::get<cpu::ShutdownRequest>(exit).cause, cpu::ShutdownCause::TripleFault);
    EXPECT_EQ(g.vcpus[0]->get_state()->cr2, kPages + kPageSize);
    EXPECT_EQ(g.vcpus[0]->get_state()->gpr[cpu::RAX], 6u);
    EXPECT_EQ(g.vcpus[0]->get_state()->rip, kStart);
}

}  // namespace
}  // namespace yado::cpu_bt::test
