#include "fakes/disk_image.h"
#include "fakes/virtio_driver.h"
#include "virtio/blk/blk.h"
#include "virtio/virtio.pb.h"

namespace yado::virtio {
namespace {

struct RecordingBells final : Doorbells {
    Result<> bind(GuestPhysAddr address, int fd) override {
        bound[address.value()] = fd;
        return {};
    }
    void unbind(GuestPhysAddr address, int) override { bound.erase(address.value()); }
    std::map<uint64_t, int> bound;
};

struct VirtioTransport : testing::Test {
    fakes::VirtioMachine machine;
    fakes::MemoryDisk disk{1_MiB};
    RecordingBells bells;
    VirtioPci device{{machine.wiring().pci, machine.executor, &bells}, *Blk::create(disk, {.id = "disk0", .queues = 2})};
    fakes::VirtioDriver driver{machine, device};

    void flush_request(fakes::DriverQueue& q) {
        machine.store(0x10000, BlkHeader{4, 0, 0});
        q.offer({{0x10000, 16}, {0x11000, 1, true}});
    }
    uint16_t pci_window() {
        uint32_t at = machine.bus.read({0, 2, 0}, 0x34, 1);
        while (at && !(machine.bus.read({0, 2, 0}, static_cast<uint16_t>(at), 1) == 9 && machine.bus.read({0, 2, 0}, static_cast<uint16_t>(at + 3), 1) == 5))
            at = machine.bus.read({0, 2, 0}, static_cast<uint16_t>(at + 1), 1);
        return static_cast<uint16_t>(at);
    }
};

TEST_F(VirtioTransport, ItIsAModernVirtioFunction) {
    EXPECT_EQ(machine.bus.read({0, 2, 0}, 0, 4), 0x10421af4u);
    EXPECT_EQ(driver.read(18, 2), 2u);
}

TEST_F(VirtioTransport, FeaturesThatAreNotOfferedAreRefused) {
    EXPECT_FALSE(driver.negotiate(VIRTIO_F_VERSION_1 | 1ull << 63));
    EXPECT_FALSE(driver.negotiate(VIRTIO_BLK_F_FLUSH));  // no VERSION_1
    EXPECT_FALSE(driver.negotiate(VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED));
    EXPECT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1));
}

TEST_F(VirtioTransport, FeaturesAreFixedAtFeaturesOk) {
    ASSERT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1));
    driver.write(8, 4, 0);
    driver.write(12, 4, VIRTIO_BLK_F_FLUSH);
    EXPECT_EQ(driver.read(12, 4), 0u);
}

TEST_F(VirtioTransport, DriverOkNeedsFeaturesOk) {
    driver.set_status(1 | 2 | 4);
    EXPECT_EQ(driver.status(), 3);
}

TEST_F(VirtioTransport, QueuesThatDoNotExistReadZero) {
    driver.write(22, 2, 2);
    EXPECT_EQ(driver.read(24, 2), 0u);
    driver.write(22, 2, 0xffff);
    driver.write(28, 2, 1);
    EXPECT_EQ(driver.read(28, 2), 0u);
}

TEST_F(VirtioTransport, AVectorThatDoesNotExistIsNoVector) {
    driver.write(16, 2, 3);
    EXPECT_EQ(driver.read(16, 2), VIRTIO_MSI_NO_VECTOR);
    driver.write(16, 2, 2);
    EXPECT_EQ(driver.read(16, 2), 2u);
}

TEST_F(VirtioTransport, OddAccessesEverywhereDoNoHarm) {
    for (uint64_t offset = 0; offset < VirtioPci::kBarSize; offset += 1 + offset % 7)
        for (const unsigned size : {1u, 2u, 3u, 4u, 5u, 8u}) {
            driver.read(offset, size);
            if (offset < 20 || offset > 20) driver.write(offset, size, ~0ull);
        }
    machine.settle();
    EXPECT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1));
}

TEST_F(VirtioTransport, DeviceConfigurationHoldsTheCapacity) {
    EXPECT_EQ(driver.read(VirtioPci::kDeviceAt, 8), 2048u);
    EXPECT_EQ(driver.read(VirtioPci::kDeviceAt + offsetof(BlkConfig, num_queues), 2), 2u);
    EXPECT_EQ(driver.read(VirtioPci::kDeviceAt + 0x800, 4), 0xffffffffu);
}

TEST_F(VirtioTransport, AResizeIsToldByConfigurationInterruptAndGeneration) {
    ASSERT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1));
    driver.use_msix(3);
    driver.driver_ok();
    const auto generation = driver.read(21, 1);
    disk.data.resize(2 << 20);
    static_cast<Blk&>(device.model()).resized();
    EXPECT_EQ(driver.read(VirtioPci::kDeviceAt, 8), 4096u);
    EXPECT_NE(driver.read(21, 1), generation);
    EXPECT_EQ(driver.interrupts(0), 1u);
}

TEST_F(VirtioTransport, WithoutMsixTheLineIsRaisedAndReadingTheIsrLowersIt) {
    ASSERT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1));
    auto q = driver.queue(0);
    driver.driver_ok();
    flush_request(q);
    driver.kick(0);
    EXPECT_TRUE(machine.lines[2].level);
    EXPECT_EQ(driver.read(VirtioPci::kIsrAt, 1), 1u);
    EXPECT_FALSE(machine.lines[2].level);
    EXPECT_EQ(driver.read(VirtioPci::kIsrAt, 1), 0u);
}

TEST_F(VirtioTransport, TheConfigurationWindowReachesRegisters) {
    const uint16_t window = pci_window();
    ASSERT_NE(window, 0);
    driver.config(static_cast<uint16_t>(window + 8), 18);
    driver.config(static_cast<uint16_t>(window + 12), 2);
    EXPECT_EQ(machine.bus.read({0, 2, 0}, static_cast<uint16_t>(window + 16), 2), 2u);
    driver.config(static_cast<uint16_t>(window + 8), 20);
    driver.config(static_cast<uint16_t>(window + 12), 1);
    driver.config(static_cast<uint16_t>(window + 16), 1, 1);
    EXPECT_EQ(driver.status(), 1);
    driver.config(static_cast<uint16_t>(window + 8), 0xfffffffe);  // outside: nothing
    driver.config(static_cast<uint16_t>(window + 12), 4);
    driver.config(static_cast<uint16_t>(window + 16), 0xff);
    machine.bus.read({0, 2, 0}, static_cast<uint16_t>(window + 16), 4);
}

TEST_F(VirtioTransport, DoorbellsFollowTheBarAndKickTheQueue) {
    EXPECT_EQ(bells.bound.size(), 2u);
    const uint64_t at = fakes::VirtioMachine::kBar + VirtioPci::kNotifyAt + VirtioPci::kNotifyMultiplier;
    ASSERT_TRUE(bells.bound.contains(at));
    ASSERT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1));
    auto q = driver.queue(1);
    driver.driver_ok();
    flush_request(q);
    const uint64_t one = 1;
    ASSERT_EQ(write(bells.bound[at], &one, 8), 8);
    machine.settle();
    EXPECT_TRUE(q.take_used());
    driver.config(4, 0, 2);
    EXPECT_TRUE(bells.bound.empty());
}

TEST_F(VirtioTransport, SavedStateThatDoesNotFitIsRefusedAndChangesNothing) {
    ASSERT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1));
    auto q = driver.queue(0);
    driver.driver_ok();
    device.pause();
    const auto record = device.save();
    ASSERT_TRUE(record);
    const auto broken = [&](auto change) {
        pb::Device m;
        EXPECT_TRUE(state::parse_record(*record, m));
        change(m);
        return !device.load(state::make_record(device, m));
    };
    EXPECT_TRUE(broken([](pb::Device& m) { m.set_isr(255); }));
    EXPECT_TRUE(broken([](pb::Device& m) { m.set_driver_features(~0ull); }));
    EXPECT_TRUE(broken([](pb::Device& m) { m.mutable_queues(0)->set_size(7); }));
    EXPECT_TRUE(broken([](pb::Device& m) { m.mutable_queues(0)->set_desc(~0ull << 4); }));
    EXPECT_TRUE(broken([](pb::Device& m) { m.mutable_queues()->RemoveLast(); }));
    EXPECT_TRUE(broken([](pb::Device& m) { m.mutable_function()->clear_config(); }));
    device.resume();
    flush_request(q);
    driver.kick(0);
    EXPECT_TRUE(q.take_used());
}

TEST_F(VirtioTransport, MessagesThatALoadedStateOwesAreSentWhenTheDeviceResumes) {
    ASSERT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1));
    driver.use_msix(3);
    device.pause();
    pb::Device m;
    ASSERT_TRUE(state::parse_record(*device.save(), m));
    m.mutable_function()->mutable_msix(2)->set_pending(true);
    fakes::VirtioMachine elsewhere;
    VirtioPci copy({elsewhere.wiring().pci, elsewhere.executor}, *Blk::create(disk, {.id = "disk0", .queues = 2}));
    ASSERT_TRUE(copy.load(state::make_record(copy, m)));
    EXPECT_TRUE(elsewhere.msi.sent.empty());
    copy.resume();
    ASSERT_EQ(elsewhere.msi.sent.size(), 1u);
    EXPECT_EQ(elsewhere.msi.sent[0].data, 2u);
}

TEST(VirtioTransportThreads, ItRunsOnAnExecutorOfItsOwn) {
    fakes::VirtioMachine machine;
    fakes::MemoryDisk disk(1_MiB);
    io::ExecutorThread io("test-io");
    VirtioPci device({machine.wiring().pci, io.executor()}, *Blk::create(disk, {.id = "d"}));
    fakes::VirtioDriver driver(machine, device);
    ASSERT_TRUE(driver.negotiate(VIRTIO_F_VERSION_1));
    auto q = driver.queue(0);
    driver.driver_ok();
    machine.store(0x10000, BlkHeader{4, 0, 0});
    q.offer({{0x10000, 16}, {0x11000, 1, true}});
    driver.kick(0);
    device.pause();
    device.resume();  // looks at every queue
    device.pause();
    EXPECT_TRUE(q.take_used());
}

}  // namespace
}  // namespace yado::virtio
