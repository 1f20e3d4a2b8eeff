// The bookkeeping of interrupt numbers and of KVM's table, without KVM.
#include "cpu_kvm/irq_routes.h"

#include <gtest/gtest.h>

namespace yado::cpu_kvm {
namespace {

using cpu::RouteMessage;
using Table = std::vector<IrqRoutes::Route>;
using Assigned = std::vector<std::pair<Gsi, int>>;

struct FakeKernel final : IrqRoutes::Kernel {
    Result<> set_table(std::span<const IrqRoutes::Route> routes) override {
        if (refuse_tables) return fail(ErrorKind::Failed, "table refused");
        table.assign(routes.begin(), routes.end());
        ++tables;
        return {};
    }
    Result<> assign(Gsi gsi, int eventfd) override {
        if (refuse_assign) return fail(ErrorKind::Failed, "descriptor refused");
        assigned.emplace_back(gsi, eventfd);
        return {};
    }
    void deassign(Gsi gsi, int eventfd) override { ASSERT_EQ(std::erase(assigned, std::pair(gsi, eventfd)), 1u); }

    bool refuse_tables = false, refuse_assign = false;
    Table table;
    unsigned tables = 0;
    Assigned assigned;
};

RouteMessage message(uint32_t data) { return {GuestPhysAddr(0xfee00000), data}; }

struct IrqRoutesTest : testing::Test {
    static constexpr unsigned kPins = 4, kLimit = 7;
    FakeKernel kernel;
    IrqRoutes routes{kernel, kPins, kLimit};

    std::unique_ptr<cpu::MessageRoute> make(int eventfd) {
        auto route = routes.make(eventfd);
        EXPECT_TRUE(route.has_value());
        return std::move(*route);
    }
};

TEST_F(IrqRoutesTest, ABoundDescriptorGetsANumberAboveThePins) {
    const auto route = make(10);
    EXPECT_EQ(kernel.tables, 0u);
    ASSERT_TRUE(route->bind(message(0x41)));
    EXPECT_EQ(kernel.table, (Table{{Gsi(kPins), message(0x41)}}));
    EXPECT_EQ(kernel.assigned, (Assigned{{Gsi(kPins), 10}}));
}

TEST_F(IrqRoutesTest, PinsAndDescriptorsShareTheTable) {
    const auto one = make(10), two = make(11);
    ASSERT_TRUE(two->bind(message(0x42)));
    ASSERT_TRUE(routes.set_pin(2, message(0x30)));
    ASSERT_TRUE(one->bind(message(0x41)));
    EXPECT_EQ(kernel.table, (Table{{Gsi(2), message(0x30)}, {Gsi(4), message(0x41)}, {Gsi(5), message(0x42)}}));
}

TEST_F(IrqRoutesTest, WhatDoesNotChangeMakesNoTable) {
    const auto route = make(10);
    ASSERT_TRUE(routes.set_pin(2, message(0x30)));
    ASSERT_TRUE(route->bind(message(0x41)));
    EXPECT_EQ(kernel.tables, 2u);
    ASSERT_TRUE(routes.set_pin(2, message(0x30)));
    route->unbind();
    ASSERT_TRUE(route->bind(message(0x41)));
    EXPECT_EQ(kernel.tables, 2u);
}

TEST_F(IrqRoutesTest, AnotherMessageOfABoundDescriptorIsNoOtherAssignment) {
    const auto route = make(10);
    ASSERT_TRUE(route->bind(message(0x41)));
    ASSERT_TRUE(route->bind(message(0x51)));
    EXPECT_EQ(kernel.table, (Table{{Gsi(4), message(0x51)}}));
    EXPECT_EQ(kernel.assigned.size(), 1u);
}

TEST_F(IrqRoutesTest, AnUnboundDescriptorIsNotAssigned) {
    const auto route = make(10);
    ASSERT_TRUE(route->bind(message(0x41)));
    route->unbind();
    EXPECT_TRUE(kernel.assigned.empty());
    route->unbind();
    ASSERT_TRUE(route->bind(message(0x41)));
    EXPECT_EQ(kernel.assigned.size(), 1u);
}

TEST_F(IrqRoutesTest, ARouteThatEndsFreesItsNumberAndLeavesTheNextTable) {
    auto one = make(10);
    const auto two = make(11);
    ASSERT_TRUE(one->bind(message(0x41)));
    ASSERT_TRUE(two->bind(message(0x42)));
    one.reset();
    EXPECT_EQ(kernel.assigned, (Assigned{{Gsi(5), 11}}));
    EXPECT_EQ(routes.in_use(), 1u);
    ASSERT_TRUE(two->bind(message(0x52)));
    EXPECT_EQ(kernel.table, (Table{{Gsi(5), message(0x52)}}));
    const auto three = make(12);
    ASSERT_TRUE(three->bind(message(0x43)));
    EXPECT_EQ(kernel.table, (Table{{Gsi(4), message(0x43)}, {Gsi(5), message(0x52)}}));
}

TEST_F(IrqRoutesTest, AFreedNumberDoesNotKeepItsMessage) {
    ASSERT_TRUE(make(10)->bind(message(0x41)));
    const auto next = make(11);
    ASSERT_TRUE(next->bind(message(0x41)));
    EXPECT_EQ(kernel.table, (Table{{Gsi(4), message(0x41)}}));
    EXPECT_EQ(kernel.tables, 2u);
}

TEST_F(IrqRoutesTest, BeyondTheLimitThereIsNone) {
    std::vector<std::unique_ptr<cpu::MessageRoute>> all;
    for (unsigned n = kPins; n < kLimit; ++n) all.push_back(make(static_cast<int>(n)));
    EXPECT_EQ(routes.in_use(), kLimit - kPins);
    const auto none = routes.make(99);
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().kind(), ErrorKind::OutOfRange);
    EXPECT_NE(none.error().message().find("all 3 interrupt routes"), std::string::npos);
    all.erase(all.begin() + 1);
    EXPECT_TRUE(routes.make(99));
}

TEST_F(IrqRoutesTest, ARefusedTableLeavesWhatWasThere) {
    const auto route = make(10);
    ASSERT_TRUE(routes.set_pin(1, message(0x30)));
    kernel.refuse_tables = true;
    EXPECT_FALSE(routes.set_pin(1, message(0x31)));
    EXPECT_FALSE(route->bind(message(0x41)));
    EXPECT_TRUE(kernel.assigned.empty());
    kernel.refuse_tables = false;
    ASSERT_TRUE(routes.set_pin(2, message(0x32)));
    EXPECT_EQ(kernel.table, (Table{{Gsi(1), message(0x30)}, {Gsi(2), message(0x32)}}));
}

TEST_F(IrqRoutesTest, ABoundDescriptorWhoseNewMessageIsRefusedIsUnbound) {
    const auto route = make(10);
    ASSERT_TRUE(route->bind(message(0x41)));
    kernel.refuse_tables = true;
    EXPECT_FALSE(route->bind(message(0x42)));
    EXPECT_TRUE(kernel.assigned.empty());
}

TEST_F(IrqRoutesTest, ARefusedDescriptorIsNotBound) {
    const auto route = make(10);
    kernel.refuse_assign = true;
    EXPECT_FALSE(route->bind(message(0x41)));
    route->unbind();  // FakeKernel::deassign would fail the test
    kernel.refuse_assign = false;
    EXPECT_TRUE(route->bind(message(0x41)));
    EXPECT_EQ(kernel.assigned.size(), 1u);
}

}  // namespace
}  // namespace yado::cpu_kvm
