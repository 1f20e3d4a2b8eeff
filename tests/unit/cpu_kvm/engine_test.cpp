// The KVM engine runs small real-mode programs: exits reach the devices, interrupts reach the guest.
#include "cpu_kvm/engine.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "kvm_fixture.h"

namespace yado::cpu_kvm {
namespace {

using cpu::Kicked;
using Ports = std::vector<std::pair<uint16_t, uint64_t>>;

class KvmEngine : public KvmTest {};

TEST_F(KvmEngine, RoutesPortAccessesToTheDevices) {
    devices_.ports[0x3f8] = 0x5a;
    // mov dx,3f8h; mov al,'A'; out dx,al; in al,dx; out 80h,al; jmp $
    const auto exit = run({0xba, 0xf8, 0x03, 0xb0, 0x41, 0xee, 0xec, 0xe6, 0x80, 0xeb, 0xfe});
    EXPECT_EQ(text(exit), "kicked");
    EXPECT_EQ(devices_.port_writes, (Ports{{0x3f8, 0x41}, {0x80, 0x5a}}));
}

TEST_F(KvmEngine, WritesEveryElementOfAStringToThePort) {
    load(0x2000, {1, 2, 3, 4});
    // mov si,2000h; mov cx,4; mov dx,10h; cld; rep outsb; out 80h,al; jmp $
    const auto exit = run({0xbe, 0, 0x20, 0xb9, 4, 0, 0xba, 0x10, 0, 0xfc, 0xf3, 0x6e, 0xe6, 0x80, 0xeb, 0xfe});
    EXPECT_EQ(text(exit), "kicked");
    ASSERT_EQ(devices_.port_writes.size(), 5u);
    EXPECT_EQ(devices_.port_writes[3], (std::pair<uint16_t, uint64_t>{0x10, 4}));
}

TEST_F(KvmEngine, RoutesMemoryOutsideRamToTheDevices) {
    // mov ax,d000h; mov ds,ax; mov word [10h],1234h; mov ax,[20h]; out 80h,ax; jmp $
    const auto exit = run({0xb8, 0, 0xd0, 0x8e, 0xd8, 0xc7, 0x06, 0x10, 0, 0x34, 0x12, 0xa1, 0x20, 0, 0xe7, 0x80, 0xeb, 0xfe});
    EXPECT_EQ(text(exit), "kicked");
    EXPECT_EQ(devices_.mmio_writes, (std::vector<Devices::Write>{{0xd0010, 2, 0x1234}}));
    EXPECT_EQ(devices_.port_writes, (Ports{{0x80, 0x7788}}));
}

TEST_F(KvmEngine, TurnsWritesToRomIntoDeviceWrites) {
    // mov ax,f000h; mov ds,ax; mov word [10h],1234h; out 80h,al; jmp $
    const auto exit = run({0xb8, 0, 0xf0, 0x8e, 0xd8, 0xc7, 0x06, 0x10, 0, 0x34, 0x12, 0xe6, 0x80, 0xeb, 0xfe});
    EXPECT_EQ(text(exit), "kicked");
    EXPECT_EQ(devices_.mmio_writes.size(), 1u);
    EXPECT_EQ(*memory_.load<uint16_t>(GuestPhysAddr(0xf0010)), 0);
}

TEST_F(KvmEngine, CompletesTheAccessBeforeItReturnsFromAKick) {
    devices_.ports[0x80] = 0x77;
    // out 80h,al; jmp $
    run({0xe6, 0x80, 0xeb, 0xfe});
    const auto state = vcpu_->get_state();
    ASSERT_TRUE(state);
    EXPECT_EQ(state->rip, kCode + 2);
}

TEST_F(KvmEngine, ReturnsFromASpinWhenKickedByAnotherThread) {
    std::jthread kicker;
    kicker = std::jthread([this] { vcpu_->kick(); });
    EXPECT_EQ(text(run({0xeb, 0xfe})), "kicked");
    kicker = std::jthread([this] { vcpu_->kick(); });
    EXPECT_EQ(text(vcpu_->run()), "kicked");
}

TEST_F(KvmEngine, RemembersAKickThatCameBeforeItRan) {
    vcpu_->kick();
    EXPECT_EQ(text(run({0xeb, 0xfe})), "kicked");
}

TEST_F(KvmEngine, ReportsATripleFault) {
    cpu::CpuState s = start_state();
    s.cr0 |= cpu::cr0::PE;
    s.seg[cpu::CS] = {.selector = 8, .attr = 0xc09b, .limit = ~0u, .base = 0};
    s.seg[cpu::SS] = s.seg[cpu::DS] = s.seg[cpu::ES] = {.selector = 16, .attr = 0xc093, .limit = ~0u, .base = 0};
    s.idtr.limit = 0;
    const auto exit = run({0x0f, 0x0b}, s);  // ud2
    ASSERT_TRUE(std::holds_alternative<cpu::ShutdownRequest>(exit)) << text(exit);
    EXPECT_EQ(std::get<cpu::ShutdownRequest>(exit).cause, cpu::ShutdownCause::TripleFault) << text(exit);
}

TEST_F(KvmEngine, DeliversMessageSignalledInterrupts) {
    set_vector(0x40, kHandler);
    load(kHandler, {0xb0, 0x40, 0xe6, 0x80, 0xcf});  // mov al,40h; out 80h,al; iret
    load(kCode, {0xfb, 0x90, 0xeb, 0xfe});           // sti; nop; jmp $
    ASSERT_TRUE(vcpu_->set_state(start_state()));
    engine_->send_msi(GuestPhysAddr(0xfee00000), 0x4040);
    EXPECT_EQ(text(vcpu_->run()), "kicked");
    EXPECT_EQ(devices_.port_writes, (Ports{{0x80, 0x40}}));
}

TEST_F(KvmEngine, WakesAHaltedGuestByAMessage) {
    set_vector(0x40, kHandler);
    load(kHandler, {0xe6, 0x80, 0xcf});
    load(kCode, {0xfb, 0xf4, 0xeb, 0xfd});  // sti; hlt; jmp hlt
    ASSERT_TRUE(vcpu_->set_state(start_state()));
    const std::jthread sender([this] { engine_->send_msi(GuestPhysAddr(0xfee00000), 0x4040); });
    EXPECT_EQ(text(vcpu_->run()), "kicked");
    EXPECT_EQ(devices_.port_writes.size(), 1u);
}

TEST_F(KvmEngine, DeliversThePicsInterrupt) {
    set_vector(0x30, kHandler);
    load(kHandler, {0xb0, 0x30, 0xe6, 0x80, 0xcf});
    pic_.vector = 0x30;
    EXPECT_EQ(text(run({0xfb, 0x90, 0xeb, 0xfe})), "kicked");
    EXPECT_EQ(devices_.port_writes, (Ports{{0x80, 0x30}}));
    EXPECT_FALSE(pic_.pending());
}

TEST_F(KvmEngine, LeavesThePicsInterruptPendingWhileTheGuestRefusesIt) {
    pic_.vector = 0x30;
    EXPECT_EQ(text(run({0xfa, 0xe6, 0x80, 0xeb, 0xfe})), "kicked");  // cli; out 80h,al
    EXPECT_TRUE(pic_.pending());
}

TEST_F(KvmEngine, ReportsTheEndOfALevelInterrupt) {
    std::vector<uint8_t> ends;
    engine_->on_eoi([&](uint8_t vector) {
        ends.push_back(vector);
        vcpu_->kick();
    });
    const uint32_t data = 0x41 | 1u << 14 | 1u << 15;
    engine_->ioapic_route(5, cpu::RouteMessage{GuestPhysAddr(0xfee00000), data});
    set_vector(0x41, kHandler);
    // mov dword [0b0h],0 (DS: the APIC's page); iret
    load(kHandler, {0x66, 0xc7, 0x06, 0xb0, 0, 0, 0, 0, 0, 0xcf});
    cpu::CpuState s = start_state();
    s.seg[cpu::DS].base = 0xfee00000;
    load(kCode, {0xfb, 0x90, 0xeb, 0xfe});
    ASSERT_TRUE(vcpu_->set_state(s));
    engine_->send_msi(GuestPhysAddr(0xfee00000), data);
    EXPECT_EQ(text(vcpu_->run()), "kicked");
    EXPECT_EQ(ends, std::vector<uint8_t>{0x41});
}

TEST_F(KvmEngine, SignalsADoorbellInsteadOfCallingTheDevice) {
    const Fd event(eventfd(0, EFD_NONBLOCK));
    ASSERT_TRUE(engine_->attach_doorbell(GuestPhysAddr(0xd0010), event.get()));
    // mov ax,d000h; mov ds,ax; mov word [10h],1; out 80h,al; jmp $
    run({0xb8, 0, 0xd0, 0x8e, 0xd8, 0xc7, 0x06, 0x10, 0, 1, 0, 0xe6, 0x80, 0xeb, 0xfe});
    uint64_t count = 0;
    EXPECT_EQ(::read(event.get(), &count, sizeof count), 8);
    EXPECT_TRUE(devices_.mmio_writes.empty());
    engine_->detach_doorbell(GuestPhysAddr(0xd0010), event.get());
}

TEST_F(KvmEngine, AddsItsOwnWritesToTheDirtyLog) {
    memory_.set_dirty_log(true);
    ASSERT_TRUE(engine_->sync_dirty_log());
    memory_.harvest_dirty();
    run({0xc7, 0x06, 0, 0x50, 1, 0, 0xe6, 0x80, 0xeb, 0xfe});  // mov word [5000h],1; out 80h,al
    ASSERT_TRUE(engine_->sync_dirty_log());
    const auto pages = memory_.harvest_dirty();
    EXPECT_NE(std::ranges::find(pages, 5u), pages.end());
    EXPECT_EQ(std::ranges::find(pages, 6u), pages.end());
}

// Natively where the processor runs ring 0, by the interpreter where an emulator lacks the instruction: the same result.
TEST_F(KvmEngine, RunsInstructionsThatTheKernelsEmulatorLacks) {
    ASSERT_TRUE(memory_.store<uint64_t>(GuestPhysAddr(0x6000), 1));
    ASSERT_TRUE(memory_.store<uint64_t>(GuestPhysAddr(0x6008), 2));
    cpu::CpuState s = long_mode_state();
    s.gpr[cpu::RAX] = 1;
    s.gpr[cpu::RDX] = 2;
    s.gpr[cpu::RBX] = 3;
    s.gpr[cpu::RCX] = 4;
    // lock cmpxchg16b [rsi]; out 80h,al; jmp $
    EXPECT_EQ(text(run({0xf0, 0x48, 0x0f, 0xc7, 0x0e, 0xe6, 0x80, 0xeb, 0xfe}, s)), "kicked");
    EXPECT_EQ(*memory_.load<uint64_t>(GuestPhysAddr(0x6000)), 3u);
    EXPECT_EQ(*memory_.load<uint64_t>(GuestPhysAddr(0x6008)), 4u);
    EXPECT_EQ(vcpu_->get_state()->rip, kCode + 7);
}

TEST(MakeKvmEngine, SaysWhatToDoWhereThereIsNoKvm) {
    const auto r = make_kvm_engine("/nonexistent/kvm");
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind(), ErrorKind::NotFound);
    EXPECT_NE(r.error().message().find("--engine bt"), std::string::npos);
}

TEST(MakeKvmEngine, RefusesADeviceThatIsNotKvm) {
    EXPECT_FALSE(make_kvm_engine("/dev/null"));
}

}  // namespace
}  // namespace yado::cpu_kvm
