#include "cpu_interp/time_split.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace yado::cpu_interp {
namespace {

TEST(TimeSplit, WhatRunsNowIsCountedUpToNow) {
    TimeSplit split;
    split.change(Doing::Idle);
    const uint64_t first = split.read().values["idle"];
    EXPECT_GT(split.read().values["idle"], first);
    EXPECT_EQ(split.read().values["devices"], 0u);
}

TEST(TimeSplit, SpendingEndsWithItsScope) {
    TimeSplit split;
    {
        const Spending outer(&split, Doing::Translated);
        while (split.read().values["translated"] == 0) {}  // a nanosecond may be longer than two readings are apart
        const Spending inner(&split, Doing::Devices);
        while (split.read().values["devices"] == 0) {}
    }
    EXPECT_EQ(split.change(Doing::Outside), Doing::Outside);
    EXPECT_GT(split.read().values["translated"], 0u);
    EXPECT_GT(split.read().values["devices"], 0u);
}

TEST(TimeSplit, NoReadingGoesBackWhileAnotherThreadChanges) {
    TimeSplit split;
    std::atomic<bool> done{false};
    std::thread writer([&] {
        for (int n = 0; n < 200'000; ++n) split.change(n % 2 ? Doing::Idle : Doing::Interpreter);
        done = true;
    });
    uint64_t last = 0, back = 0;
    while (!done) {
        uint64_t sum = 0;
        for (const auto& [name, value] : split.read().values) sum += value;
        back += sum + kDoings < last;  // each value is rounded down
        last = sum;
    }
    writer.join();
    EXPECT_EQ(back, 0u);
}

}  // namespace
}  // namespace yado::cpu_interp
