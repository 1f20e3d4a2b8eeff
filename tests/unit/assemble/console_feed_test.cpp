#include "assemble/console_feed.h"

#include <gtest/gtest.h>

#include "io/call_on.h"

namespace yado::assemble {
namespace {

struct Feed : testing::Test {
    api::ConsoleHub hub;
    io::ExecutorThread io{"test"};
    // Executor's thread:
    std::string taken;
    size_t room = 1 << 20;
    uint16_t columns = 0;
    ConsoleFeed feed{hub, io.executor()};
    api::ConsoleHub::Typist typist = *hub.type();

    size_t take(std::span<const std::byte> bytes) {
        const size_t n = std::min(bytes.size(), room);
        taken.append(reinterpret_cast<const char*>(bytes.data()), n);
        room -= n;
        return n;
    }
    void connect() {
        feed.connect({.take = [this](std::span<const std::byte> bytes) { return take(bytes); }, .resize = [this](uint16_t c, uint16_t) { columns = c; }});
    }
    std::string settled() {
        return io::call_on(io.executor(), [this] { return taken; });
    }
};

TEST_F(Feed, TypedBytesReachTheDeviceInOrder) {
    connect();
    std::string all;
    for (int i = 0; i < 100; ++i) {
        all += std::to_string(i);
        typist.write(std::to_string(i));
    }
    EXPECT_EQ(settled(), all);
}

TEST_F(Feed, BytesTypedBeforeThereIsADeviceWaitForIt) {
    typist.write("early");
    connect();
    EXPECT_EQ(settled(), "early");
}

TEST_F(Feed, WhatTheDeviceDoesNotTakeIsOfferedAgainOnceThereIsRoom) {
    room = 3;
    connect();
    typist.write(std::string(300, 'x') + "end");
    EXPECT_EQ(settled(), "xxx");
    io::call_on(io.executor(), [this] { room = 1000; });
    feed.wake();
    EXPECT_EQ(settled(), std::string(300, 'x') + "end");
}

TEST_F(Feed, ANewSizeIsTold) {
    connect();
    hub.resize(132, 50);
    settled();
    EXPECT_EQ(columns, 132);
}

TEST_F(Feed, ADisconnectedDeviceHearsNothingMore) {
    connect();
    feed.disconnect();
    typist.write("late");
    hub.resize(132, 50);
    feed.wake();
    EXPECT_EQ(settled(), "");
    EXPECT_EQ(columns, 0);
}

TEST_F(Feed, OutputOfEveryDeviceIsShown) {
    connect();
    feed.put(std::byte{'a'});
    feed.output(std::as_bytes(std::span("bc", 2)));
    EXPECT_EQ(hub.read(0).bytes, "abc");
}

}  // namespace
}  // namespace yado::assemble
