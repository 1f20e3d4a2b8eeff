#include "machine/lpc/acpi_pm.h"

#include "irq/fakes.h"
#include "machine/lpc/reset_control.h"

namespace yado::machine {
namespace {

struct AcpiPmTest : testing::Test {
    io::ManualTimers timers;
    FakeLine sci;
    int power_offs = 0;
    AcpiPm pm{wiring(sci)};

    AcpiPm::Wiring wiring(FakeLine& line) {
        return {.sci = line, .timers = timers, .power_off = [this] { ++power_offs; }, .sleep_type_s5 = 0};
    }
    uint64_t in(uint64_t offset, unsigned size) { return pm.ports().read(offset, size); }
    void out(uint64_t offset, unsigned size, uint64_t v) { pm.ports().write(offset, size, v); }
};

TEST_F(AcpiPmTest, ThePowerButtonRaisesSciWhenEnabled) {
    pm.press_power_button();
    EXPECT_FALSE(sci.level);
    out(2, 2, 0x100);
    EXPECT_TRUE(sci.level);
    EXPECT_EQ(in(0, 2) & 0x100, 0x100u);
    out(0, 2, 0x100);
    EXPECT_FALSE(sci.level);
}

TEST_F(AcpiPmTest, SleepEnableWithS5PowersOff) {
    out(4, 2, 0x2000 | 5 << 10);
    EXPECT_EQ(power_offs, 0) << "another sleep type";
    out(4, 2, 0x2000);
    EXPECT_EQ(power_offs, 1);
    EXPECT_EQ(in(4, 2) & 0x2000, 0u) << "write-only";
}

TEST_F(AcpiPmTest, TheTimerCountsAtItsFrequency) {
    const uint64_t before = in(8, 4);
    timers.advance(std::chrono::seconds(1));
    EXPECT_EQ(in(8, 4) - before, 3'579'545u);
}

TEST_F(AcpiPmTest, TheTimersTopBitRaisesSciWhenEnabled) {
    out(2, 2, 1);
    timers.advance(std::chrono::seconds(599));
    EXPECT_FALSE(sci.level);
    timers.advance(std::chrono::seconds(2));
    EXPECT_TRUE(sci.level);
    out(0, 2, 1);
    EXPECT_FALSE(sci.level);
}

TEST_F(AcpiPmTest, AGeneralPurposeEventRaisesSciWhenEnabled) {
    pm.raise_gpe(9);
    EXPECT_EQ(in(0x20, 4), 0x200u);
    EXPECT_FALSE(sci.level);
    out(0x28, 4, 0x200);
    EXPECT_TRUE(sci.level);
    out(0x21, 1, 0x02);
    EXPECT_FALSE(sci.level);
}

TEST_F(AcpiPmTest, IsInAcpiModeFromTheStartAndObeysTheCommandPort) {
    EXPECT_EQ(in(4, 2) & 1, 1u);
    pm.smi_command().write(0, 1, 0x03);
    EXPECT_EQ(in(4, 2) & 1, 0u);
    pm.smi_command().write(0, 1, 0x02);
    EXPECT_EQ(in(4, 2) & 1, 1u);
}

TEST_F(AcpiPmTest, SavedStateGoesOnInAnother) {
    out(2, 2, 0x100);
    pm.press_power_button();
    FakeLine other_sci;
    AcpiPm other(wiring(other_sci));
    carry_over(pm, other);
    EXPECT_TRUE(other_sci.level);
}

TEST_F(AcpiPmTest, AnySizeAndValueIsSurvived) {
    torture(pm.ports(), kPmBlockSize);
    torture(pm.smi_command(), 2);
    pm.raise_gpe(4000);
}

TEST(ResetControl, ResetsOnTheRiseOfRstCpu) {  // ICH9 13.7.5
    int resets = 0;
    ResetControl control({[&] { ++resets; }});
    control.write(0, 1, 0x02);
    EXPECT_EQ(resets, 0);
    control.write(0, 1, 0x06);
    EXPECT_EQ(resets, 1);
    control.write(0, 1, 0x0e);
    EXPECT_EQ(resets, 1);
    EXPECT_EQ(control.read(0, 1), 0x0eu);
}

}  // namespace
}  // namespace yado::machine
