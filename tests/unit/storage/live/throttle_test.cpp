// limit-iops=, limit-bps=, burst=: when requests pass, on a clock that the test moves.
#include "storage/live/throttle.h"

#include <gtest/gtest.h>

namespace yado::storage {
namespace {

using std::chrono::milliseconds;

class ThrottleTest : public testing::Test {
  protected:
    void start(Throttle& throttle, Bytes length = Bytes(4096)) {
        io::spawn(admitted(throttle, length));
    }
    io::Task<> admitted(Throttle& throttle, Bytes length) {
        co_await throttle.admit(length);
        ++passed;
    }
    /// How many passed within so many milliseconds, one moment after the other.
    unsigned after(unsigned count) {
        const unsigned before = passed;
        for (unsigned n = 0; n < count; ++n) timers.advance(milliseconds(1));
        return passed - before;
    }
    io::ManualTimers timers;
    unsigned passed = 0;
};

TEST_F(ThrottleTest, WithoutLimitsNobodyWaits) {
    Throttle throttle(timers, {});
    EXPECT_TRUE(throttle.idle());
    start(throttle);
    EXPECT_EQ(passed, 1u);
}

TEST_F(ThrottleTest, OperationsPassAtTheirRate) {
    Throttle throttle(timers, {.operations = 100});
    for (unsigned n = 0; n < 400; ++n) start(throttle);
    after(1000);
    EXPECT_NEAR(passed, 100 + 1, 1) << "what a tenth of a second had saved up was spent before the limit began to count";
    EXPECT_EQ(after(1000), 100u);
    EXPECT_EQ(after(1000), 100u);
    after(2000);
    EXPECT_EQ(passed, 400u);
}

TEST_F(ThrottleTest, BytesPassAtTheirRateWhateverTheirPieces) {
    Throttle throttle(timers, {.bytes = Bytes(1 << 20)});
    for (unsigned n = 0; n < 16; ++n) start(throttle, Bytes(256 << 10));
    after(1000);
    EXPECT_NEAR(passed, 5, 1);
    EXPECT_EQ(after(1000), 4u);
    after(5000);
    EXPECT_EQ(passed, 16u);
}

TEST_F(ThrottleTest, AnIdleDiskSavesUpForItsBurstAndNoMore) {
    Throttle throttle(timers, {.operations = 100, .burst = std::chrono::seconds(2)});
    timers.advance(std::chrono::seconds(60));
    for (unsigned n = 0; n < 500; ++n) start(throttle);
    EXPECT_NEAR(passed, 201, 1);
    EXPECT_EQ(after(1000), 100u);
    throttle.open();
    EXPECT_EQ(passed, 500u);
}

TEST_F(ThrottleTest, TheyPassInTheOrderInWhichTheyCame) {
    Throttle throttle(timers, {.bytes = Bytes(1 << 20)});
    start(throttle, Bytes(1 << 20));  // in debt for a second
    start(throttle, Bytes(1 << 20));
    start(throttle, Bytes(512));
    EXPECT_EQ(passed, 1u);
    EXPECT_EQ(after(1001), 1u) << "the small one does not overtake";
    EXPECT_EQ(after(1001), 1u);
}

TEST_F(ThrottleTest, AChangeHoldsForThoseThatWait) {
    Throttle throttle(timers, {.operations = 1});
    for (unsigned n = 0; n < 101; ++n) start(throttle);
    throttle.change({.operations = 1000});
    after(101);
    EXPECT_EQ(passed, 101u);
    throttle.change({.operations = 1});
    start(throttle);
    start(throttle);
    throttle.change({});
    EXPECT_EQ(passed, 103u);
}

TEST_F(ThrottleTest, OpenLetsAllPassAndCountsNothing) {
    Throttle throttle(timers, {.operations = 1});
    for (unsigned n = 0; n < 5; ++n) start(throttle);
    throttle.open();
    EXPECT_EQ(passed, 5u);
    start(throttle);
    EXPECT_EQ(passed, 6u);
    throttle.shut();
    timers.advance(std::chrono::seconds(1));
    start(throttle);
    start(throttle);
    EXPECT_EQ(passed, 7u);
    throttle.open();
    EXPECT_EQ(throttle.counters().delayed, 5u);
}

}  // namespace
}  // namespace yado::storage
