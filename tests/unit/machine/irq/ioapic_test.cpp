#include "machine/irq/ioapic.h"

#include "irq/fakes.h"
#include "machine/irq/lines.h"

namespace yado::machine {
namespace {

struct IoapicTest : testing::Test {
    FakeMessages messages;
    Ioapic ioapic{{.messages = messages}};

    void window(uint8_t index, uint32_t value) {
        ioapic.write(kIoRegSel, 4, index);
        ioapic.write(kIoWin, 4, value);
    }
    uint32_t window(uint8_t index) {
        ioapic.write(kIoRegSel, 4, index);
        return static_cast<uint32_t>(ioapic.read(kIoWin, 4));
    }
    void route(unsigned pin, uint32_t low, uint32_t high = 0) {
        window(static_cast<uint8_t>(kIoRedTblFirst + 2 * pin + 1), high);
        window(static_cast<uint8_t>(kIoRedTblFirst + 2 * pin), low);
    }
    static constexpr uint32_t kLevel = 1 << 15, kMasked = 1 << 16;
};

TEST_F(IoapicTest, TheVersionShowsTwentyFourPinsAndAnEoiRegister) { EXPECT_EQ(window(kIoApicVer), 0x00170020u); }

TEST_F(IoapicTest, AnEdgeSendsItsMessage) {
    route(4, 0x34, 0x03000000);
    ioapic.line(4).pulse();
    ASSERT_EQ(messages.sent.size(), 1u);
    EXPECT_EQ(messages.sent[0].address.value(), 0xfee03000u);
    EXPECT_EQ(messages.sent[0].data, 0x4034u);
}

TEST_F(IoapicTest, ALogicalDestinationSetsTheModeBitOfTheAddress) {
    route(4, 0x834, 0xff000000);
    ioapic.line(4).pulse();
    EXPECT_EQ(messages.sent.at(0).address.value(), 0xfeeff004u);
}

TEST_F(IoapicTest, AMaskedEdgeIsLost) {  // 82093AA 3.2.4, bit 16
    route(4, 0x34 | kMasked);
    ioapic.line(4).set(true);
    route(4, 0x34);
    EXPECT_TRUE(messages.sent.empty());
}

TEST_F(IoapicTest, AMaskedLevelPinIsDeliveredOnUnmask) {
    route(16, 0x40 | kLevel | kMasked);
    ioapic.line(16).set(true);
    EXPECT_TRUE(messages.sent.empty());
    route(16, 0x40 | kLevel);
    EXPECT_EQ(messages.sent.size(), 1u);
}

TEST_F(IoapicTest, ALevelPinFiresAgainOnlyAfterItsEoi) {
    route(16, 0x40 | kLevel);
    ioapic.line(16).set(true);
    ioapic.line(16).set(false);
    ioapic.line(16).set(true);
    EXPECT_EQ(messages.sent.size(), 1u);
    EXPECT_TRUE(window(kIoRedTblFirst + 32) & 1 << 14) << "remote IRR";
    ioapic.eoi(0x41);
    EXPECT_EQ(messages.sent.size(), 1u);
    ioapic.eoi(0x40);
    EXPECT_EQ(messages.sent.size(), 2u);
    ioapic.line(16).set(false);
    ioapic.write(kIoEoi, 4, 0x40);
    EXPECT_EQ(messages.sent.size(), 2u);
    EXPECT_FALSE(window(kIoRedTblFirst + 32) & 1 << 14);
}

TEST_F(IoapicTest, MakingAnEntryEdgeTriggeredClearsRemoteIrr) {
    route(16, 0x40 | kLevel);
    ioapic.line(16).set(true);
    route(16, 0x40 | kMasked);
    route(16, 0x40 | kLevel);
    EXPECT_EQ(messages.sent.size(), 2u);
}

TEST_F(IoapicTest, RoutesAreAnnounced) {
    std::optional<bus::MsiMessage> last;
    Ioapic told({.messages = messages, .route_changed = [&](unsigned, std::optional<bus::MsiMessage> m) { last = m; }});
    told.write(kIoRegSel, 4, 0x10);
    told.write(kIoWin, 4, 0x8031);
    ASSERT_TRUE(last);
    EXPECT_EQ(last->data, 0xc031u);
    told.write(kIoWin, 4, 0x18031);
    EXPECT_FALSE(last);
}

TEST_F(IoapicTest, SavedStateGoesOnInAnotherIoapic) {
    route(16, 0x40 | kLevel);
    ioapic.line(16).set(true);
    FakeMessages later;
    Ioapic other({.messages = later});
    carry_over(ioapic, other);
    EXPECT_TRUE(later.sent.empty());
    other.eoi(0x40);
    EXPECT_EQ(later.sent.size(), 1u);
}

TEST_F(IoapicTest, AnySizeAndOffsetIsSurvived) {
    torture(ioapic, 0x100);
    for (unsigned index = 0; index < 256; ++index) window(static_cast<uint8_t>(index), ~0u);
    for (unsigned pin = 0; pin < 40; ++pin) ioapic.line(pin).pulse();
}

TEST(SharedLine, IsAssertedWhileAnySourceIs) {
    FakeLine out;
    SharedLine shared(out);
    bus::IrqLine &a = shared.add_source(), &b = shared.add_source();
    a.set(true);
    b.set(true);
    a.set(false);
    EXPECT_TRUE(out.level);
    b.set(false);
    EXPECT_FALSE(out.level);
}

}  // namespace
}  // namespace yado::machine
