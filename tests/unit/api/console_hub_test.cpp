#include <gtest/gtest.h>

#include "api/console_hub.h"
#include "api/event_log.h"

using namespace yado;
using namespace yado::api;

namespace {
void print(ConsoleHub& hub, std::string_view text) { hub.output(std::as_bytes(std::span(text))); }
std::string typed(ConsoleHub& hub, size_t room) {
    std::string out(room, '\0');
    out.resize(hub.take_input(std::as_writable_bytes(std::span(out))));
    return out;
}
}  // namespace

TEST(ConsoleHub, ALateWatcherReadsTheHistory) {
    ConsoleHub hub;
    print(hub, "hello ");
    print(hub, "world");
    const auto chunk = hub.read(0);
    EXPECT_EQ(chunk.bytes, "hello world");
    EXPECT_EQ(chunk.next, 11u);
    EXPECT_EQ(hub.read(6).bytes, "world");
    EXPECT_EQ(hub.read(11).bytes, "");
}

TEST(ConsoleHub, AWatcherThatFellBehindIsToldHowMuchItLost) {
    ConsoleHub hub;
    for (size_t i = 0; i < ConsoleHub::kHistory + 100; ++i) print(hub, i % 10 == 0 ? "0" : "1");
    const auto chunk = hub.read(40, 20);
    EXPECT_EQ(chunk.lost, 60u);
    EXPECT_EQ(chunk.bytes, "01111111110111111111");
    EXPECT_EQ(chunk.next, 120u);
}

TEST(ConsoleHub, OneOutputLargerThanTheHistoryKeepsItsEnd) {
    ConsoleHub hub;
    print(hub, std::string(ConsoleHub::kHistory + 5, 'x') + "end");
    EXPECT_EQ(hub.read(hub.end_cursor() - 3).bytes, "end");
    EXPECT_EQ(hub.read(0).lost, 8u);
}

TEST(ConsoleHub, ReadsAcrossTheRingsEdge) {
    ConsoleHub hub;
    print(hub, std::string(ConsoleHub::kHistory - 2, 'x'));
    print(hub, "abcd");
    EXPECT_EQ(hub.read(ConsoleHub::kHistory - 3).bytes, "xabcd");
}

TEST(ConsoleHub, ACursorFromTheFutureReadsNothing) {
    ConsoleHub hub;
    print(hub, "a");
    const auto chunk = hub.read(~0ull);
    EXPECT_EQ(chunk.bytes, "");
    EXPECT_EQ(chunk.lost, 0u);
    EXPECT_EQ(chunk.next, 1u);
}

TEST(ConsoleHub, WatchersHearOfOutputUntilTheyLeave) {
    ConsoleHub hub;
    int heard = 0;
    {
        const auto watch = hub.watch([&] { ++heard; });
        print(hub, "a");
    }
    print(hub, "b");
    EXPECT_EQ(heard, 1);
}

TEST(ConsoleHub, TheEndComesAfterWhatIsLeft) {
    ConsoleHub hub;
    print(hub, "ab");
    hub.close();
    EXPECT_FALSE(hub.read(0, 1).end);
    EXPECT_TRUE(hub.read(0).end);
}

TEST(ConsoleHub, OnlyOneTypes) {
    ConsoleHub hub;
    {
        const auto first = hub.type();
        ASSERT_TRUE(first);
        const auto second = hub.type();
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().kind(), ErrorKind::Conflict);
    }
    EXPECT_TRUE(hub.type());
}

TEST(ConsoleHub, TypedBytesAreBoundedAndTakenInOrder) {
    ConsoleHub hub;
    int ready = 0;
    hub.set_input_ready([&] { ++ready; });
    auto typist = hub.type();
    EXPECT_EQ(typist->write("abc"), 3u);
    EXPECT_EQ(typed(hub, 2), "ab");
    EXPECT_EQ(typed(hub, 2), "c");
    EXPECT_EQ(typist->write(std::string(ConsoleHub::kInputRoom + 1, 'x')), ConsoleHub::kInputRoom);
    EXPECT_EQ(typist->write("y"), 0u);
    EXPECT_EQ(ready, 2);
}

TEST(EventLog, AListenerGetsThePastOnceAndThenTheNew) {
    ManualClock clock;
    EventLog log(clock);
    log.add("started");
    log.add("paused");
    std::vector<Event> past;
    std::vector<std::string> heard;
    {
        const auto subscription = log.subscribe(1, past, [&](const Event& e) { heard.push_back(e.kind); });
        log.add("resumed");
    }
    log.add("reset");
    ASSERT_EQ(past.size(), 1u);
    EXPECT_EQ(past[0].kind, "paused");
    EXPECT_EQ(past[0].number, 2u);
    EXPECT_EQ(heard, std::vector<std::string>{"resumed"});
}

TEST(EventLog, OnlyTheLastEventsAreKept) {
    ManualClock clock;
    EventLog log(clock);
    for (size_t i = 0; i < EventLog::kKept + 10; ++i) log.add("tick");
    std::vector<Event> past;
    const auto subscription = log.subscribe(0, past, [](const Event&) {});
    EXPECT_EQ(past.size(), EventLog::kKept);
    EXPECT_EQ(past.front().number, 11u);
}
