// A debugger outside of a guest on the real /dev/kvm.
#include "kvm_fixture.h"

namespace yado::cpu_kvm {
namespace {

using enum cpu::DebugReason;

class KvmDebugTest : public KvmTest {
  protected:
    void begin(const Code& code) {
        load(kCode, code);
        ASSERT_TRUE(vcpu_->set_state(long_mode_state()));
    }
    void set(const cpu::DebugControl& control) {
        const auto r = vcpu_->set_debug(control);
        ASSERT_TRUE(r) << r.error().message();
    }
    static cpu::DebugControl step() { return {.single_step = true, .breakpoints = {}, .watchpoints = {}}; }
    void expect_stop(cpu::DebugReason reason, uint64_t address) {
        const cpu::Exit exit = vcpu_->run();
        const auto* stop = std::get_if<cpu::DebugStop>(&exit);
        ASSERT_TRUE(stop) << text(exit);
        EXPECT_EQ(stop->reason, reason);
        EXPECT_EQ(stop->address.value(), address);
    }
    uint64_t gpr(cpu::Gpr r) { return vcpu_->get_state()->gpr[r]; }
    uint64_t rip() { return vcpu_->get_state()->rip; }
};

// 64-bit code; RSI is 6000H.
const Code kProgram = {
    0xb8, 1, 0, 0, 0,        // 1000 mov $1, %eax
    0x89, 0x06,              // 1005 mov %eax, (%rsi)
    0x8b, 0x1e,              // 1007 mov (%rsi), %ebx
    0xe6, 0x80,              // 1009 out %al, $0x80      ends run()
};

TEST_F(KvmDebugTest, StepsAreSingleInstructionsAndOnesOfIoToo) {
    begin(kProgram);
    set(step());
    expect_stop(Step, 0x1005);
    EXPECT_EQ(gpr(cpu::RAX), 1u);
    expect_stop(Step, 0x1007);
    expect_stop(Step, 0x1009);
    EXPECT_EQ(gpr(cpu::RBX), 1u);
    expect_stop(Step, 0x100b);
    ASSERT_EQ(devices_.port_writes.size(), 1u);
}

TEST_F(KvmDebugTest, WithoutTheDebuggerTheGuestRunsOn) {
    begin(kProgram);
    set(step());
    expect_stop(Step, 0x1005);
    set({});
    EXPECT_EQ(text(vcpu_->run()), "kicked");
    EXPECT_EQ(vcpu_->get_state()->rflags & cpu::rflags::TF, 0u);
}

TEST_F(KvmDebugTest, RegistersMayBeChangedBetweenSteps) {
    begin(kProgram);
    set(step());
    expect_stop(Step, 0x1005);
    auto s = *vcpu_->get_state();
    EXPECT_EQ(s.rflags & cpu::rflags::TF, 0u);
    s.gpr[cpu::RAX] = 9;
    ASSERT_TRUE(vcpu_->set_state(s));
    set(step());
    expect_stop(Step, 0x1007);
    EXPECT_EQ(*memory_.load<uint32_t>(GuestPhysAddr(0x6000)), 9u);
}

TEST_F(KvmDebugTest, MoreThanFourAreRefusedAndWhatWasThereStays) {
    begin(kProgram);
    set(step());
    cpu::DebugControl five;
    for (uint64_t n = 0; n < 5; ++n) five.breakpoints.emplace_back(0x1000 + n);
    EXPECT_FALSE(vcpu_->set_debug(five));
    expect_stop(Step, 0x1005);
}

/// Not in the lab, whose emulated processor loads debug registers for its guests without arming them (test_lab.py).
TEST_F(KvmDebugTest, ABreakpointStopsBeforeItsInstructionAndAgainUntilItIsGone) {
    begin(kProgram);
    set({.single_step = false, .breakpoints = {GuestLinearAddr(0x1007)}, .watchpoints = {}});
    expect_stop(Breakpoint, 0x1007);
    expect_stop(Breakpoint, 0x1007);
    EXPECT_EQ(rip(), 0x1007u);
    EXPECT_EQ(gpr(cpu::RBX), 0u);
    set({});
    EXPECT_EQ(text(vcpu_->run()), "kicked");
    EXPECT_EQ(gpr(cpu::RBX), 1u);
}

/// In ring 3, which even a KVM that interprets ring 0 runs on the processor.
class KvmDebugRegistersTest : public KvmDebugTest {
  protected:
    void begin_in_ring_3(const Code& code) {
        load(kCode, code);
        cpu::CpuState s = long_mode_state();
        ASSERT_TRUE(memory_.store<uint64_t>(GuestPhysAddr(0x20000), 0x21007));
        ASSERT_TRUE(memory_.store<uint64_t>(GuestPhysAddr(0x21000), 0x22007));
        ASSERT_TRUE(memory_.store<uint64_t>(GuestPhysAddr(0x22000), 0x87));
        s.seg[cpu::CS] = {.selector = 0x2b, .attr = 0xa0fb, .limit = ~0u, .base = 0};
        s.seg[cpu::SS] = {.selector = 0x23, .attr = 0xc0f3, .limit = ~0u, .base = 0};
        s.rflags |= cpu::rflags::IOPL;
        ASSERT_TRUE(vcpu_->set_state(s));
    }
    /// Whether the processor arms its debug registers for guests: virtual ones may not.
    bool has_debug_registers() {
        begin_in_ring_3(kProgram);
        set({.single_step = false, .breakpoints = {GuestLinearAddr(0x1007)}, .watchpoints = {}});
        return std::holds_alternative<cpu::DebugStop>(vcpu_->run());
    }
};

TEST_F(KvmDebugRegistersTest, AnAccessToAWatchedPlaceStopsBehindTheInstruction) {
    if (!has_debug_registers()) GTEST_SKIP() << "this processor arms no debug registers for guests";
    begin_in_ring_3(kProgram);
    set({.single_step = false, .breakpoints = {}, .watchpoints = {{GuestLinearAddr(0x6002), Bytes(1), cpu::WatchKind::Access}}});
    expect_stop(Watchpoint, 0x6002);
    EXPECT_EQ(rip(), 0x1007u);
    expect_stop(Watchpoint, 0x6002);
    EXPECT_EQ(rip(), 0x1009u);
    EXPECT_EQ(text(vcpu_->run()), "kicked");
}

TEST_F(KvmDebugRegistersTest, TheGuestsOwnTrapFlagIsStillTheGuests) {
    begin_in_ring_3({0x9c, 0x80, 0x4c, 0x24, 0x01, 0x01, 0x9d, 0x90, 0x90});  // pushf; orb $1, 1(%rsp); popf; nop; nop
    set({.single_step = false, .breakpoints = {GuestLinearAddr(0x2000)}, .watchpoints = {}});
    const cpu::Exit exit = vcpu_->run();  // without an IDT its #DB is a triple fault
    EXPECT_TRUE(std::holds_alternative<cpu::ShutdownRequest>(exit)) << text(exit);
}

}  // namespace
}  // namespace yado::cpu_kvm
