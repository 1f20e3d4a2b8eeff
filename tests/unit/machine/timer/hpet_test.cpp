#include "machine/timer/hpet.h"

#include "irq/fakes.h"

namespace yado::machine {
namespace {

struct HpetTest : testing::Test {
    io::ManualTimers timers;
    FakeLine irq0, irq8, pin20;
    LegacyRoute route0{irq0}, route8{irq8};
    Hpet hpet{wiring()};

    Hpet::Wiring wiring() {
        Hpet::Wiring w{.timers = timers, .irq0 = route0, .irq8 = route8};
        w.pins[20] = &pin20;
        return w;
    }
    void write(uint64_t at, uint64_t v) { hpet.write(at, 8, v); }
    uint64_t read(uint64_t at) { return hpet.read(at, 8); }
    static constexpr uint64_t kPin20 = 20 << 9, kEnable = 4, kPeriodic = 8, kLevel = 2, kValSet = 0x40, k32 = 0x100;
};

TEST_F(HpetTest, TheCapabilitiesSayThreeTimersOfTenNanoseconds) { EXPECT_EQ(read(0), 0x009896808086a201ull); }

TEST_F(HpetTest, TheCounterRunsOnlyWhileEnabled) {
    timers.advance(Nanoseconds(1000));
    EXPECT_EQ(read(0xf0), 0u);
    write(0x10, 1);
    timers.advance(Nanoseconds(1000));
    EXPECT_EQ(read(0xf0), 100u);
    write(0x10, 0);
    timers.advance(Nanoseconds(1000));
    EXPECT_EQ(hpet.read(0xf0, 4), 100u);
}

TEST_F(HpetTest, AOneShotComparatorPulsesItsPin) {
    write(0x140, kPin20 | kEnable);
    write(0x148, 500);
    write(0x10, 1);
    timers.advance(Nanoseconds(4999));
    EXPECT_EQ(pin20.rises, 0);
    timers.advance(Nanoseconds(1));
    EXPECT_EQ(pin20.rises, 1);
    EXPECT_FALSE(pin20.level);
}

TEST_F(HpetTest, APeriodicTimerRepeatsByItsPeriod) {  // 2.3.9.2.2
    write(0x140, kPin20 | kEnable | kPeriodic | kValSet);
    write(0x148, 20'000);
    write(0x148, 10'000);
    write(0x10, 1);
    timers.advance(Nanoseconds(200'000));
    EXPECT_EQ(pin20.rises, 1);
    timers.advance(Nanoseconds(300'000));
    EXPECT_EQ(pin20.rises, 4);
    EXPECT_EQ(read(0x148), 60'000u);
}

TEST_F(HpetTest, APeriodicTimerThatNobodyHearsWakesNobodyAndKeepsItsPeriod) {
    write(0x140, kPin20 | kEnable | kPeriodic | kValSet);
    write(0x148, 20'000);
    write(0x148, 10'000);
    write(0x10, 1);
    timers.advance(Nanoseconds(250'000));
    ASSERT_EQ(pin20.rises, 1);
    write(0x140, kPin20 | kPeriodic);
    EXPECT_EQ(timers.armed(), 0u);
    timers.advance(Nanoseconds(300'000));  // at 55,000 ticks
    EXPECT_EQ(read(0x148), 60'000u);
    timers.advance(Nanoseconds(100'000));
    write(0x140, kPin20 | kPeriodic | kEnable);
    timers.advance(Nanoseconds(49'999));
    EXPECT_EQ(pin20.rises, 1);
    timers.advance(Nanoseconds(1));
    EXPECT_EQ(pin20.rises, 2) << "at 70,000 ticks";
}

TEST_F(HpetTest, ASilentTimersComparatorIsSavedAsItReads) {
    write(0x140, kPin20 | kPeriodic | kValSet);
    write(0x148, 20'000);
    write(0x148, 10'000);
    write(0x10, 1);
    timers.advance(Nanoseconds(450'000));
    Hpet other{wiring()};
    carry_over(hpet, other);
    EXPECT_EQ(other.read(0x148, 8), 50'000u);
}

TEST_F(HpetTest, ALevelInterruptHoldsUntilItsStatusIsCleared) {  // 2.3.6
    write(0x140, kPin20 | kEnable | kLevel);
    write(0x148, 500);
    write(0x10, 1);
    timers.advance(Nanoseconds(5000));
    EXPECT_TRUE(pin20.level);
    EXPECT_EQ(read(0x20), 4u);
    hpet.write(0x20, 4, 4);
    EXPECT_FALSE(pin20.level);
    EXPECT_EQ(read(0x20), 0u);
}

TEST_F(HpetTest, LegacyReplacementTakesIrq0FromThePit) {  // 2.3.5
    write(0x100, kEnable);
    write(0x108, 500);
    write(0x10, 3);
    timers.advance(Nanoseconds(5000));
    EXPECT_EQ(irq0.rises, 1);
    route0.legacy_input().pulse();
    EXPECT_EQ(irq0.rises, 1);
    write(0x10, 1);
    route0.legacy_input().pulse();
    EXPECT_EQ(irq0.rises, 2);
}

TEST_F(HpetTest, A32BitComparatorComesRoundAgain) {
    write(0xf0, 0xfffffff0);
    write(0x140, kPin20 | kEnable | k32);
    write(0x148, 0x10);
    write(0x10, 1);
    timers.advance(Nanoseconds(0x20 * 10));
    EXPECT_EQ(pin20.rises, 1);
}

TEST_F(HpetTest, AFastPeriodIsThinnedOut) {
    write(0x140, kPin20 | kEnable | kPeriodic | kValSet);
    write(0x148, 1);
    write(0x10, 1);
    timers.advance(Nanoseconds(10'000'000));
    EXPECT_GT(pin20.rises, 50);
    EXPECT_LT(pin20.rises, 250);
}

TEST_F(HpetTest, SavedStateGoesOnInAnotherHpet) {
    write(0x140, kPin20 | kEnable);
    write(0x148, 500);
    write(0x10, 1);
    timers.advance(Nanoseconds(1000));
    Hpet other(wiring());
    carry_over(hpet, other);
    hpet.reset();
    EXPECT_EQ(other.read(0xf0, 8), 100u);
    timers.advance(Nanoseconds(4000));
    EXPECT_EQ(pin20.rises, 1);
}

TEST_F(HpetTest, AnySizeAndValueIsSurvived) {
    torture(hpet, 0x400);
    timers.advance(Nanoseconds(10'000'000));
}

}  // namespace
}  // namespace yado::machine
