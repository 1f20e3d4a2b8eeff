#include "machine/irq/pic.h"

#include "irq/fakes.h"

namespace yado::machine {
namespace {

struct PicTest : testing::Test {
    bool intr = false;
    Pic pic{{[this](bool on) { intr = on; }}};

    void master(unsigned port, uint8_t v) { pic.master_ports().write(port, 1, v); }
    void slave(unsigned port, uint8_t v) { pic.slave_ports().write(port, 1, v); }
    uint8_t master_read(unsigned port) { return static_cast<uint8_t>(pic.master_ports().read(port, 1)); }
    void SetUp() override { initialize(0x01); }
    void initialize(uint8_t icw4) {
        master(0, 0x11), master(1, 0x20), master(1, 0x04), master(1, icw4);
        slave(0, 0x11), slave(1, 0x28), slave(1, 0x02), slave(1, icw4);
    }
};

TEST_F(PicTest, AnEdgeIsDeliveredWithTheProgrammedVector) {
    pic.line(4).pulse();
    EXPECT_TRUE(intr);
    EXPECT_EQ(pic.acknowledge(), 0x24);
    EXPECT_FALSE(intr);
    EXPECT_EQ(pic.acknowledge(), std::nullopt);
}

TEST_F(PicTest, ASlaveInterruptComesThroughTheCascade) {
    pic.line(12).pulse();
    EXPECT_EQ(pic.acknowledge(), 0x2c);
    master(0, 0x0b);
    EXPECT_EQ(master_read(0), 0x04) << "IR2 is in service";
}

TEST_F(PicTest, AMaskedLineWaitsForItsUnmasking) {
    master(1, 0x10);
    pic.line(4).pulse();
    EXPECT_FALSE(intr);
    master(1, 0x00);
    EXPECT_TRUE(intr);
}

TEST_F(PicTest, ALowerPriorityWaitsForTheEoiOfAHigherOne) {
    pic.line(1).pulse();
    EXPECT_EQ(pic.acknowledge(), 0x21);
    pic.line(3).pulse();
    EXPECT_FALSE(intr);
    master(0, 0x20);
    EXPECT_EQ(pic.acknowledge(), 0x23);
}

TEST_F(PicTest, AHigherPriorityInterruptsALowerOneInService) {
    pic.line(5).pulse();
    pic.acknowledge();
    pic.line(3).pulse();
    EXPECT_EQ(pic.acknowledge(), 0x23);
}

TEST_F(PicTest, ALevelLineStaysPendingUntilItFalls) {  // ELCR: ICH9 13.4.11
    pic.elcr_ports().write(0, 1, 0xff);
    EXPECT_EQ(pic.elcr_ports().read(0, 1), 0xf8u);
    pic.line(5).set(true);
    EXPECT_EQ(pic.acknowledge(), 0x25);
    master(0, 0x20);
    EXPECT_TRUE(intr);
    pic.line(5).set(false);
    EXPECT_FALSE(intr);
}

TEST_F(PicTest, SpecialMaskModeLetsLowerPrioritiesThrough) {  // "Special Mask Mode"
    pic.line(3).pulse();
    pic.acknowledge();
    pic.line(6).pulse();
    master(1, 0x08);
    EXPECT_FALSE(intr);
    master(0, 0x68);
    EXPECT_EQ(pic.acknowledge(), 0x26);
}

TEST_F(PicTest, RotationOnEoiMakesTheServedLevelTheLowest) {  // "Automatic Rotation"
    pic.line(0).pulse();
    pic.line(1).pulse();
    EXPECT_EQ(pic.acknowledge(), 0x20);
    master(0, 0xa0);
    pic.line(0).pulse();
    EXPECT_EQ(pic.acknowledge(), 0x21);
}

TEST_F(PicTest, SetPriorityChoosesTheLowestLevel) {
    master(0, 0xc0 | 3);
    pic.line(0).pulse();
    pic.line(4).pulse();
    EXPECT_EQ(pic.acknowledge(), 0x24);
}

TEST_F(PicTest, APollReadIsAnAcknowledgement) {  // "Poll Command"
    pic.line(6).pulse();
    master(0, 0x0c);
    EXPECT_EQ(master_read(0), 0x86);
    EXPECT_FALSE(intr);
    master(0, 0x0b);
    EXPECT_EQ(master_read(0), 0x40);
}

TEST_F(PicTest, AutoEoiLeavesNothingInService) {
    initialize(0x03);
    pic.line(1).pulse();
    pic.acknowledge();
    pic.line(3).pulse();
    EXPECT_TRUE(intr);
}

TEST_F(PicTest, SpecialFullyNestedModeLetsASecondSlaveInterruptThrough) {  // "Special Fully Nested Mode"
    pic.line(12).pulse();
    pic.acknowledge();
    pic.line(9).pulse();
    EXPECT_FALSE(intr);
    initialize(0x11);
    pic.line(12).pulse();
    pic.acknowledge();
    pic.line(9).pulse();
    EXPECT_EQ(pic.acknowledge(), 0x29);
}

TEST_F(PicTest, SavedStateGoesOnInAnotherPic) {
    pic.line(4).pulse();
    bool other_intr = false;
    Pic other({[&](bool on) { other_intr = on; }});
    carry_over(pic, other);
    EXPECT_TRUE(other_intr);
    EXPECT_EQ(other.acknowledge(), 0x24);
}

TEST_F(PicTest, AnySizeAndValueIsSurvived) {
    for (bus::IoHandler* ports : {&pic.master_ports(), &pic.slave_ports(), &pic.elcr_ports()}) torture(*ports, 8);
    for (unsigned i = 0; i < 32; ++i) pic.line(i).pulse(), pic.acknowledge();
}

}  // namespace
}  // namespace yado::machine
