#include "virtio/net/net.h"

#include "fakes/packet_backend.h"
#include "fakes/virtio_driver.h"

namespace yado::virtio {
namespace {

using fakes::LoopbackNet;
constexpr uint64_t kMergeable = 1 << 15, kControlFeatures = 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 23;
constexpr uint64_t kBuffers = 0x40000, kCommand = 0x10000, kAck = 0x11000;
constexpr MacAddress kMac{0x52, 0x54, 0, 1, 2, 3};

struct NetRig : testing::TestWithParam<bool> {
    fakes::VirtioMachine machine;
    LoopbackNet net;
    VirtioPci device{machine.wiring(), *Net::create(net, {.id = "net0", .mac = kMac}), {.packed = true}};
    fakes::VirtioDriver driver{machine, device};
    std::optional<fakes::DriverQueue> rx, tx, ctrl;

    void start(uint64_t features = kMergeable | kControlFeatures) {
        ASSERT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1 | features | (GetParam() ? VIRTIO_F_RING_PACKED : 0)));
        driver.use_msix(4);
        rx.emplace(driver.queue(0));
        tx.emplace(driver.queue(1));
        ctrl.emplace(driver.queue(2));
        driver.driver_ok();
    }
    void offer_buffers(unsigned n, uint32_t size) {
        for (unsigned i = 0; i < n; ++i) rx->offer({{kBuffers + i * 0x1000, size, true}});
        driver.kick(0);
    }
    static LoopbackNet::Frame frame(size_t size, MacAddress to = kMac) {
        LoopbackNet::Frame f(size, std::byte{0x5a});
        std::memcpy(f.data(), to.data(), 6);
        f[12] = std::byte{0x08};
        f[13] = std::byte{0};
        return f;
    }
    uint8_t command(std::vector<uint8_t> bytes) {
        for (size_t i = 0; i < bytes.size(); ++i) machine.store<uint8_t>(kCommand + i, bytes[i]);
        machine.store<uint8_t>(kAck, 0xee);
        ctrl->offer({{kCommand, static_cast<uint32_t>(bytes.size())}, {kAck, 1, true}});
        driver.kick(2);
        ctrl->take_used();
        return machine.load<uint8_t>(kAck);
    }
};
using NetDevice = NetRig;
INSTANTIATE_TEST_SUITE_P(Rings, NetDevice, testing::Bool(), [](const auto& p) { return p.param ? "Packed" : "Split"; });

TEST_P(NetDevice, AFrameGoesOutWithoutItsHeader) {
    start();
    machine.store<uint32_t>(kBuffers + 12, 0xaabbccdd);
    tx->offer({{kBuffers, 12}, {kBuffers + 12, 60}});
    driver.kick(1);
    ASSERT_EQ(net.sent.size(), 1u);
    EXPECT_EQ(net.sent[0].size(), 60u);
    EXPECT_EQ(net.sent[0][0], std::byte{0xdd});
    EXPECT_TRUE(tx->take_used());
}

TEST_P(NetDevice, AFrameComesInWithItsHeader) {
    start();
    offer_buffers(1, 0x1000);
    net.arrive(frame(100));
    const auto used = rx->take_used();
    ASSERT_TRUE(used);
    EXPECT_EQ(used->len, 112u);
    EXPECT_EQ(machine.load<uint16_t>(kBuffers + 10), 1u);
    EXPECT_EQ(machine.load<uint8_t>(kBuffers + 12), kMac[0]);
    EXPECT_EQ(driver.interrupts(1), 1u);
}

TEST_P(NetDevice, ABigFrameTakesSeveralMergeableBuffers) {
    start();
    offer_buffers(4, 1000);
    net.arrive(frame(2500));
    EXPECT_EQ(rx->take_used()->len, 1000u);
    EXPECT_EQ(rx->take_used()->len, 1000u);
    EXPECT_EQ(rx->take_used()->len, 512u);
    EXPECT_EQ(machine.load<uint16_t>(kBuffers + 10), 3u);
    EXPECT_EQ(machine.load<uint8_t>(kBuffers + 0x2000 + 511), 0x5a);
}

TEST_P(NetDevice, AFrameWaitsUntilThereIsRoomForAllOfIt) {
    start();
    offer_buffers(2, 1000);
    net.arrive(frame(2500));
    EXPECT_FALSE(rx->take_used());
    EXPECT_EQ(net.kept.size(), 1u);
    rx->offer({{kBuffers + 0x2000, 1000, true}});
    driver.kick(0);
    EXPECT_TRUE(net.kept.empty());
    EXPECT_EQ(rx->take_used()->len, 1000u);
}

TEST_P(NetDevice, WithoutMergeableBuffersAFrameThatNeverFitsIsDropped) {
    start(0);
    offer_buffers(2, 1000);
    net.arrive(frame(2500));
    EXPECT_TRUE(net.kept.empty());
    EXPECT_FALSE(rx->take_used());
    net.arrive(frame(100));
    EXPECT_EQ(rx->take_used()->len, 112u);
}

TEST_P(NetDevice, FramesWaitWhilePaused) {
    start();
    offer_buffers(1, 0x1000);
    device.pause();
    net.arrive(frame(100));
    EXPECT_FALSE(rx->take_used());
    device.resume();
    EXPECT_TRUE(rx->take_used());
}

TEST_P(NetDevice, TooShortAndTooLongFramesAreNotSent) {
    start();
    tx->offer({{kBuffers, 20}});
    tx->offer({{kBuffers, 12}, {kBuffers, 0x11000}});
    driver.kick(1);
    EXPECT_TRUE(net.sent.empty());
    EXPECT_TRUE(tx->take_used());
    EXPECT_TRUE(tx->take_used());
    EXPECT_FALSE(driver.needs_reset());
}

TEST_P(NetDevice, APacketWithoutItsHeaderNeedsAReset) {
    start();
    tx->offer({{kBuffers, 11}});
    driver.kick(1);
    EXPECT_TRUE(driver.needs_reset());
}

TEST_P(NetDevice, AReceiveBufferSmallerThanTheHeaderNeedsAReset) {
    start();
    offer_buffers(1, 11);
    net.arrive(frame(60));
    EXPECT_TRUE(driver.needs_reset());
}

TEST_P(NetDevice, TheFilterFollowsTheDriver) {
    start();
    offer_buffers(4, 0x1000);
    EXPECT_EQ(command({0, 0, 0}), 0);  // not promiscuous
    net.arrive(frame(60, {0x52, 0x54, 0, 9, 9, 9}));
    EXPECT_FALSE(rx->take_used());
    net.arrive(frame(60, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
    EXPECT_TRUE(rx->take_used());
    EXPECT_EQ(command({1, 0, 1, 0, 0, 0, 0x52, 0x54, 0, 9, 9, 9, 0, 0, 0, 0}), 0);
    net.arrive(frame(60, {0x52, 0x54, 0, 9, 9, 9}));
    EXPECT_TRUE(rx->take_used());
}

TEST_P(NetDevice, TheAddressCanBeSetAndComesBackAtReset) {
    start();
    EXPECT_EQ(command({1, 1, 2, 0, 0, 0, 0, 7}), 0);
    EXPECT_EQ(driver.read(VirtioPci::kDeviceAt + 5, 1), 7u);
    driver.set_status(0);
    machine.settle();
    EXPECT_EQ(driver.read(VirtioPci::kDeviceAt + 5, 1), 3u);
}

TEST_P(NetDevice, BadCommandsAreRefused) {
    start();
    EXPECT_EQ(command({9, 9}), 1);
    EXPECT_EQ(command({0, 77, 1}), 1);
    EXPECT_EQ(command({1, 0, 0xff, 0xff, 0xff, 0xff}), 1);
    EXPECT_EQ(command({1, 1, 2}), 1);
    EXPECT_EQ(command({2, 0, 0xff, 0xff}), 1);
    EXPECT_FALSE(driver.needs_reset());
}

TEST_P(NetDevice, LinkChangesAreTold) {
    start();
    static_cast<Net&>(device.model()).set_link(false);
    EXPECT_EQ(driver.read(VirtioPci::kDeviceAt + 6, 2), 0u);
    EXPECT_EQ(driver.interrupts(0), 1u);
    tx->offer({{kBuffers, 72}});
    driver.kick(1);
    EXPECT_TRUE(net.sent.empty());
}

TEST_P(NetDevice, ItsStateComesBack) {
    start();
    command({0, 0, 0});
    command({2, 0, 5, 0});
    device.pause();
    const auto record = device.save();
    ASSERT_TRUE(record);
    ASSERT_TRUE(device.load(*record));
    EXPECT_EQ(device.save()->payload, record->payload);
}

}  // namespace
}  // namespace yado::virtio
