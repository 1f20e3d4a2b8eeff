// rng, console and balloon.
#include "fakes/virtio_driver.h"
#include "virtio/balloon/balloon.h"
#include "virtio/console/console.h"
#include "virtio/rng/rng.h"

namespace yado::virtio {
namespace {

constexpr uint64_t kData = 0x20000;

TEST(RngDevice, ItFillsWhatIsOfferedUpToItsBound) {
    fakes::VirtioMachine machine;
    const RandomSource source = [](std::span<std::byte> out) -> Result<> {
        std::ranges::fill(out, std::byte{0x42});
        return {};
    };
    VirtioPci device(machine.wiring(), std::make_unique<Rng>("rng0", source));
    fakes::VirtioDriver driver(machine, device);
    ASSERT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1));
    auto q = driver.queue(0);
    driver.driver_ok();
    q.offer({{kData, 100, true}});
    q.offer({{kData + 0x1000, 1 << 20, true}});
    driver.kick(0);
    EXPECT_EQ(q.take_used()->len, 100u);
    EXPECT_EQ(q.take_used()->len, Rng::kMaxBytes);
    EXPECT_EQ(machine.load<uint8_t>(kData + 99), 0x42);
    EXPECT_EQ(machine.load<uint8_t>(kData + 100), 0);
    q.offer({{kData, 100}});
    driver.kick(0);
    EXPECT_TRUE(driver.needs_reset());
}

TEST(RngDevice, TheHostsSourceIsNotAllZeroes) {
    std::array<std::byte, 64> out{};
    ASSERT_TRUE(system_random(out));
    EXPECT_NE(std::ranges::count(out, std::byte{0}), 64);
}

struct Terminal final : ConsoleBackend {
    void output(std::span<const std::byte> bytes) override { text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size()); }
    void room() override { ++rooms; }
    std::string text;
    unsigned rooms = 0;
};

struct ConsoleDevice : testing::Test {
    fakes::VirtioMachine machine;
    Terminal terminal;
    VirtioPci device{machine.wiring(), std::make_unique<Console>("console0", terminal)};
    Console& console = static_cast<Console&>(device.model());
    fakes::VirtioDriver driver{machine, device};
    std::optional<fakes::DriverQueue> rx, tx;

    ConsoleDevice() {
        EXPECT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1 | 1));
        driver.use_msix(3);
        rx.emplace(driver.queue(0));
        tx.emplace(driver.queue(1));
        driver.driver_ok();
    }
    size_t type(std::string_view s) { return console.input(std::as_bytes(std::span(s))); }
};

TEST_F(ConsoleDevice, WhatTheGuestWritesReachesTheBackend) {
    machine.store<uint16_t>(kData, 'h' | 'i' << 8);
    tx->offer({{kData, 2}});
    driver.kick(1);
    EXPECT_EQ(terminal.text, "hi");
    EXPECT_TRUE(tx->take_used());
}

TEST_F(ConsoleDevice, InputWaitsForABuffer) {
    EXPECT_EQ(type("abc"), 3u);
    rx->offer({{kData, 2, true}});
    rx->offer({{kData + 16, 16, true}});
    driver.kick(0);
    EXPECT_EQ(rx->take_used()->len, 2u);
    EXPECT_EQ(rx->take_used()->len, 1u);
    EXPECT_EQ(machine.load<uint8_t>(kData + 16), 'c');
}

TEST_F(ConsoleDevice, InputIsBoundedAndTheBackendHearsWhenThereIsRoom) {
    EXPECT_EQ(type(std::string(5000, 'x')), Console::kInputLimit);
    EXPECT_EQ(terminal.rooms, 0u);
    rx->offer({{kData, 8192, true}});
    driver.kick(0);
    EXPECT_EQ(terminal.rooms, 1u);
}

TEST_F(ConsoleDevice, TheBackendIsNotAskedForMoreInsideOfInput) {
    type(std::string(Console::kInputLimit - 1, 'x'));
    rx->offer({{kData, 8192, true}});  // not kicked yet: the next input finds it
    EXPECT_EQ(type("abc"), 3u);
    EXPECT_EQ(terminal.rooms, 0u);
    EXPECT_EQ(rx->take_used()->len, Console::kInputLimit);
    rx->offer({{kData, 8192, true}});
    driver.kick(0);
    EXPECT_EQ(rx->take_used()->len, 2u);
    EXPECT_EQ(machine.load<uint8_t>(kData), 'b');
}

TEST_F(ConsoleDevice, ANewSizeIsTold) {
    console.resize({132, 50});
    EXPECT_EQ(driver.read(VirtioPci::kDeviceAt, 2), 132u);
    EXPECT_EQ(driver.read(VirtioPci::kDeviceAt + 2, 2), 50u);
    EXPECT_EQ(driver.interrupts(0), 1u);
}

TEST_F(ConsoleDevice, AReceiveBufferThatCannotBeWrittenNeedsAReset) {
    rx->offer({{kData, 16}});
    type("a");
    EXPECT_TRUE(driver.needs_reset());
}

TEST_F(ConsoleDevice, KeptInputIsSaved) {
    type("later");
    device.pause();
    const auto record = device.save();
    device.reset();
    ASSERT_TRUE(device.load(*record));
    device.resume();
    rx->offer({{kData, 16, true}});
    driver.kick(0);
    EXPECT_EQ(rx->take_used()->len, 5u);
}

constexpr uint64_t kStats = 1 << 1, kReporting = 1 << 5;

struct BalloonDevice : testing::Test {
    fakes::VirtioMachine machine;
    VirtioPci device{machine.wiring(), std::make_unique<Balloon>("balloon0", machine.ram)};
    Balloon& balloon = static_cast<Balloon&>(device.model());
    fakes::VirtioDriver driver{machine, device};
    static constexpr uint64_t kPage = 8 << 20;

    void start(uint64_t features) {
        ASSERT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1 | features));
        driver.use_msix(5);
    }
};

TEST_F(BalloonDevice, InflatedPagesGoBackToTheHost) {
    start(0);
    auto q = driver.queue(0);
    driver.driver_ok();
    for (const uint64_t at : {kPage, kPage + 0x1000, kPage + 0x2000}) machine.store<uint8_t>(at, 1);
    machine.store<uint32_t>(kData, (kPage >> 12) + 1);
    machine.store<uint32_t>(kData + 4, kPage >> 12);
    machine.store<uint32_t>(kData + 8, 0xffffffff);  // outside of RAM: skipped
    q.offer({{kData, 12}});
    driver.kick(0);
    EXPECT_TRUE(q.take_used());
    EXPECT_EQ(machine.load<uint8_t>(kPage), 0);
    EXPECT_EQ(machine.load<uint8_t>(kPage + 0x1000), 0);
    EXPECT_EQ(machine.load<uint8_t>(kPage + 0x2000), 1);
}

TEST_F(BalloonDevice, AListOfOddLengthNeedsAReset) {
    start(0);
    auto q = driver.queue(0);
    driver.driver_ok();
    q.offer({{kData, 7}});
    driver.kick(0);
    EXPECT_TRUE(driver.needs_reset());
}

TEST_F(BalloonDevice, TheTargetIsToldAndBoundedByRam) {
    start(0);
    driver.driver_ok();
    balloon.set_target(1_GiB);
    EXPECT_EQ(driver.read(VirtioPci::kDeviceAt, 4), fakes::VirtioMachine::kRam >> 12);
    EXPECT_EQ(driver.interrupts(0), 1u);
    driver.write(VirtioPci::kDeviceAt + 4, 4, 16);
    EXPECT_EQ(balloon.actual(), 64_KiB);
}

TEST_F(BalloonDevice, ReportedPagesAreDiscardedWholeOnes) {
    start(kStats | kReporting);
    auto q = driver.queue(3);
    driver.driver_ok();
    machine.store<uint8_t>(kPage - 1, 1);
    machine.store<uint8_t>(kPage, 1);
    q.offer({{kPage - 8, 0x1010, true}});
    driver.kick(3);
    EXPECT_TRUE(q.take_used());
    EXPECT_EQ(machine.load<uint8_t>(kPage - 1), 1);
    EXPECT_EQ(machine.load<uint8_t>(kPage), 0);
    EXPECT_EQ(balloon.reported_bytes(), 4096u);
}

TEST_F(BalloonDevice, WithoutStatisticsReportingTakesTheirQueue) {
    start(kReporting);
    auto q = driver.queue(2);
    driver.driver_ok();
    q.offer({{kPage, 0x1000, true}});
    driver.kick(2);
    EXPECT_TRUE(q.take_used());
    EXPECT_EQ(balloon.reported_bytes(), 4096u);
}

TEST_F(BalloonDevice, StatisticsAreReadAndAskedForAnew) {
    start(kStats);
    auto q = driver.queue(2);
    driver.driver_ok();
    machine.store<uint16_t>(kData, 4);
    machine.store<uint64_t>(kData + 2, 12345);
    q.offer({{kData, 10}});
    driver.kick(2);
    EXPECT_FALSE(q.take_used());
    EXPECT_EQ(balloon.statistics().at(4), 12345u);
    EXPECT_TRUE(q.take_used());
    machine.store<uint64_t>(kData + 2, 777);
    q.offer({{kData, 10}});
    driver.kick(2);
    EXPECT_EQ(balloon.statistics().at(4), 777u);
}

TEST_F(BalloonDevice, TargetAndActualAreSaved) {
    balloon.set_target(4_MiB);
    device.pause();
    const auto record = device.save();
    balloon.set_target(0_MiB);
    ASSERT_TRUE(device.load(*record));
    EXPECT_EQ(balloon.target(), 4_MiB);
}

}  // namespace
}  // namespace yado::virtio
