#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>

#include "io/call_on.h"
#include "io/executor.h"
#include "io/gate.h"
#include "io/task.h"

namespace yado::io {
namespace {

Task<Result<int>> answer(Result<int> r) {
    const int v = co_await or_return(std::move(r));
    co_return v + 1;
}
Task<Result<int>> sum(Result<int> a, Result<int> b) {
    const int x = co_await or_return(co_await answer(std::move(a)));
    const int y = co_await or_return(co_await answer(std::move(b)));
    co_return x + y;
}

Result<int> run(Task<Result<int>> task) {
    Result<int> out = fail(ErrorKind::Failed, "did not end");
    spawn(std::move(task), [&](Result<int> r) { out = std::move(r); });
    return out;
}

TEST(Task, ValuesPassUpAndErrorsLeaveEarly) {
    EXPECT_EQ(*run(sum(1, 2)), 5);
    EXPECT_EQ(run(sum(1, fail(ErrorKind::NotFound, "gone"))).error().kind(), ErrorKind::NotFound);
}

struct CountsDestruction {
    int& count;
    ~CountsDestruction() { ++count; }
};
Task<Result<int>> with_local(int& destroyed) {
    const CountsDestruction local{destroyed};
    co_await or_return(Result<>(fail(ErrorKind::Failed, "early")));
    co_return 1;
}

TEST(Task, LocalsAreDestroyedOnAnEarlyReturn) {
    int destroyed = 0;
    EXPECT_FALSE(run(with_local(destroyed)));
    EXPECT_EQ(destroyed, 1);
}

TEST(Gate, CloseWaitsForThoseInsideAndRefusesNewOnes) {
    Gate gate;
    auto pass = std::make_unique<Gate::Pass>(*gate.enter());
    bool closed = false;
    const auto close = [](Gate& g, bool& done) -> Task<> {
        co_await g.close();
        done = true;
    };
    spawn(close(gate, closed));
    EXPECT_FALSE(closed);
    EXPECT_FALSE(gate.enter());
    pass.reset();
    EXPECT_TRUE(closed);
}

TEST(Executor, PostedFunctionsRunInOrderOnItsThread) {
    std::vector<int> order;
    {
        ExecutorThread thread("test");
        std::atomic<bool> done{false};
        for (int n = 0; n < 100; ++n) thread.executor().post([&, n] { order.push_back(n); });
        thread.executor().post([&] {
            EXPECT_TRUE(thread.executor().on_thread());
            done = true;
            done.notify_one();
        });
        done.wait(false);
    }
    ASSERT_EQ(order.size(), 100u);
    EXPECT_TRUE(std::ranges::is_sorted(order));
}

TEST(CallOn, TheCallRunsThereAfterWhatWasPostedAndItsResultComesBack) {
    ExecutorThread thread("test");
    bool before = false;
    thread.executor().post([&] { before = true; });
    const auto moved = call_on(thread.executor(), [&, n = std::make_unique<int>(7)]() mutable {
        EXPECT_TRUE(thread.executor().on_thread());
        return before ? std::move(n) : nullptr;
    });
    ASSERT_TRUE(moved);
    EXPECT_EQ(*moved, 7);
}

TEST(FinishOn, ATaskThatWaitsIsWaitedForAndItsErrorComesBack) {
    ExecutorThread thread("test");
    Completion<int> given;
    const auto wait = [](Executor& executor, Completion<int>& value) -> Task<Result<int>> {
        EXPECT_TRUE(executor.on_thread());
        executor.post([&value] { value.complete(3); });
        const int got = co_await value;
        co_return fail(ErrorKind::NotFound, "{} is gone", got);
    };
    const Result<int> result = finish_on(thread.executor(), wait(thread.executor(), given));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().message(), "3 is gone");
}

TEST(Executor, AWatchReportsReadinessUntilDestroyed) {
    Executor e;
    int fds[2];
    ASSERT_EQ(pipe(fds), 0);
    Executor::Watch watch;
    int calls = 0;
    watch = std::move(*e.watch(fds[0], EPOLLIN, [&](uint32_t) {
        ++calls;
        watch = {};  // inside its own callback
    }));
    ASSERT_EQ(write(fds[1], "x", 1), 1);
    e.run_once(std::chrono::seconds(5));
    e.run_once(Nanoseconds(0));
    EXPECT_EQ(calls, 1);
    close(fds[0]);
    close(fds[1]);
}

TEST(Executor, TimersFireInOrderOfTheirDeadlinesAndNotWhenCancelled) {
    Executor e;
    std::string fired;
    auto a = e.make_timer([&] { fired += 'a'; });
    auto b = e.make_timer([&] { fired += 'b'; });
    auto c = e.make_timer([&] { fired += 'c'; });
    const auto now = e.clock().now();
    a->arm(now + std::chrono::milliseconds(2));
    b->arm(now + std::chrono::milliseconds(1));
    c->arm(now + std::chrono::milliseconds(1));
    c->cancel();
    while (fired.size() < 2) e.run_once(std::chrono::seconds(5));
    EXPECT_EQ(fired, "ba");
}

TEST(Executor, ATimerThatSomebodyTookOverDoesNotFire) {
    Executor e;
    std::string fired;
    auto a = e.make_timer([&] { fired += 'a'; });
    auto b = e.make_timer([&] { fired += 'b'; });
    const auto now = e.clock().now();
    a->arm(now + std::chrono::milliseconds(1));
    b->arm(now + std::chrono::milliseconds(2));
    EXPECT_EQ(a->take_over(), now + std::chrono::milliseconds(1));
    EXPECT_EQ(a->take_over(), std::nullopt);
    while (fired.empty()) e.run_once(std::chrono::seconds(5));
    EXPECT_EQ(fired, "b");
}

TEST(Executor, ATimerFiresAfterItWasTakenOverAndArmedAgain) {
    Executor e;
    int fired = 0;
    auto a = e.make_timer([&] { ++fired; });
    a->arm(e.clock().now() + std::chrono::hours(1));
    a->take_over();
    a->arm(e.clock().now() + std::chrono::milliseconds(1));
    while (!fired) e.run_once(std::chrono::seconds(5));
    EXPECT_EQ(fired, 1);
}

TEST(Executor, ADeadlineThatIsPutOffCountsAndTheEarlierOneDoesNot) {
    Executor e;
    Nanoseconds at{};
    auto a = e.make_timer([&] { at = e.clock().now(); });
    const auto later = e.clock().now() + std::chrono::milliseconds(3);
    a->arm(later - std::chrono::milliseconds(2));
    a->arm(later);
    while (!at.count()) e.run_once(std::chrono::seconds(5));
    EXPECT_GE(at, later);
}

TEST(ManualTimers, AdvancingFiresWhatFallsDueAtItsTime) {
    ManualTimers timers;
    std::vector<int64_t> at;
    std::unique_ptr<Timer> t = timers.make_timer([&] {
        at.push_back(timers.clock().now().count());
        if (at.size() < 3) t->arm(timers.clock().now() + Nanoseconds(10));
    });
    t->arm(Nanoseconds(10));
    timers.advance(Nanoseconds(100));
    EXPECT_EQ(at, (std::vector<int64_t>{10, 20, 30}));
    EXPECT_EQ(timers.clock().now().count(), 100);
}

}  // namespace
}  // namespace yado::io
