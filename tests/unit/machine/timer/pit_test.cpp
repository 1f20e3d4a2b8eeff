#include "machine/timer/pit.h"

#include "irq/fakes.h"

namespace yado::machine {
namespace {

struct PitTest : testing::Test {
    io::ManualTimers timers;
    FakeLine irq;
    Pit pit{{.irq = irq, .timers = timers}};

    void out(unsigned port, uint8_t v) { pit.ports().write(port, 1, v); }
    uint8_t in(unsigned port) { return static_cast<uint8_t>(pit.ports().read(port, 1)); }
    uint16_t in16(unsigned port) {
        const uint8_t low = in(port);
        return static_cast<uint16_t>(in(port) << 8 | low);
    }
    void program(unsigned channel, uint8_t mode, uint16_t count) {
        out(3, static_cast<uint8_t>(channel << 6 | 0x30 | mode << 1));
        out(channel, static_cast<uint8_t>(count));
        out(channel, static_cast<uint8_t>(count >> 8));
    }
    /// To the start of the n-th tick from 0.
    void to_tick(uint64_t tick) { timers.advance(time_of_tick(tick, kPitHz) - timers.clock().now()); }
    void gate2(bool on) { pit.system_control().write(0, 1, on); }
    bool out2() { return pit.system_control().read(0, 1) & 0x20; }
};

TEST_F(PitTest, Mode0RaisesTheLineOnceAtTerminalCount) {
    program(0, 0, 100);
    EXPECT_FALSE(irq.level);
    to_tick(99);
    EXPECT_FALSE(irq.level);
    EXPECT_EQ(in16(0), 1);
    to_tick(100);
    EXPECT_TRUE(irq.level);
    to_tick(5000);
    EXPECT_EQ(irq.rises, 1);
}

TEST_F(PitTest, Mode2InterruptsEveryPeriod) {
    program(0, 2, 1193);
    const int before = irq.rises;
    to_tick(1193 * 10);
    EXPECT_EQ(irq.rises - before, 10);
}

TEST_F(PitTest, Mode3CountsByTwo) {
    program(0, 3, 1000);
    to_tick(100);
    EXPECT_EQ(in16(0), 800);
    to_tick(600);
    EXPECT_EQ(in16(0), 800);
}

TEST_F(PitTest, AFastRateIsThinnedOut) {
    program(0, 2, 2);
    timers.advance(Nanoseconds(10'000'000));
    EXPECT_GT(irq.rises, 50);
    EXPECT_LT(irq.rises, 250);
}

TEST_F(PitTest, ALatchedCountHoldsUntilRead) {  // "Counter Latch Command"
    program(0, 2, 1000);
    to_tick(10);
    out(3, 0x00);
    to_tick(500);
    EXPECT_EQ(in16(0), 990);
    EXPECT_EQ(in16(0), 500);
}

TEST_F(PitTest, ReadBackGivesStatusThenCount) {  // "Read-Back Command"
    program(2, 0, 1000);
    gate2(true);
    out(3, 0xc8);
    EXPECT_EQ(in(2), 0x30) << "OUT low, count loaded, low then high byte, mode 0";
    EXPECT_EQ(in16(2), 1000);
}

TEST_F(PitTest, Channel2CountsOnlyWhileItsGateIsHigh) {
    program(2, 0, 100);
    to_tick(200);
    EXPECT_FALSE(out2());
    gate2(true);
    to_tick(250);
    gate2(false);
    to_tick(400);
    EXPECT_FALSE(out2());
    gate2(true);
    to_tick(449);
    EXPECT_FALSE(out2());
    to_tick(451);
    EXPECT_TRUE(out2());
}

TEST_F(PitTest, Mode1IsAOneShotStartedByTheGate) {
    program(2, 1, 50);
    EXPECT_TRUE(out2());
    gate2(true);
    EXPECT_FALSE(out2());
    to_tick(51);
    EXPECT_TRUE(out2());
}

TEST_F(PitTest, BcdCountsInDecimal) {
    out(3, 0x31);
    out(0, 0x00);
    out(0, 0x10);  // 1000
    to_tick(1);
    EXPECT_EQ(in16(0), 0x0999);
}

TEST_F(PitTest, TheRefreshBitToggles) {
    const uint64_t first = pit.system_control().read(0, 1) & 0x10;
    timers.advance(Nanoseconds(15'100));
    EXPECT_NE(pit.system_control().read(0, 1) & 0x10, first);
}

TEST_F(PitTest, SavedStateGoesOnInAnotherPit) {
    program(0, 2, 1000);
    to_tick(400);
    FakeLine other_irq;
    Pit other({.irq = other_irq, .timers = timers});
    carry_over(pit, other);
    const int before = other_irq.rises;
    to_tick(1000);
    EXPECT_EQ(other_irq.rises - before, 1);
}

TEST_F(PitTest, AnySizeAndValueIsSurvived) {
    for (unsigned control = 0; control < 256; ++control) {
        out(3, static_cast<uint8_t>(control));
        torture(pit.ports(), 4);
        torture(pit.system_control(), 1);
        timers.advance(Nanoseconds(1'000'000));
    }
}

}  // namespace
}  // namespace yado::machine
