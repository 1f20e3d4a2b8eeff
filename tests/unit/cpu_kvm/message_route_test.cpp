// Event descriptors interrupt a guest on the real /dev/kvm, without anybody of ours in between.
#include <sys/eventfd.h>
#include <unistd.h>

#include <thread>

#include "kvm_fixture.h"

namespace yado::cpu_kvm {
namespace {

using Ports = std::vector<std::pair<uint16_t, uint64_t>>;

cpu::RouteMessage to_vector(uint8_t vector) { return {GuestPhysAddr(0xfee00000), 0x4000u | vector}; }

/// A guest that waits; the handlers of 40H and 41H report their numbers to port 80H.
class KvmMessageRoute : public KvmTest {
  protected:
    static constexpr uint8_t kFirst = 0x40, kSecond = 0x41;

    void SetUp() override {
        KvmTest::SetUp();
        if (IsSkipped()) return;
        for (const uint8_t vector : {kFirst, kSecond}) {
            const uint64_t handler = kHandler + 16u * vector;
            set_vector(vector, static_cast<uint16_t>(handler));
            load(handler, {0xb0, vector, 0xe6, 0x80, 0x66, 0xb8, 0, 0, 0, 0, 0x66, 0xa3, 0xb0, 0, 0xcf});  // out 80h; EOI; iret
        }
        load(kCode, {0xfb, 0xf4, 0xeb, 0xfd});  // sti; hlt; jmp hlt
        cpu::CpuState state = start_state();
        state.seg[cpu::DS].base = 0xfee00000;
        ASSERT_TRUE(vcpu_->set_state(state));
    }
    std::unique_ptr<cpu::MessageRoute> make_route() {
        auto route = engine_->make_message_route(event_.get());
        EXPECT_TRUE(route.has_value());
        return std::move(*route);
    }
    void write_event() const {
        const uint64_t one = 1;
        ASSERT_EQ(::write(event_.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
    }
    /// Events that nobody took.
    uint64_t left() const {
        uint64_t count = 0;
        return ::read(event_.get(), &count, sizeof count) == sizeof count ? count : 0;
    }
    /// Runs until a handler has reported.
    uint64_t next_interrupt() {
        devices_.port_writes.clear();
        EXPECT_EQ(text(vcpu_->run()), "kicked");
        EXPECT_EQ(devices_.port_writes.size(), 1u);
        return devices_.port_writes.empty() ? 0 : devices_.port_writes[0].second;
    }

    const Fd event_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

TEST_F(KvmMessageRoute, AnEventWakesAHaltedGuest) {
    const auto route = make_route();
    ASSERT_TRUE(route->bind(to_vector(kFirst)));
    const std::jthread device([this] { write_event(); });
    EXPECT_EQ(next_interrupt(), kFirst);
}

TEST_F(KvmMessageRoute, AnEventThatCameBeforeTheBindingIsNotLost) {
    const auto route = make_route();
    write_event();
    ASSERT_TRUE(route->bind(to_vector(kFirst)));
    EXPECT_EQ(next_interrupt(), kFirst);
}

TEST_F(KvmMessageRoute, EventsOfAnUnboundDescriptorStayInIt) {
    const auto route = make_route();
    ASSERT_TRUE(route->bind(to_vector(kFirst)));
    route->unbind();
    write_event();
    write_event();
    engine_->send_msi(GuestPhysAddr(0xfee00000), to_vector(kSecond).data);
    EXPECT_EQ(next_interrupt(), kSecond);
    EXPECT_EQ(left(), 2u);
}

TEST_F(KvmMessageRoute, UnbindingWaitsForEarlierEvents) {
    const auto route = make_route();
    ASSERT_TRUE(route->bind(to_vector(kFirst)));
    write_event();
    route->unbind();
    EXPECT_EQ(left(), 0u);
    const auto state = vcpu_->get_state();
    ASSERT_TRUE(state);
    EXPECT_EQ(state->lapic->regs[0x20 + kFirst / 32] >> kFirst % 32 & 1, 1u);  // IRR
}

TEST_F(KvmMessageRoute, ABoundDescriptorFollowsItsMessage) {
    const auto route = make_route();
    ASSERT_TRUE(route->bind(to_vector(kFirst)));
    ASSERT_TRUE(route->bind(to_vector(kSecond)));
    write_event();
    EXPECT_EQ(next_interrupt(), kSecond);
    route->unbind();
    ASSERT_TRUE(route->bind(to_vector(kFirst)));
    write_event();
    EXPECT_EQ(next_interrupt(), kFirst);
}

TEST_F(KvmMessageRoute, DescriptorsHaveMessagesOfTheirOwn) {
    const Fd other(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    const auto first = make_route();
    const auto second = engine_->make_message_route(other.get());
    ASSERT_TRUE(second);
    ASSERT_TRUE(first->bind(to_vector(kFirst)));
    ASSERT_TRUE((*second)->bind(to_vector(kSecond)));
    const uint64_t one = 1;
    ASSERT_EQ(::write(other.get(), &one, sizeof one), static_cast<ssize_t>(sizeof one));
    EXPECT_EQ(next_interrupt(), kSecond);
    write_event();
    EXPECT_EQ(next_interrupt(), kFirst);
}

TEST_F(KvmMessageRoute, EventsWhoseMessageIsNoInterruptAreLost) {
    const auto route = make_route();
    for (const uint64_t address : {0x1000ull, 0x1fee00000ull, ~3ull}) {
        ASSERT_TRUE(route->bind({GuestPhysAddr(address), to_vector(kFirst).data})) << std::hex << address;
        write_event();
    }
    route->unbind();
    EXPECT_EQ(left(), 0u);
    engine_->send_msi(GuestPhysAddr(0x1000), to_vector(kFirst).data);
    const auto state = vcpu_->get_state();
    ASSERT_TRUE(state);
    EXPECT_EQ(state->lapic->regs[0x20 + kFirst / 32], 0u);
}

TEST_F(KvmMessageRoute, LevelTriggeredPinsKeepTheirRoutesBesideDescriptors) {
    std::vector<uint8_t> ends;
    engine_->on_eoi([&](uint8_t vector) { ends.push_back(vector); });
    const cpu::RouteMessage level{GuestPhysAddr(0xfee00000), 1u << 15 | to_vector(kFirst).data};
    engine_->ioapic_route(5, level);
    const auto route = make_route();
    ASSERT_TRUE(route->bind(to_vector(kSecond)));
    engine_->send_msi(level.address, level.data);
    EXPECT_EQ(next_interrupt(), kFirst);
    write_event();
    EXPECT_EQ(next_interrupt(), kSecond);
    EXPECT_EQ(ends, std::vector<uint8_t>{kFirst});
}

TEST_F(KvmMessageRoute, ADescriptorIsBoundOnce) {
    const auto route = make_route(), again = make_route();
    ASSERT_TRUE(route->bind(to_vector(kFirst)));
    EXPECT_FALSE(again->bind(to_vector(kSecond)));
    write_event();
    EXPECT_EQ(next_interrupt(), kFirst);
}

TEST_F(KvmMessageRoute, NumbersEndWithAnErrorAndComeBack) {
    std::vector<std::unique_ptr<cpu::MessageRoute>> all;
    auto route = engine_->make_message_route(event_.get());
    for (; route; route = engine_->make_message_route(event_.get())) all.push_back(std::move(*route));
    EXPECT_EQ(route.error().kind(), ErrorKind::OutOfRange);
    EXPECT_GE(all.size(), 1000u);
    EXPECT_NE(engine_->describe().find(std::to_string(all.size()) + " interrupt routes"), std::string::npos);
    ASSERT_TRUE(all.back()->bind(to_vector(kFirst)));  // the highest number works
    write_event();
    EXPECT_EQ(next_interrupt(), kFirst);
    all.clear();
    EXPECT_TRUE(engine_->make_message_route(event_.get()));
}

}  // namespace
}  // namespace yado::cpu_kvm
