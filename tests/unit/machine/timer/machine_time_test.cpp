#include "machine/timer/machine_time.h"

#include "irq/fakes.h"

namespace yado::machine {
namespace {

struct MachineTimeTest : testing::Test {
    io::ManualTimers host;
    MachineTime time{{host}};
    int fired = 0;
    std::unique_ptr<io::Timer> timer = time.make_timer([this] { ++fired; });
};

TEST_F(MachineTimeTest, StandsStillUntilResumed) {
    host.advance(Nanoseconds(100));
    EXPECT_EQ(time.clock().now(), Nanoseconds(0));
    time.resume();
    host.advance(Nanoseconds(30));
    EXPECT_EQ(time.clock().now(), Nanoseconds(30));
}

TEST_F(MachineTimeTest, ADeadlineKeepsItsDistanceOverAPause) {
    time.resume();
    timer->arm(Nanoseconds(50));
    host.advance(Nanoseconds(20));
    time.pause();
    host.advance(Nanoseconds(1000));
    EXPECT_EQ(fired, 0);
    time.resume();
    host.advance(Nanoseconds(29));
    EXPECT_EQ(fired, 0);
    host.advance(Nanoseconds(1));
    EXPECT_EQ(fired, 1);
}

TEST_F(MachineTimeTest, ADeadlineSetWhileStoppedFiresAfterResume) {
    timer->arm(Nanoseconds(10));
    EXPECT_EQ(host.armed(), 0u);
    time.resume();
    host.advance(Nanoseconds(10));
    EXPECT_EQ(fired, 1);
}

TEST_F(MachineTimeTest, ACancelledDeadlineDoesNotFire) {
    time.resume();
    timer->arm(Nanoseconds(10));
    timer->cancel();
    host.advance(Nanoseconds(10));
    EXPECT_EQ(fired, 0);
}

TEST_F(MachineTimeTest, ATimerIsTakenOverWithTheHostsDeadline) {
    LentTimers lender;
    MachineTime later{{lender}};
    int rang = 0;
    auto lent = later.make_timer([&] { ++rang; });
    lender.advance(Nanoseconds(100));
    later.resume();
    lent->arm(Nanoseconds(10));
    EXPECT_EQ(lent->take_over(), Nanoseconds(110));
    EXPECT_EQ(lent->take_over(), std::nullopt);
    lender.advance(Nanoseconds(20));
    EXPECT_EQ(rang, 0);
}

TEST_F(MachineTimeTest, ACallbackMayPauseTheMachine) {
    auto pausing = time.make_timer([this] { time.pause(); });
    time.resume();
    pausing->arm(Nanoseconds(5));
    host.advance(Nanoseconds(10));
    EXPECT_EQ(time.clock().now(), Nanoseconds(5));
}

TEST_F(MachineTimeTest, ALoadedMachineGoesOnAtTheSavedTime) {
    time.resume();
    host.advance(Nanoseconds(77));
    time.pause();
    io::ManualTimers other_host;
    MachineTime other({other_host});
    carry_over(time, other);
    other.resume();
    other_host.advance(Nanoseconds(3));
    EXPECT_EQ(other.clock().now(), Nanoseconds(80));
}

}  // namespace
}  // namespace yado::machine
