// A debugger outside of the guest over translated code: blocks are translated when they first run, and linked.
#include "cpu_bt/test_tier.h"
#include "cpu_interp/tier.h"
#include "unit/cpu_interp/guest.h"

namespace yado::cpu_bt {
namespace {

using namespace cpu_interp::test;
using enum cpu::DebugReason;

class TranslatedDebugTest : public testing::Test {
  protected:
    void load(std::span<const std::byte> code) {
        g.load(kCode, code);
        vcpu = &g.add_vcpu([](cpu_interp::Core& core) { return make_test_tier(core, FlagMode::Live, Linking::On); });
    }
    /// Up to the halt, with so much in RCX; then ready to run it again.
    void run_to_halt(uint64_t rcx) {
        begin(rcx);
        ASSERT_TRUE(std::holds_alternative<cpu::Halted>(vcpu->run()));
        begin(rcx);
    }
    void begin(uint64_t rcx) {
        auto s = Guest::long_mode();
        s.gpr[cpu::RCX] = rcx;
        s.gpr[cpu::RDI] = kData;
        ASSERT_TRUE(vcpu->set_state(s));
    }
    void expect_stop(cpu::DebugReason reason, uint64_t address) {
        const cpu::Exit exit = vcpu->run();
        const auto* stop = std::get_if<cpu::DebugStop>(&exit);
        ASSERT_TRUE(stop) << "exit " << exit.index();
        EXPECT_EQ(stop->reason, reason);
        EXPECT_EQ(stop->address.value(), address);
    }
    void watch(uint64_t at, cpu::WatchKind kind) {
        ASSERT_TRUE(vcpu->set_debug({.single_step = false, .breakpoints = {}, .watchpoints = {{GuestLinearAddr(at), Bytes(4), kind}}}));
    }
    cpu::CpuState state() { return *vcpu->get_state(); }

    Guest g;
    cpu::Vcpu* vcpu = nullptr;
};

TEST_F(TranslatedDebugTest, ABreakpointIsHitInALoopThatWasTranslatedAndLinkedBefore) {
    GUEST_CODE(code, 64, "1: add $3, %rax; test $1, %cl; jz 2f; inc %rbx; 2: dec %ecx; jnz 1b; hlt");
    load(code);
    run_to_halt(1000);
    ASSERT_TRUE(vcpu->set_debug({.single_step = false, .breakpoints = {GuestLinearAddr(kCode + 9)}, .watchpoints = {}}));  // inc %rbx
    expect_stop(Breakpoint, kCode + 9);
    EXPECT_EQ(state().gpr[cpu::RCX], 999u);
    EXPECT_EQ(state().gpr[cpu::RAX], 6u);
    ASSERT_TRUE(vcpu->set_debug({}));
    EXPECT_TRUE(std::holds_alternative<cpu::Halted>(vcpu->run()));
    EXPECT_EQ(state().gpr[cpu::RBX], 500u);
    EXPECT_EQ(state().gpr[cpu::RAX], 3000u);
}

TEST_F(TranslatedDebugTest, ABreakpointIsHitOnAPageThatIsReachedByALinkedJump) {
    GUEST_CODE(code, 64, "1: mov $0x11000, %edx; call *%rdx; dec %ecx; jnz 1b; hlt");
    GUEST_CODE(called, 64, "add %rcx, %rax; ret");
    g.load(kCode + 4096, called);
    load(code);
    run_to_halt(1000);
    ASSERT_TRUE(vcpu->set_debug({.single_step = false, .breakpoints = {GuestLinearAddr(kCode + 4096 + 3)}, .watchpoints = {}}));  // ret
    expect_stop(Breakpoint, kCode + 4096 + 3);
    EXPECT_EQ(state().gpr[cpu::RAX], 1000u);
    EXPECT_EQ(state().gpr[cpu::RSP], kStack - 8);
}

TEST_F(TranslatedDebugTest, AWatchpointStopsRightBehindTheInstructionOfATranslatedBlock) {
    GUEST_CODE(code, 64, "1: inc %eax; mov %eax, (%rdi,%rcx,4); add $5, %eax; addl $1, (%rdi,%rcx,4); dec %ecx; jnz 1b; hlt");
    load(code);
    run_to_halt(100);
    watch(kData + 4 * 40, cpu::WatchKind::Write);
    expect_stop(Watchpoint, kData + 4 * 40);
    EXPECT_EQ(state().gpr[cpu::RCX], 40u);
    EXPECT_EQ(state().gpr[cpu::RAX], 6u * 60 + 1);
    EXPECT_EQ(state().rip, kCode + 5);
    EXPECT_EQ(g.read<uint32_t>(kData + 4 * 40), 6u * 60 + 1);
    expect_stop(Watchpoint, kData + 4 * 40);
    EXPECT_EQ(state().rip, kCode + 12);
    EXPECT_EQ(g.read<uint32_t>(kData + 4 * 40), 6u * 60 + 2);
    EXPECT_TRUE(std::holds_alternative<cpu::Halted>(vcpu->run()));
    EXPECT_EQ(state().gpr[cpu::RAX], 600u);
    EXPECT_EQ(g.read<uint32_t>(kData + 4), 6u * 99 + 2);
}

TEST_F(TranslatedDebugTest, OfAccessesCloseTogetherTheOneThatIsWatchedStops) {
    GUEST_CODE(code, 64, "1: mov (%rdi), %rax; mov 8(%rdi), %rbx; mov %rcx, 16(%rdi); mov 24(%rdi), %rdx; dec %ecx; jnz 1b; hlt");
    load(code);
    run_to_halt(100);
    watch(kData + 16, cpu::WatchKind::Write);
    expect_stop(Watchpoint, kData + 16);
    EXPECT_EQ(state().rip, kCode + 11);
    EXPECT_EQ(state().gpr[cpu::RCX], 100u);
    watch(kData + 24, cpu::WatchKind::Access);
    expect_stop(Watchpoint, kData + 24);
    EXPECT_EQ(state().rip, kCode + 15);
    EXPECT_EQ(g.read<uint64_t>(kData + 16), 100u);
}

TEST_F(TranslatedDebugTest, AWatchedStackStopsACallAtItsTarget) {
    GUEST_CODE(code, 64, "1: call 2f; dec %ecx; jnz 1b; hlt; 2: inc %eax; ret");
    load(code);
    run_to_halt(100);
    watch(kStack - 8, cpu::WatchKind::Write);
    expect_stop(Watchpoint, kStack - 8);
    EXPECT_EQ(state().rip, kCode + 10);
    EXPECT_EQ(state().gpr[cpu::RSP], kStack - 8);
    watch(kStack - 8, cpu::WatchKind::Read);
    expect_stop(Watchpoint, kStack - 8);
    EXPECT_EQ(state().rip, kCode + 5);
    EXPECT_EQ(state().gpr[cpu::RSP], kStack);
}

TEST_F(TranslatedDebugTest, StepsLeaveTranslatedCodeAlone) {
    GUEST_CODE(code, 64, "1: inc %eax; dec %ecx; jnz 1b; hlt");
    load(code);
    run_to_halt(10);
    ASSERT_TRUE(vcpu->set_debug({.single_step = true, .breakpoints = {}, .watchpoints = {}}));
    for (const uint64_t next : {2, 4, 0, 2}) expect_stop(Step, kCode + next);
    EXPECT_EQ(state().gpr[cpu::RAX], 2u);
}

}  // namespace
}  // namespace yado::cpu_bt
