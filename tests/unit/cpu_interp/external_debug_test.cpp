// A debugger outside of the guest: where it makes the interpreter stop. The translator's side of it: unit_cpu_bt.
#include "guest.h"

namespace yado::cpu_interp::test {
namespace {

using enum cpu::DebugReason;

class ExternalDebugTest : public testing::Test {
  protected:
    void load(std::span<const std::byte> code, uint64_t at = kCode) {
        g.load(at, code);
        vcpu = &g.add_vcpu();
        ASSERT_TRUE(vcpu->set_state(Guest::long_mode(at)));
    }
    void set(cpu::DebugControl control) { ASSERT_TRUE(vcpu->set_debug(control)); }
    static cpu::DebugControl breakpoints(std::initializer_list<uint64_t> offsets) {
        cpu::DebugControl c;
        for (const uint64_t o : offsets) c.breakpoints.emplace_back(kCode + o);
        return c;
    }
    static cpu::DebugControl watch(uint64_t at, uint64_t size, cpu::WatchKind kind) { return {.single_step = false, .breakpoints = {}, .watchpoints = {{GuestLinearAddr(at), Bytes(size), kind}}}; }
    static cpu::DebugControl step() { return {.single_step = true, .breakpoints = {}, .watchpoints = {}}; }

    void expect_stop(cpu::DebugReason reason, uint64_t address) {
        const cpu::Exit exit = vcpu->run();
        const auto* stop = std::get_if<cpu::DebugStop>(&exit);
        ASSERT_TRUE(stop) << "exit " << exit.index();
        EXPECT_EQ(stop->reason, reason);
        EXPECT_EQ(stop->address.value(), address);
    }
    void expect_halt() { EXPECT_TRUE(std::holds_alternative<cpu::Halted>(vcpu->run())); }
    cpu::CpuState state() { return *vcpu->get_state(); }

    Guest g;
    cpu::Vcpu* vcpu = nullptr;
};

TEST_F(ExternalDebugTest, ABreakpointStopsBeforeItsInstructionAndAgainUntilItIsGone) {
    GUEST_CODE(code, 64, "mov $1, %eax; mov $2, %eax; hlt");
    load(code);
    set(breakpoints({5}));
    expect_stop(Breakpoint, kCode + 5);
    EXPECT_EQ(state().gpr[cpu::RAX], 1u);
    expect_stop(Breakpoint, kCode + 5);
    set({});
    expect_halt();
    EXPECT_EQ(state().gpr[cpu::RAX], 2u);
}

TEST_F(ExternalDebugTest, ABreakpointIsHitInCodeThatRanManyTimesBefore) {
    GUEST_CODE(code, 64, "mov $3, %ebx; 2: mov $1000, %ecx; 1: dec %ecx; jnz 1b; hlt; jmp 2b");
    load(code);
    expect_halt();
    set(breakpoints({10}));
    vcpu->kick();  // out of the halt: as an interrupt would
    auto s = state();
    s.activity = cpu::Activity::Running;
    ASSERT_TRUE(vcpu->set_state(s));
    EXPECT_TRUE(std::holds_alternative<cpu::Kicked>(vcpu->run()));
    expect_stop(Breakpoint, kCode + 10);
    EXPECT_EQ(state().gpr[cpu::RCX], 1000u);
}

TEST_F(ExternalDebugTest, ABreakpointInTheMiddleOfALoopIsHitEveryTime) {
    GUEST_CODE(code, 64, "mov $3, %ecx; 1: nop; dec %ecx; jnz 1b; hlt");
    load(code);
    for (unsigned left = 3; left > 0; --left) {
        set(breakpoints({6}));
        expect_stop(Breakpoint, kCode + 6);
        EXPECT_EQ(state().gpr[cpu::RCX], left);
        set(step());
        expect_stop(Step, kCode + 8);
    }
    set(breakpoints({6}));
    expect_halt();
}

TEST_F(ExternalDebugTest, OtherPagesRunInBlocksWithTheSameResult) {
    GUEST_CODE(code, 64, "mov $0x11000, %edx; mov $1000, %ecx; 1: call *%rdx; dec %ecx; jnz 1b; hlt");
    GUEST_CODE(called, 64, "add %rcx, %rax; ret");
    g.load(kCode + 4096, called);
    load(code);
    set(breakpoints({4096}));
    expect_stop(Breakpoint, kCode + 4096);
    set(breakpoints({4096 + 64}));  // never reached
    expect_halt();
    EXPECT_EQ(state().gpr[cpu::RAX], 500500u);
}

TEST_F(ExternalDebugTest, AStepIsOneInstructionIntoACallAndOverAHalt) {
    GUEST_CODE(code, 64, "call 1f; hlt; 1: ret");
    load(code);
    set(step());
    expect_stop(Step, kCode + 6);
    expect_stop(Step, kCode + 5);
    expect_stop(Step, kCode + 6);
    EXPECT_EQ(state().activity, cpu::Activity::Halted);
    expect_halt();
}

TEST_F(ExternalDebugTest, TheGuestSeesNoTrapFlagWhileItIsStepped) {
    GUEST_CODE(code, 64, "pushf; pop %rax; hlt");
    load(code);
    set(step());
    expect_stop(Step, kCode + 1);
    expect_stop(Step, kCode + 2);
    EXPECT_EQ(state().gpr[cpu::RAX] & cpu::rflags::TF, 0u);
}

TEST_F(ExternalDebugTest, AWriteToAWatchedPlaceStopsBehindTheInstruction) {
    GUEST_CODE(code, 64, "mov $0x100000, %edi; mov %edi, 8(%rdi); mov 16(%rdi), %eax; mov %edi, 16(%rdi); mov $7, %ebx; hlt");
    load(code);
    set(watch(kData + 16, 4, cpu::WatchKind::Write));
    expect_stop(Watchpoint, kData + 16);
    EXPECT_EQ(state().rip, kCode + 5 + 3 + 3 + 3);
    EXPECT_EQ(g.read<uint32_t>(kData + 16), kData);
    EXPECT_EQ(state().gpr[cpu::RBX], 0u);
    expect_halt();
    EXPECT_EQ(state().gpr[cpu::RBX], 7u);
    EXPECT_EQ(vcpu->instructions(), 6u);
}

TEST_F(ExternalDebugTest, ReadsAreWatchedApartFromWrites) {
    GUEST_CODE(code, 64, "mov $0x100000, %edi; mov %edi, (%rdi); mov (%rdi), %eax; incl (%rdi); hlt");
    load(code);
    set(watch(kData, 4, cpu::WatchKind::Read));
    expect_stop(Watchpoint, kData);
    EXPECT_EQ(state().rip, kCode + 9);
    expect_stop(Watchpoint, kData);
    EXPECT_EQ(g.read<uint32_t>(kData), kData + 1);
    expect_halt();
}

TEST_F(ExternalDebugTest, AnAccessThatOnlyTouchesTheWatchedBytesCountsWithTheFirstOfThem) {
    GUEST_CODE(code, 64, "mov $0x100000, %edi; mov %rdi, -4(%rdi); movups %xmm0, 1(%rdi); hlt");
    load(code);
    set(watch(kData + 2, 1, cpu::WatchKind::Access));
    expect_stop(Watchpoint, kData + 2);
    EXPECT_EQ(state().rip, kCode + 9);
    expect_stop(Watchpoint, kData + 2);
    expect_halt();
}

TEST_F(ExternalDebugTest, AWatchpointInALoopStopsInTheIterationThatTouchesIt) {
    GUEST_CODE(code, 64, "mov $0x100000, %edi; 1: movb $1, (%rdi); inc %rdi; cmp $0x100800, %edi; jne 1b; hlt");
    load(code);
    set(watch(kData + 0x345, 1, cpu::WatchKind::Write));
    expect_stop(Watchpoint, kData + 0x345);
    EXPECT_EQ(state().gpr[cpu::RDI], kData + 0x345);
    expect_halt();
}

TEST_F(ExternalDebugTest, AStringInstructionStopsAtTheWatchedElement) {
    GUEST_CODE(code, 64, "mov $0x100000, %edi; mov $0x1000, %ecx; mov $1, %eax; rep stosb; hlt");
    load(code);
    set(watch(kData + 0x100, 1, cpu::WatchKind::Write));
    expect_stop(Watchpoint, kData + 0x100);
    EXPECT_EQ(state().gpr[cpu::RDI], kData + 0x101);
    expect_halt();
    EXPECT_EQ(g.read<uint8_t>(kData + 0xfff), 1);
}

TEST_F(ExternalDebugTest, ALockedAccessToAWatchedPlaceIsDoneOnce) {
    GUEST_CODE(code, 64, "mov $0x100000, %edi; lock incl (%rdi); lock xadd %edi, (%rdi); hlt");
    load(code);
    set(watch(kData, 4, cpu::WatchKind::Write));
    expect_stop(Watchpoint, kData);
    EXPECT_EQ(g.read<uint32_t>(kData), 1u);
    expect_stop(Watchpoint, kData);
    EXPECT_EQ(g.read<uint32_t>(kData), kData + 1);
    expect_halt();
}

TEST_F(ExternalDebugTest, WatchpointsThatAreTakenAwayAreNotHit) {
    GUEST_CODE(code, 64, "mov $0x100000, %edi; 1: mov %edi, (%rdi); dec %ecx; jnz 1b; hlt");
    load(code);
    auto s = state();
    s.gpr[cpu::RCX] = 10;
    ASSERT_TRUE(vcpu->set_state(s));
    set(watch(kData, 4, cpu::WatchKind::Write));
    expect_stop(Watchpoint, kData);
    expect_stop(Watchpoint, kData);
    set({});
    expect_halt();
}

TEST_F(ExternalDebugTest, TheGuestsOwnBreakpointsStayItsOwn) {
    GUEST_CODE(code, 64, "mov $0x100000, %edi; mov %edi, (%rdi); mov $1, %ebx; hlt");
    load(code);
    auto s = state();
    s.dr[0] = kData;
    s.dr7 = 0x400 | 1 | 1 << 16;  // its own watchpoint: #DB, with no IDT a triple fault
    ASSERT_TRUE(vcpu->set_state(s));
    set(watch(kData, 4, cpu::WatchKind::Write));
    EXPECT_TRUE(std::holds_alternative<cpu::ShutdownRequest>(vcpu->run()));
    EXPECT_EQ(state().dr6 & 0xf, 1u);
}

TEST_F(ExternalDebugTest, ABreakpointInRealModeIsAtItsLinearAddress) {
    GUEST_CODE(code, 16, "mov $1, %ax; mov $2, %ax; hlt");
    g.load(0x12340, code);
    vcpu = &g.add_vcpu();
    auto s = Guest::real_mode(0x40);
    s.seg[cpu::CS].selector = 0x1230;
    s.seg[cpu::CS].base = 0x12300;
    ASSERT_TRUE(vcpu->set_state(s));
    set({.single_step = false, .breakpoints = {GuestLinearAddr(0x12343)}, .watchpoints = {}});
    expect_stop(Breakpoint, 0x12343);
    EXPECT_EQ(state().gpr[cpu::RAX] & 0xffff, 1u);
}

}  // namespace
}  // namespace yado::cpu_interp::test
