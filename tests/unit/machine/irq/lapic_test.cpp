#include "machine/irq/lapic.h"

#include "irq/fakes.h"
#include "machine/irq/pic.h"

namespace yado::machine {
namespace {

using cpu::Signal;

struct LapicTest : testing::Test {
    std::vector<uint8_t> ended;
    uint64_t tsc = 1000;
    LentTimers timers;
    ApicBus bus{{[this](uint8_t v) { ended.push_back(v); }}};
    Lapic* bsp = nullptr;
    Pic pic{{[this](bool on) {
        if (bsp) bsp->set_lint0(on);
    }}};
    Lapic a{wiring(0)}, b{wiring(1)};
    FakeVcpu cpu_a, cpu_b;

    Lapic::Wiring wiring(uint32_t id) {
        return {.bus = bus,
                .timers = timers,
                .apic_id = id,
                .pic = id == 0 ? &pic : nullptr,
                .tsc_hz = 2'000'000'000,
                .host_tsc = [this] { return tsc; }};
    }
    void SetUp() override {
        bsp = &a;
        a.connect(&cpu_a);
        b.connect(&cpu_b);
        for (Lapic* apic : {&a, &b}) write(*apic, 0xf0, 0x1ff);
    }
    static void write(Lapic& apic, uint32_t offset, uint32_t value) { apic.mmio_write(offset, 4, value); }
    static uint32_t read(Lapic& apic, uint32_t offset) { return apic.mmio_read(offset, 4); }
    static void to_x2apic(Lapic& apic) {
        uint64_t base = 0;
        ASSERT_TRUE(apic.msr_read(0x1b, &base));
        ASSERT_TRUE(apic.msr_write(0x1b, base | 0x400));
    }
    static uint64_t msr(Lapic& apic, uint32_t number) {
        uint64_t v = 0;
        EXPECT_TRUE(apic.msr_read(number, &v));
        return v;
    }
    void advance(int64_t ns) {
        tsc += static_cast<uint64_t>(ns) * 2;
        timers.advance(Nanoseconds(ns));
    }
};

TEST_F(LapicTest, AnMsiIsTakenAndEnded) {
    bus.send({GuestPhysAddr(0xfee01000), 0x41});
    EXPECT_FALSE(a.interrupt_pending());
    ASSERT_TRUE(b.interrupt_pending());
    EXPECT_TRUE(cpu_b.got(Signal::Interrupt));
    EXPECT_EQ(b.acknowledge(), 0x41);
    EXPECT_FALSE(b.interrupt_pending());
    EXPECT_EQ(read(b, 0x120), 2u) << "ISR";
    write(b, 0xb0, 0);
    EXPECT_EQ(read(b, 0x120), 0u);
    EXPECT_TRUE(ended.empty()) << "edge-triggered: no EOI broadcast";
}

TEST_F(LapicTest, ALevelInterruptIsBroadcastAtItsEoi) {
    bus.send({GuestPhysAddr(0xfee00000), 0xc051});
    a.acknowledge();
    write(a, 0xb0, 0);
    EXPECT_EQ(ended, std::vector<uint8_t>{0x51});
}

TEST_F(LapicTest, EoiBroadcastSuppressionKeepsItFromTheIoapic) {  // 11.8.5
    write(a, 0xf0, 0x11ff);
    bus.send({GuestPhysAddr(0xfee00000), 0xc051});
    a.acknowledge();
    write(a, 0xb0, 0);
    EXPECT_TRUE(ended.empty());
}

TEST_F(LapicTest, AHigherClassInterruptsALowerOneInService) {  // 11.8.3
    bus.send({GuestPhysAddr(0xfee00000), 0x41});
    a.acknowledge();
    bus.send({GuestPhysAddr(0xfee00000), 0x4f});
    EXPECT_FALSE(a.interrupt_pending()) << "same class";
    bus.send({GuestPhysAddr(0xfee00000), 0x51});
    EXPECT_EQ(a.acknowledge(), 0x51);
    EXPECT_EQ(read(a, 0xa0), 0x50u) << "PPR";
}

TEST_F(LapicTest, LoweringTheTaskPrioritySignalsTheVcpu) {
    a.set_cr8(8);
    cpu_a.signals = 0;
    bus.send({GuestPhysAddr(0xfee00000), 0x81});
    EXPECT_FALSE(a.interrupt_pending());
    EXPECT_FALSE(cpu_a.got(Signal::Interrupt));
    a.set_cr8(7);
    EXPECT_TRUE(cpu_a.got(Signal::Interrupt));
    EXPECT_EQ(a.acknowledge(), 0x81);
    EXPECT_EQ(a.cr8(), 7);
}

TEST_F(LapicTest, ASoftwareDisabledApicDropsInterrupts) {  // 11.4.7.2
    write(a, 0xf0, 0xff);
    bus.send({GuestPhysAddr(0xfee00000), 0x41});
    EXPECT_FALSE(a.interrupt_pending());
    write(a, 0x350, 0x34);
    EXPECT_EQ(read(a, 0x350), 0x10034u) << "its LVT entries stay masked";
}

TEST_F(LapicTest, FlatLogicalDestinationsReachEveryMatchingBit) {  // 11.6.2.2
    write(a, 0xd0, 0x01000000);
    write(b, 0xd0, 0x02000000);
    write(a, 0x310, 0x03000000);
    write(a, 0x300, 0x844);
    EXPECT_TRUE(a.interrupt_pending());
    EXPECT_TRUE(b.interrupt_pending());
}

TEST_F(LapicTest, ClusterDestinationsNameClusterAndBits) {
    for (Lapic* apic : {&a, &b}) write(*apic, 0xe0, 0x0fffffff);
    write(a, 0xd0, 0x11000000);
    write(b, 0xd0, 0x21000000);
    bus.send({GuestPhysAddr(0xfee21004), 0x44});
    EXPECT_FALSE(a.interrupt_pending());
    EXPECT_TRUE(b.interrupt_pending());
}

TEST_F(LapicTest, LowestPriorityPicksTheIdlerProcessor) {
    write(a, 0xd0, 0x01000000);
    write(b, 0xd0, 0x02000000);
    a.set_cr8(9);
    for (int i = 0; i < 4; ++i) bus.send({GuestPhysAddr(0xfee03004), static_cast<uint32_t>(0x144 + i * 16)});
    EXPECT_EQ(a.acknowledge(), std::nullopt);
    EXPECT_EQ(b.acknowledge(), 0x74);
}

TEST_F(LapicTest, InitAndStartupReachTheOtherProcessor) {
    write(a, 0x310, 0x01000000);
    write(a, 0x300, 0xc500);
    EXPECT_TRUE(cpu_b.got(Signal::Init));
    cpu_b.signals = 0;
    write(a, 0x300, 0x8500);
    EXPECT_FALSE(cpu_b.got(Signal::Init)) << "de-assert does nothing";
    write(a, 0x300, 0x699);
    EXPECT_TRUE(cpu_b.got(Signal::Sipi));
    EXPECT_EQ(b.sipi_vector(), 0x99);
    EXPECT_EQ(cpu_a.signals & static_cast<uint32_t>(Signal::Init), 0u);
}

TEST_F(LapicTest, AnNmiToAllButSelfSkipsTheSender) {
    write(a, 0x300, 0xc0400);
    EXPECT_FALSE(cpu_a.got(Signal::Nmi));
    EXPECT_TRUE(cpu_b.got(Signal::Nmi));
}

TEST_F(LapicTest, AnIllegalVectorSetsTheErrorStatus) {  // 11.5.3
    write(a, 0x370, 0xfe);
    write(a, 0x300, 0x40005);
    EXPECT_EQ(a.acknowledge(), 0xfe);
    EXPECT_EQ(read(a, 0x280), 0u);
    write(a, 0x280, 0);
    EXPECT_EQ(read(a, 0x280), 0x20u);
    write(a, 0x280, 0);
    EXPECT_EQ(read(a, 0x280), 0u);
}

TEST_F(LapicTest, AnErrorEntryWithAnIllegalVectorDoesNotRecurse) {
    write(a, 0x370, 0x05);
    write(a, 0x300, 0x40005);
    write(a, 0x280, 0);
    EXPECT_EQ(read(a, 0x280), 0x60u);
}

TEST_F(LapicTest, TheOneShotTimerFiresOnce) {
    write(a, 0x320, 0x30);
    write(a, 0x3e0, 0xb);
    write(a, 0x380, 1000);
    advance(400);
    EXPECT_EQ(read(a, 0x390), 600u);
    EXPECT_FALSE(a.interrupt_pending());
    advance(600);
    EXPECT_EQ(a.acknowledge(), 0x30);
    EXPECT_EQ(read(a, 0x390), 0u);
    EXPECT_EQ(timers.armed(), 0u);
}

TEST_F(LapicTest, ThePeriodicTimerDividesAndRepeats) {
    write(a, 0x320, 0x20030);
    write(a, 0x3e0, 0x3);  // by 16
    write(a, 0x380, 100'000);
    for (int i = 0; i < 3; ++i) {
        advance(1'600'000);
        EXPECT_EQ(a.acknowledge(), 0x30);
        write(a, 0xb0, 0);
    }
    write(a, 0x380, 0);
    advance(10'000'000);
    EXPECT_FALSE(a.interrupt_pending());
}

TEST_F(LapicTest, AFastPeriodicTimerIsThinnedOut) {
    write(a, 0x320, 0x20030);
    write(a, 0x3e0, 0xb);
    write(a, 0x380, 1);
    advance(10'000'000);  // ends, and soon
    EXPECT_TRUE(a.interrupt_pending());
}

TEST_F(LapicTest, TheTscDeadlineFiresAtTheGuestsTsc) {  // 11.5.4.1
    write(a, 0x320, 0x40031);
    a.set_tsc_offset(5000);
    ASSERT_TRUE(a.msr_write(0x6e0, tsc + 5000 + 2000));
    advance(999);
    EXPECT_FALSE(a.interrupt_pending());
    advance(2);
    EXPECT_EQ(a.acknowledge(), 0x31);
    EXPECT_EQ(msr(a, 0x6e0), 0u);
}

TEST_F(LapicTest, ADeadlineInThePastFiresAtOnce) {
    write(a, 0x320, 0x40031);
    ASSERT_TRUE(a.msr_write(0x6e0, 1));
    EXPECT_EQ(a.acknowledge(), 0x31);
}

TEST_F(LapicTest, LeavingDeadlineModeDisarmsTheTimer) {
    write(a, 0x320, 0x40031);
    ASSERT_TRUE(a.msr_write(0x6e0, tsc + 2000));
    write(a, 0x320, 0x31);
    EXPECT_EQ(timers.armed(), 0u);
    ASSERT_TRUE(a.msr_write(0x6e0, tsc + 2000));
    EXPECT_EQ(msr(a, 0x6e0), 0u) << "ignored in the other modes";
}

TEST_F(LapicTest, AVcpuThatWaitsForItsTimerItselfFiresItAtTheEnd) {
    write(a, 0x320, 0x30);
    write(a, 0x3e0, 0xb);
    write(a, 0x380, 1000);
    EXPECT_EQ(a.begin_wait(), timers.clock().now() + Nanoseconds(1000));
    EXPECT_EQ(timers.armed(), 0u);
    advance(1000);
    EXPECT_FALSE(a.interrupt_pending());
    a.end_wait();
    EXPECT_EQ(a.acknowledge(), 0x30);
    EXPECT_EQ(a.begin_wait(), std::nullopt) << "it was one-shot";
}

TEST_F(LapicTest, AWaitThatEndsEarlyHandsTheTimerBackToTheQueue) {
    write(a, 0x320, 0x30);
    write(a, 0x3e0, 0xb);
    write(a, 0x380, 1000);
    ASSERT_TRUE(a.begin_wait());
    advance(400);
    a.end_wait();
    EXPECT_FALSE(a.interrupt_pending());
    advance(600);
    EXPECT_EQ(a.acknowledge(), 0x30);
}

TEST_F(LapicTest, ATscDeadlineIsWaitedForLikeACount) {
    write(a, 0x320, 0x40031);
    ASSERT_TRUE(a.msr_write(0x6e0, tsc + 2000));
    ASSERT_TRUE(a.begin_wait());
    advance(500);
    a.end_wait();  // too early: the queue has it again
    EXPECT_EQ(timers.armed(), 1u);
    ASSERT_TRUE(a.begin_wait());
    advance(501);
    a.end_wait();
    EXPECT_EQ(a.acknowledge(), 0x31);
    EXPECT_EQ(msr(a, 0x6e0), 0u);
}

TEST_F(LapicTest, X2ApicAddressesByThe32BitId) {  // 11.12.9
    to_x2apic(a);
    to_x2apic(b);
    EXPECT_EQ(msr(b, 0x802), 1u);
    EXPECT_EQ(msr(b, 0x80d), 2u);
    EXPECT_FALSE(b.mmio_page());
    ASSERT_TRUE(a.msr_write(0x830, 0x1'0000'0045));
    EXPECT_EQ(b.acknowledge(), 0x45);
    ASSERT_TRUE(a.msr_write(0x830, 0xffffffff'00000046));
    EXPECT_TRUE(a.interrupt_pending());
}

TEST_F(LapicTest, ASelfIpiMsrInterruptsTheSender) {
    to_x2apic(a);
    ASSERT_TRUE(a.msr_write(0x83f, 0x47));
    EXPECT_EQ(a.acknowledge(), 0x47);
}

TEST_F(LapicTest, X2ApicRefusesReservedBitsAndRegisters) {
    uint64_t v = 0;
    EXPECT_FALSE(a.msr_read(0x802, &v)) << "not in x2APIC mode";
    to_x2apic(a);
    EXPECT_FALSE(a.msr_write(0x80b, 1)) << "EOI must be 0";
    EXPECT_FALSE(a.msr_write(0x808, 0x100));
    EXPECT_FALSE(a.msr_write(0x802, 0)) << "read-only";
    EXPECT_FALSE(a.msr_read(0x80e, &v)) << "no DFR";
    EXPECT_FALSE(a.msr_read(0x831, &v));
    EXPECT_FALSE(a.msr_write(0x8ff, 0));
}

TEST_F(LapicTest, TheModeChangesOnlyAlongTheAllowedEdges) {  // 11.12.5
    const uint64_t base = msr(a, 0x1b);
    EXPECT_EQ(base, 0xfee00900u);
    EXPECT_FALSE(a.msr_write(0x1b, (base & ~0x800ull) | 0x400)) << "EXTD without EN";
    ASSERT_TRUE(a.msr_write(0x1b, base | 0x400));
    EXPECT_FALSE(a.msr_write(0x1b, base)) << "x2APIC to xAPIC";
    ASSERT_TRUE(a.msr_write(0x1b, base & ~0x800ull));
    EXPECT_FALSE(a.msr_write(0x1b, base | 0x400)) << "disabled to x2APIC";
    ASSERT_TRUE(a.msr_write(0x1b, base));
    EXPECT_EQ(read(a, 0xf0), 0xffu) << "enabling resets";
    EXPECT_FALSE(a.msr_write(0x1b, base | 1ull << 60));
}

TEST_F(LapicTest, ThePicReachesTheBootProcessorThroughLint0) {
    pic.master_ports().write(0, 1, 0x11);
    for (const uint8_t v : {0x20, 0x04, 0x01}) pic.master_ports().write(1, 1, v);
    pic.line(1).pulse();
    EXPECT_TRUE(cpu_a.got(Signal::Interrupt));
    ASSERT_TRUE(a.interrupt_pending());
    EXPECT_EQ(a.acknowledge(), 0x21);
    pic.line(0).pulse();
    write(a, 0x350, 0x10700);
    EXPECT_FALSE(a.interrupt_pending()) << "LINT0 masked";
}

TEST_F(LapicTest, Lint1IsAnNmiWhereItsEntrySaysSo) {
    a.set_lint1(true);
    EXPECT_FALSE(cpu_a.got(Signal::Nmi)) << "masked after reset";
    a.set_lint1(false);
    write(a, 0x360, 0x400);
    a.set_lint1(true);
    EXPECT_TRUE(cpu_a.got(Signal::Nmi));
}

TEST_F(LapicTest, SavedStateGoesOnInAnotherLapic) {
    bus.send({GuestPhysAddr(0xfee00000), 0x41});
    write(a, 0x320, 0x30);
    write(a, 0x3e0, 0xb);
    write(a, 0x380, 1000);
    advance(400);
    Lapic other(wiring(0));
    carry_over(a, other);
    EXPECT_EQ(read(other, 0x390), 600u);
    EXPECT_EQ(other.acknowledge(), 0x41);
    EXPECT_EQ(other.lapic_state().regs[0x12], 2u);
    write(other, 0xb0, 0);
    advance(600);
    EXPECT_EQ(other.acknowledge(), 0x30);
}

TEST_F(LapicTest, StateOfAnotherApicOrOutOfRangeIsRefused) {
    EXPECT_FALSE(b.set_lapic_state(a.lapic_state()).has_value());
    cpu::LapicState bad = a.lapic_state();
    bad.regs[0x20] = 1;
    EXPECT_FALSE(a.set_lapic_state(bad).has_value());
}

TEST_F(LapicTest, AnyAccessIsSurvived) {
    for (uint32_t offset = 0; offset < 0x1000; ++offset)
        for (const unsigned size : {1u, 2u, 4u, 8u})
            for (const uint32_t value : {0u, ~0u, 0x000c4500u}) {
                a.mmio_write(offset, size, value);
                a.mmio_read(offset, size);
            }
    advance(1'000'000);
    to_x2apic(a);
    for (uint32_t number = 0x800; number <= 0x8ff; ++number)
        for (const uint64_t value : {0ull, 1ull, ~0ull}) {
            uint64_t out = 0;
            a.msr_write(number, value);
            a.msr_read(number, &out);
        }
}

}  // namespace
}  // namespace yado::machine
