// System instructions in translated code: what the oracle, which runs at CPL 3, cannot show.
#include <gmock/gmock.h>

#include "bt_guest.h"

namespace yado::cpu_bt::test {
namespace {

using testing::Contains;
using testing::Key;
using testing::Not;

TEST(System, SwapgsChangesTheBaseOfLaterAccesses) {
    GUEST_CODE(code, 64, R"(mov $0xc0000101, %ecx; mov $0x100000, %eax; xor %edx, %edx; wrmsr; inc %ecx; mov $0x100100, %eax; wrmsr; jmp 1f
        1: mov %gs:0, %r8; mov %gs:8, %r9; swapgs; mov %gs:0, %r12; mov %gs:8, %r13; swapgs; mov %gs:8, %rbx; hlt)");
    BtGuest g;
    for (uint64_t n = 0; n < 0x200; n += 8) g.store<uint64_t>(kData + n, n);
    const cpu::CpuState s = g.run_code(code);
    EXPECT_EQ(s.gpr[cpu::R8], 0u);
    EXPECT_EQ(s.gpr[cpu::R9], 8u);
    EXPECT_EQ(s.gpr[cpu::R12], 0x100u);
    EXPECT_EQ(s.gpr[cpu::R13], 0x108u);
    EXPECT_EQ(s.gpr[cpu::RBX], 8u);
    EXPECT_EQ(s.seg[cpu::GS].base, kData);
    EXPECT_THAT(g.counted("interpreted"), Not(Contains(Key("swapgs"))));
}

TEST(System, TheTimeStampCounterGoesOnAndHasTheGuestsOffset) {
    GUEST_CODE(code, 64, R"(mov $0x10, %ecx; xor %eax, %eax; mov $1, %edx; wrmsr; jmp 1f
        1: rdtsc; shl $32, %rdx; or %rdx, %rax; mov %rax, %rsi; rdtscp; shl $32, %rdx; or %rdx, %rax; mov %rax, %rdi; hlt)");
    BtGuest g;
    const cpu::CpuState s = g.run_code(code);
    EXPECT_GE(s.gpr[cpu::RSI], 1ull << 32);
    EXPECT_GE(s.gpr[cpu::RDI], s.gpr[cpu::RSI]);
    EXPECT_LT(s.gpr[cpu::RDI], 1ull << 40);  // the host's own may be anything
    EXPECT_EQ(s.gpr[cpu::RCX], 0u);          // IA32_TSC_AUX
    EXPECT_THAT(g.counted("interpreted"), Not(Contains(Key("rdtsc"))));
}

TEST(System, SelectorsAreRead) {
    GUEST_CODE(code, 64, "mov $-1, %rax; mov $-1, %r10; mov $-1, %rdx; mov %cs, %eax; mov %ss, %r10; mov %ds, %dx; hlt");
    BtGuest g;
    const cpu::CpuState s = g.run_code(code);
    EXPECT_EQ(s.gpr[cpu::RAX], 0x08u);
    EXPECT_EQ(s.gpr[cpu::R10], 0x10u);
    EXPECT_EQ(s.gpr[cpu::RDX], 0xffff'ffff'ffff'0010u);
    EXPECT_THAT(g.counted("interpreted"), testing::IsEmpty());
}

}  // namespace
}  // namespace yado::cpu_bt::test
