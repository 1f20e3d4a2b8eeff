#include <gmock/gmock.h>

#include "bt_guest.h"

namespace yado::cpu_bt::test {
namespace {

using testing::Contains;
using testing::Key;
using testing::Pair;

TEST(TierStats, InterpretedInstructionsAreCountedByMnemonic) {
    GUEST_CODE(code, 64, "mov $10, %esi; 1: cpuid; mov %eax, %ebx; dec %esi; jnz 1b; inc %ebx; hlt");
    BtGuest g;
    g.run_code(code);
    EXPECT_THAT(g.counted("interpreted"), Contains(Pair("cpuid", 10)));
    EXPECT_THAT(g.counted("left_at"), Contains(Pair("hlt", 1)));
}

TEST(TierStats, AnInterpretedStringInstructionIsNamedWithItsRepeat) {
    GUEST_CODE(code, 64, "mov $0x100000, %edi; mov $3, %ecx; xor %eax, %eax; std; rep stosq; cld; hlt");
    BtGuest g;
    g.run_code(code);
    EXPECT_THAT(g.counted("interpreted"), Contains(Pair("rep stosq", 1)));
}

TEST(TierStats, BlocksAndBytesOfCodeAreCounted) {
    GUEST_CODE(code, 64, "xor %eax, %eax; jmp 1f; 1: inc %eax; hlt");
    BtGuest g;
    const uint64_t empty = g.counted("code_cache")["used"];
    g.run_code(code);
    EXPECT_THAT(g.counted("code"), Contains(Pair("blocks_decoded", 2)));
    EXPECT_THAT(g.counted("translator"), Contains(Pair("blocks_translated", 2)));
    EXPECT_GT(g.counted("code_cache")["used"], empty);
}

TEST(TierStats, TlbMissesAreCountedByTheirOutcome) {
    GUEST_CODE(code, 64, "mov $0x100000, %esi; mov (%rsi), %eax; mov (%rsi), %eax; mov $0x3f000000, %esi; mov (%rsi), %eax; hlt");
    BtGuest g;
    g.load(kCode, code);
    cpu::CpuState s = BtGuest::long_mode();
    ASSERT_TRUE(g.vcpus[0]->set_state(s));
    g.vcpus[0]->run();  // the last load's page is not mapped, and there is no IDT: triple fault
    EXPECT_THAT(g.counted("tlb_misses"), testing::ElementsAre(Pair("faults", 1), Pair("filled", 1), Pair("refused", 0)));
    EXPECT_THAT(g.counted("left_by"), Contains(Pair("fault", 1)));
}

TEST(TierStats, TimeIsSplitOnlyForThoseWhoAskForIt) {
    GUEST_CODE(code, 64, "mov $1000, %ecx; 1: in $0x80, %al; dec %ecx; jnz 1b; hlt");
    BtGuest timed({.warm = 1}, true), plain;
    timed.run_code(code);
    plain.run_code(code);
    for (const char* doing : {"translated", "translation", "interpreter", "devices"}) EXPECT_GT(timed.counted("time")[doing], 0u) << doing;
    for (const cpu::StatGroup& group : plain.vcpus[0]->stats()) EXPECT_NE(group.name, "time");
}

TEST(InstructionCounts, NamesTellMemoryFromRegistersAndOperandSizes) {
    InstructionCounts counts;
    cpu_interp::Insn i{};
    i.mode = static_cast<uint8_t>(cpu_interp::CodeMode::Bits64);
    i.map = Map::Of;
    i.opcode = 0x01;
    i.opsize = 4;
    i.modrm = 0xf8;  // 0F 01 F8
    counts.add(i);
    i.mem = true;
    i.modrm = 0x38;  // 0F 01 /7 with a memory operand
    counts.add(i);
    i.modrm = 0x3b;
    counts.add(i);
    i = {.opsize = 8, .opcode = 0xcf, .mode = i.mode};
    counts.add(i);
    i = {.opsize = 8, .opcode = 0x8e, .modrm = 0xd8, .mode = i.mode};
    counts.add(i);
    EXPECT_THAT(counts.by_mnemonic(), testing::ElementsAre(Pair("invlpg", 2), Pair("iretq", 1), Pair("mov segment", 1), Pair("swapgs", 1)));
}

TEST(InstructionCounts, VexInstructionsHaveTheirOwnNames) {
    InstructionCounts counts;
    cpu_interp::Insn i{};
    i.mode = static_cast<uint8_t>(cpu_interp::CodeMode::Bits64);
    i.opsize = 4;
    i.map = Map::Of38;
    i.opcode = 0xf7;
    i.mandatory = Mandatory::PF2;
    i.modrm = 0xc1;
    i.vex = true;
    counts.add(i);
    i.map = Map::Of;
    i.opcode = 0x58;
    i.vex_l = true;
    i.mandatory = Mandatory::P66;
    counts.add(i);
    EXPECT_THAT(counts.by_mnemonic(), testing::ElementsAre(Pair("shrx", 1), Pair("vaddpd", 1)));
}

TEST(InstructionCounts, ATableThatIsFullCountsTheRestTogether) {
    InstructionCounts counts;
    cpu_interp::Insn i{};
    i.mode = static_cast<uint8_t>(cpu_interp::CodeMode::Bits64);
    i.opsize = 4;
    for (const Map map : {Map::One, Map::Of, Map::Of38, Map::Of3A})
        for (unsigned opcode = 0; opcode < 256; ++opcode)
            for (unsigned reg = 0; reg < 8; ++reg) {
                i.map = map;
                i.opcode = static_cast<uint8_t>(opcode);
                i.modrm = static_cast<uint8_t>(reg << 3);
                counts.add(i);
            }
    uint64_t sum = 0;
    for (const auto& [name, count] : counts.by_mnemonic()) sum += count;
    EXPECT_EQ(sum, 4u * 256 * 8);
    EXPECT_THAT(counts.by_mnemonic(), Contains(Key("others")));
}

}  // namespace
}  // namespace yado::cpu_bt::test
