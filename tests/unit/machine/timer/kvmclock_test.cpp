#include "machine/timer/kvmclock.h"

#include <gtest/gtest.h>

#include "machine/timer/timer.pb.h"

namespace yado::machine {
namespace {

struct FakeClock final : cpu::GuestClock {
    Result<Nanoseconds> now() const override {
        if (broken) return fail(ErrorKind::Failed, "no clock");
        return shows;
    }
    Result<> set(Nanoseconds now) override {
        if (broken) return fail(ErrorKind::Failed, "no clock");
        shows = now;
        return {};
    }
    Nanoseconds shows{0};
    bool broken = false;
};

struct KvmClockTest : testing::Test {
    FakeClock clock;
    KvmClock device{clock};

    state::Record record(int64_t now) const {
        pb::KvmClock m;
        m.set_now(now);
        return state::make_record(device, m);
    }
    int64_t saved() const {
        pb::KvmClock m;
        EXPECT_TRUE(state::parse_record(*device.save(), m));
        return m.now();
    }
};

TEST_F(KvmClockTest, SavesWhatTheGuestReads) {
    clock.shows = Nanoseconds(123456789);
    EXPECT_EQ(saved(), 123456789);
    EXPECT_EQ(device.save()->name, "kvmclock.clock");
}

TEST_F(KvmClockTest, ALoadedClockGoesOnAtTheSavedTimeWhenResumed) {
    ASSERT_TRUE(device.load(record(5000)));
    EXPECT_EQ(clock.shows, Nanoseconds(5000));
    clock.shows += Nanoseconds(70);  // runs on before the guest does
    EXPECT_EQ(saved(), 5000);
    device.resume();
    EXPECT_EQ(clock.shows, Nanoseconds(5000));
}

TEST_F(KvmClockTest, ALaterPauseDoesNotTouchIt) {
    ASSERT_TRUE(device.load(record(5000)));
    device.resume();
    clock.shows = Nanoseconds(9000);
    device.pause();
    EXPECT_EQ(saved(), 9000);
    device.resume();
    EXPECT_EQ(clock.shows, Nanoseconds(9000));
}

TEST_F(KvmClockTest, AResetForgetsWhatWasLoaded) {
    ASSERT_TRUE(device.load(record(5000)));
    device.reset();
    clock.shows = Nanoseconds(6000);
    device.resume();
    EXPECT_EQ(clock.shows, Nanoseconds(6000));
}

TEST_F(KvmClockTest, TimesThatNoClockShowsAreRefusedAndChangeNothing) {
    clock.shows = Nanoseconds(7);
    for (const int64_t bad : {int64_t(-1), INT64_MIN, INT64_MAX}) EXPECT_EQ(device.load(record(bad)).error().kind(), ErrorKind::Corrupt);
    EXPECT_EQ(device.load({device.state_name(), 1, "\xff\xff"}).error().kind(), ErrorKind::Corrupt);
    device.resume();
    EXPECT_EQ(clock.shows, Nanoseconds(7));
}

TEST_F(KvmClockTest, AnEngineThatRefusesIsAnError) {
    clock.broken = true;
    EXPECT_FALSE(device.save());
    EXPECT_FALSE(device.load(record(5000)));
}

}  // namespace
}  // namespace yado::machine
