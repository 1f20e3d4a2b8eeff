#include "machine/timer/rtc.h"

#include "irq/fakes.h"

namespace yado::machine {
namespace {

struct RtcTest : testing::Test {
    io::ManualTimers timers;
    FakeLine irq;
    Rtc rtc{wiring()};

    // 2024-02-29 23:59:57 UTC, a Thursday
    Rtc::Wiring wiring() {
        timers.manual_clock().set_wall(std::chrono::seconds(1'709'251'197));
        return {.irq = irq, .timers = timers};
    }

    void out(uint8_t index, uint8_t v) {
        rtc.ports().write(0, 1, index);
        rtc.ports().write(1, 1, v);
    }
    uint8_t in(uint8_t index) {
        rtc.ports().write(0, 1, index);
        return static_cast<uint8_t>(rtc.ports().read(1, 1));
    }
    void seconds(int n) { timers.advance(std::chrono::seconds(n)); }
};

TEST_F(RtcTest, ShowsTheWallClockInBcd) {
    EXPECT_EQ(in(0), 0x57);
    EXPECT_EQ(in(2), 0x59);
    EXPECT_EQ(in(4), 0x23);
    EXPECT_EQ(in(6), 5);
    EXPECT_EQ(in(7), 0x29);
    EXPECT_EQ(in(8), 0x02);
    EXPECT_EQ(in(9), 0x24);
    EXPECT_EQ(in(0x32), 0x20);
    seconds(3);
    EXPECT_EQ(in(7), 0x01);
    EXPECT_EQ(in(8), 0x03);
}

TEST_F(RtcTest, ShowsBinaryAndTwelveHoursWhenAsked) {
    out(11, 0x04);
    EXPECT_EQ(in(4), 0x80 | 11);
    EXPECT_EQ(in(0), 57);
}

TEST_F(RtcTest, TheGuestSetsTheTimeUnderSet) {
    out(11, 0x82);
    out(9, 0x30);
    out(4, 0x05);
    seconds(10);
    EXPECT_EQ(in(0), 0x57) << "held";
    out(11, 0x02);
    seconds(2);
    EXPECT_EQ(in(9), 0x30);
    EXPECT_EQ(in(4), 0x05);
    EXPECT_EQ(in(0), 0x59);
}

TEST_F(RtcTest, UipIsUpJustBeforeTheUpdate) {
    EXPECT_FALSE(in(10) & 0x80);
    timers.advance(Nanoseconds(999'900'000));
    EXPECT_TRUE(in(10) & 0x80);
}

TEST_F(RtcTest, TheUpdateInterruptHoldsUntilCIsRead) {
    out(11, 0x12);
    seconds(1);
    EXPECT_TRUE(irq.level);
    EXPECT_EQ(in(12), 0xd0) << "update, and the periodic flag, which needs no enable";
    EXPECT_FALSE(irq.level);
    EXPECT_EQ(in(12), 0x00);
    seconds(1);
    EXPECT_EQ(irq.rises, 2);
}

TEST_F(RtcTest, TheAlarmFiresAtItsTime) {
    out(1, 0x05);
    out(3, 0x00);
    out(5, 0x00);
    out(11, 0x22);
    seconds(7);
    EXPECT_FALSE(irq.level);
    seconds(1);
    EXPECT_TRUE(irq.level);
    EXPECT_EQ(in(12) & 0xa0, 0xa0);
}

TEST_F(RtcTest, ADontCareAlarmFiresEveryMinute) {
    out(1, 0x10);
    out(3, 0xff);
    out(5, 0xff);
    out(11, 0x22);
    for (int i = 1; i <= 3; ++i) {
        seconds(60);
        EXPECT_EQ(irq.rises, i);
        in(12);
    }
}

TEST_F(RtcTest, ThePeriodicInterruptHasItsRate) {
    out(10, 0x2a);  // 64 Hz
    out(11, 0x42);
    for (int i = 0; i < 640; ++i) {
        timers.advance(Nanoseconds(1'000'000'000 / 640));
        if (irq.level) in(12);
    }
    EXPECT_NEAR(irq.rises, 64, 1);
}

TEST_F(RtcTest, CmosRamKeepsWhatIsWritten) {
    out(0x40, 0xaa);
    EXPECT_EQ(in(0x40), 0xaa);
    rtc.set_cmos(0x34, 0x12);
    EXPECT_EQ(in(0x34), 0x12);
    EXPECT_EQ(in(13), 0x80);
}

TEST_F(RtcTest, Bit7OfTheIndexMasksNmi) {
    rtc.ports().write(0, 1, 0x8f);
    EXPECT_TRUE(rtc.nmi_masked());
    rtc.ports().write(0, 1, 0x0f);
    EXPECT_FALSE(rtc.nmi_masked());
}

TEST_F(RtcTest, SavedStateGoesOnInAnotherRtc) {
    out(9, 0x30);
    out(11, 0x12);
    FakeLine other_irq;
    Rtc other({.irq = other_irq, .timers = timers});
    carry_over(rtc, other);
    seconds(1);
    EXPECT_TRUE(other_irq.level);
    other.ports().write(0, 1, 9);
    EXPECT_EQ(other.ports().read(1, 1), 0x30u);
}

TEST_F(RtcTest, AnyValueInAnyRegisterIsSurvived) {
    for (unsigned index = 0; index < 256; ++index)
        for (const uint8_t v : {0x00, 0xff, 0x7f, 0x82, 0x6f, 0x21}) {
            out(static_cast<uint8_t>(index), v);
            in(static_cast<uint8_t>(index));
            timers.advance(std::chrono::milliseconds(700));
        }
    torture(rtc.ports(), 2);
}

}  // namespace
}  // namespace yado::machine
