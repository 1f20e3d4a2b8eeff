#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/guarded.h"
#include "base/log.h"
#include "base/register.h"
#include "base/units.h"

namespace yado {
namespace {

Result<int> half(int n) {
    if (n % 2) return fail(ErrorKind::OutOfRange, "{} is odd", n);
    return n / 2;
}
Result<int> quarter(int n) { return half(YADO_TRY(half(n))); }

TEST(Error, TryUnwrapsAValueAndReturnsAnError) {
    EXPECT_EQ(*quarter(12), 3);
    EXPECT_EQ(quarter(6).error().message(), "3 is odd");
}

TEST(Error, ContextStandsBeforeTheMessage) { EXPECT_EQ(half(1).error().within("disk0").message(), "disk0: 1 is odd"); }

TEST(Error, ErrnoDecidesTheKindAndTheExitStatus) {
    EXPECT_EQ(exit_status(errno_error(ENOENT, "x").kind()), 3);
    EXPECT_EQ(exit_status(errno_error(EACCES, "x").kind()), 5);
    EXPECT_EQ(exit_status(errno_error(EADDRINUSE, "x").kind()), 4);
    EXPECT_EQ(exit_status(errno_error(EIO, "x").kind()), 1);
    EXPECT_EQ(exit_status(ErrorKind::GuestCrashed), 8);
}

TEST(Units, AdditionThatWrapsIsSeen) {
    EXPECT_FALSE(GuestPhysAddr(~0ull).checked_add(Bytes(1)));
    EXPECT_EQ(GuestPhysAddr(4096).checked_add(4_KiB)->value(), 8192u);
}

struct Sample : Register<Sample, uint32_t> {
    using Register::Register;
    static constexpr Field<Sample, uint8_t, 4, 8> VECTOR{};
    static constexpr Field<Sample, bool, 31> MASK{};
};

TEST(Register, AFieldIsReadAndWrittenInItsPlaceOnly) {
    Sample r(0xf000000f);
    r.set(Sample::VECTOR, 0xab);
    r.set(Sample::MASK, false);
    EXPECT_EQ(r.raw, 0x70000abfu);
    EXPECT_EQ(r.get(Sample::VECTOR), 0xab);
    EXPECT_FALSE(r.get(Sample::MASK));
}

TEST(Clock, TicksAndTimesOfTicksAreInverse) {
    for (const uint64_t hz : {1'193'182ull, 3'579'545ull, 32'768ull, 1'000'000'000ull})
        for (const uint64_t tick : {1ull, 2ull, 999'999ull, 123'456'789'012ull}) {
            EXPECT_EQ(ticks_at(time_of_tick(tick, hz), hz), tick);
            EXPECT_EQ(ticks_at(time_of_tick(tick, hz) - Nanoseconds(1), hz), tick - 1);
        }
}

TEST(Failpoint, AnArmedPointFailsAfterSkipsAndThenNoMore) {
    failpoint::arm("here", Error(ErrorKind::Failed, "injected"), 1, 2);
    EXPECT_FALSE(failpoint::hit("here"));
    EXPECT_TRUE(failpoint::hit("here"));
    EXPECT_TRUE(failpoint::hit("here"));
    EXPECT_FALSE(failpoint::hit("here"));
    EXPECT_FALSE(failpoint::hit("elsewhere"));
    failpoint::disarm_all();
}

TEST(Log, ACallSiteInAStormIsHeldBack) {
    LogLimiter limiter;
    uint64_t left_out = 0;
    int admitted = 0;
    for (int n = 0; n < 1000; ++n) admitted += limiter.admit(&left_out);
    EXPECT_LE(admitted, 20);  // 10, or 20 if the window turned over
    EXPECT_GE(admitted, 10);
}

TEST(GuardedDeathTest, TakingLocksAgainstTheirRankIsCaughtInCheckedBuilds) {
    if (!kCheckLockRanks) GTEST_SKIP() << "lock ranks are checked in debug and sanitizer builds";
    Guarded<int, LockRank::Lapic> inner;
    Guarded<int, LockRank::Device> outer;
    EXPECT_DEATH(
        {
            auto a = inner.lock();
            auto b = outer.lock();
        },
        "check failed");
}

}  // namespace
}  // namespace yado
