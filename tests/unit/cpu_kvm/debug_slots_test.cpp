#include "cpu_kvm/debug_slots.h"

#include <gtest/gtest.h>

namespace yado::cpu_kvm {
namespace {

cpu::DebugControl watch(uint64_t at, uint64_t size, cpu::WatchKind kind = cpu::WatchKind::Write) {
    return {.single_step = false, .breakpoints = {}, .watchpoints = {{GuestLinearAddr(at), Bytes(size), kind}}};
}

TEST(DebugSlots, ABreakpointIsAnEnabledRegisterForExecution) {
    const auto slots = DebugSlots::create({.single_step = false, .breakpoints = {GuestLinearAddr(0x1000), GuestLinearAddr(0x2000)}, .watchpoints = {}});
    ASSERT_TRUE(slots);
    EXPECT_EQ(slots->address(1), 0x2000u);
    EXPECT_EQ(slots->dr7(), 0x600u | 2 | 2 << 2);
    EXPECT_EQ(slots->stop_of(2)->reason, cpu::DebugReason::Breakpoint);
    EXPECT_EQ(slots->stop_of(2)->address.value(), 0x2000u);
    EXPECT_FALSE(slots->stop_of(4));
    EXPECT_FALSE(slots->stop_of(1u << 14));
}

TEST(DebugSlots, NothingAskedForIsNothingEnabled) { EXPECT_EQ(DebugSlots::create({})->dr7(), 0x400u); }

TEST(DebugSlots, AWatchpointIsCutIntoAlignedPieces) {
    const auto slots = DebugSlots::create(watch(0x1002, 14, cpu::WatchKind::Access));
    ASSERT_TRUE(slots);  // 2 at 1002, 4 at 1004, 8 at 1008
    EXPECT_EQ(slots->address(0), 0x1002u);
    EXPECT_EQ(slots->address(1), 0x1004u);
    EXPECT_EQ(slots->address(2), 0x1008u);
    EXPECT_EQ(slots->dr7(), 0x600u | 2 | 2 << 2 | 2 << 4 | 7ull << 16 | 15ull << 20 | 11ull << 24);
    EXPECT_EQ(slots->stop_of(4)->reason, cpu::DebugReason::Watchpoint);
    EXPECT_EQ(slots->stop_of(4)->address.value(), 0x1008u);
}

TEST(DebugSlots, ReadsAreWatchedAsAccesses) {
    EXPECT_EQ(DebugSlots::create(watch(0x1000, 1, cpu::WatchKind::Read))->dr7(), 0x602u | 3 << 16);
    EXPECT_EQ(DebugSlots::create(watch(0x1000, 1, cpu::WatchKind::Write))->dr7(), 0x602u | 1 << 16);
}

TEST(DebugSlots, MoreThanFourAreRefused) {
    cpu::DebugControl control;
    for (uint64_t n = 0; n < 5; ++n) control.breakpoints.emplace_back(n);
    EXPECT_EQ(DebugSlots::create(control).error().kind(), ErrorKind::OutOfRange);
    EXPECT_TRUE(DebugSlots::create(watch(0, 32)));
    EXPECT_FALSE(DebugSlots::create(watch(0, 33)));
    EXPECT_FALSE(DebugSlots::create(watch(~0ull - 3, 1ull << 40)));
}

}  // namespace
}  // namespace yado::cpu_kvm
