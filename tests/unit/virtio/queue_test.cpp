// Hostile rings and the rules of notification, by way of virtio-blk as the simplest device.
#include "fakes/disk_image.h"
#include "fakes/virtio_driver.h"
#include "virtio/blk/blk.h"

namespace yado::virtio {
namespace {

using fakes::Buffer;
constexpr uint64_t kHeader = 0x10000, kData = 0x20000, kStatus = 0x11000, kTable = 0x30000;
constexpr uint64_t kBase = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC;

struct QueueRig : testing::TestWithParam<bool> {
    fakes::VirtioMachine machine;
    fakes::MemoryDisk disk{1_MiB};
    VirtioPci device{machine.wiring(), *Blk::create(disk, {.id = "disk0"}), {.packed = true}};
    fakes::VirtioDriver driver{machine, device};

    fakes::DriverQueue start(uint64_t features = kBase) {
        EXPECT_TRUE(driver.negotiate(features | (GetParam() ? VIRTIO_F_RING_PACKED : 0)));
        driver.use_msix(2);
        machine.store(kHeader, BlkHeader{4, 0, 0});  // flush
        auto q = driver.queue(0);
        driver.driver_ok();
        return q;
    }
    std::vector<Buffer> flush() const { return {{kHeader, 16}, {kStatus, 1, true}}; }
    void expect_refused(fakes::DriverQueue& q) {
        driver.kick(0);
        EXPECT_TRUE(driver.needs_reset());
        EXPECT_EQ(driver.interrupts(0), 1u) << "a configuration interrupt says so";
        EXPECT_FALSE(q.take_used());
        // and a reset heals it
        auto fresh = [&] {
            driver.set_status(0);
            machine.settle();
            for (uint64_t at = q.desc; at < q.desc + 0x10000; at += 8) machine.store<uint64_t>(at, 0);
            return start();
        }();
        fresh.offer(flush());
        driver.kick(0);
        EXPECT_TRUE(fresh.take_used());
    }
};
using HostileRing = QueueRig;
using RingNotification = QueueRig;
INSTANTIATE_TEST_SUITE_P(Rings, HostileRing, testing::Bool(), [](const auto& p) { return p.param ? "Packed" : "Split"; });
INSTANTIATE_TEST_SUITE_P(Rings, RingNotification, testing::Bool(), [](const auto& p) { return p.param ? "Packed" : "Split"; });

TEST_P(HostileRing, AZeroLengthDescriptor) {
    auto q = start();
    q.offer({{kHeader, 0}, {kStatus, 1, true}});
    expect_refused(q);
}
TEST_P(HostileRing, ADescriptorOutsideOfRam) {
    auto q = start();
    q.offer({{0x7f000000, 16}, {kStatus, 1, true}});
    expect_refused(q);
}
TEST_P(HostileRing, ADescriptorThatWrapsRoundTheAddressSpace) {
    auto q = start();
    q.offer({{~0ull - 7, 16}, {kStatus, 1, true}});
    expect_refused(q);
}
TEST_P(HostileRing, ADescriptorThatRunsOutOfRam) {
    auto q = start();
    q.offer({{fakes::VirtioMachine::kRam - 8, 16}, {kStatus, 1, true}});
    expect_refused(q);
}
TEST_P(HostileRing, ADescriptorIntoTheDevicesOwnRegisters) {
    auto q = start();
    q.offer({{kHeader, 16}, {fakes::VirtioMachine::kBar, 512, true}});
    expect_refused(q);
}
TEST_P(HostileRing, WritableBeforeReadable) {
    auto q = start();
    q.offer({{kStatus, 1, true}, {kHeader, 16}});
    expect_refused(q);
}
TEST_P(HostileRing, AChainWithoutRoomForTheStatus) {
    auto q = start();
    q.offer({{kHeader, 16}});
    expect_refused(q);
}
TEST_P(HostileRing, AChainTooShortForItsHeader) {
    auto q = start();
    q.offer({{kHeader, 15}, {kStatus, 1, true}});
    expect_refused(q);
}
TEST_P(HostileRing, AnIndirectTableInsideAnIndirectTable) {
    auto q = start();
    q.put(kTable, kTable, 16, VIRTQ_DESC_F_INDIRECT, 0, 0);
    q.offer_raw(kTable, 16, VIRTQ_DESC_F_INDIRECT);
    expect_refused(q);
}
TEST_P(HostileRing, AnIndirectTableOfOddSize) {
    auto q = start();
    q.offer_raw(kTable, 17, VIRTQ_DESC_F_INDIRECT);
    expect_refused(q);
}
TEST_P(HostileRing, AnIndirectTableThatIsTooLong) {
    auto q = start();
    q.offer_raw(kTable, 1 << 20, VIRTQ_DESC_F_INDIRECT);
    expect_refused(q);
}
TEST_P(HostileRing, AnIndirectTableOutsideOfRam) {
    auto q = start();
    q.offer_raw(0xfee00000, 16, VIRTQ_DESC_F_INDIRECT);
    expect_refused(q);
}
TEST_P(HostileRing, IndirectWithoutTheFeature) {
    auto q = start(VIRTIO_F_VERSION_1);
    q.offer_indirect(kTable, flush());
    expect_refused(q);
}
TEST_P(HostileRing, IndirectAndNextAtOnce) {
    auto q = start();
    q.offer_raw(kTable, 16, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_NEXT);
    expect_refused(q);
}
TEST_P(HostileRing, AChainLongerThanTheRing) {
    auto q = start();
    if (GetParam()) {
        for (unsigned i = 0; i < 16; ++i) q.put(q.desc + 16 * i, kHeader, 16, VIRTQ_DESC_F_NEXT | VIRTQ_DESC_F_AVAIL, 0, 1);
    } else {
        q.put(q.desc, kHeader, 16, VIRTQ_DESC_F_NEXT, 1, 0);
        q.put(q.desc + 16, kHeader, 16, VIRTQ_DESC_F_NEXT, 0, 0);  // a loop
        q.publish(0);
    }
    expect_refused(q);
}
TEST_P(HostileRing, AChainOfMoreThanFourGiB) {
    auto q = start();
    std::vector<Buffer> table(400, Buffer{0, fakes::VirtioMachine::kRam, true});
    q.offer_indirect(kTable, table);
    expect_refused(q);
}

TEST(HostileSplitRing, AnIndexThatJumpedAHeadThatDoesNotExistAndANextThatDoesNotExist) {
    for (int kind = 0; kind < 3; ++kind) {
        fakes::VirtioMachine machine;
        fakes::MemoryDisk disk(1_MiB);
        VirtioPci device(machine.wiring(), *Blk::create(disk, {.id = "d"}));
        fakes::VirtioDriver driver(machine, device);
        ASSERT_TRUE(driver.negotiate(kBase));
        auto q = driver.queue(0);
        driver.driver_ok();
        if (kind == 0) machine.store<uint16_t>(q.driver + 2, 17);
        if (kind == 1) q.publish(16);
        if (kind == 2) q.put(q.desc, kHeader, 16, VIRTQ_DESC_F_NEXT, 0xffff, 0), q.publish(0);
        driver.kick(0);
        EXPECT_TRUE(driver.needs_reset()) << kind;
    }
}

TEST_P(HostileRing, RingsOutsideOfRamNeedAReset) {
    ASSERT_TRUE(driver.negotiate(kBase | (GetParam() ? VIRTIO_F_RING_PACKED : 0)));
    auto q = driver.queue(0);
    (void)q;
    driver.set_status(0);
    machine.settle();
    ASSERT_TRUE(driver.negotiate(kBase | (GetParam() ? VIRTIO_F_RING_PACKED : 0)));
    driver.write(22, 2, 0);
    driver.write(32, 8, 0xfffffffffffff000);
    driver.write(40, 8, 0xb0000000);
    driver.write(28, 2, 1);
    driver.driver_ok();
    EXPECT_TRUE(driver.needs_reset());
}

TEST_P(HostileRing, QueueRegistersAreFixedAtDriverOk) {
    auto q = start();
    driver.write(32, 8, 0xdead0000);
    driver.write(24, 2, 4);
    driver.write(28, 2, 0);
    EXPECT_EQ(driver.read(32, 8), q.desc);
    EXPECT_EQ(driver.read(24, 2), 16u);
    EXPECT_EQ(driver.read(28, 2), 1u);
    q.offer(flush());
    driver.kick(0);
    EXPECT_TRUE(q.take_used());
}

TEST_P(HostileRing, MoreRequestsInFlightThanTheRingHoldsAreRefused) {
    auto q = start();
    disk.hold = true;
    const unsigned fits = GetParam() ? 8 : 16;
    for (unsigned i = 0; i < fits; ++i) q.offer(flush());
    driver.kick(0);
    EXPECT_EQ(disk.waiting.size(), fits);
    EXPECT_FALSE(driver.needs_reset());
    q.offer(flush());
    driver.kick(0);
    EXPECT_TRUE(driver.needs_reset());
    while (!disk.waiting.empty()) disk.let_go();
    EXPECT_FALSE(q.take_used());
}

TEST_P(RingNotification, AnUnusedEventIndexMeansNoInterrupt) {
    auto q = start(kBase | VIRTIO_F_EVENT_IDX);
    if (GetParam()) {
        machine.store<uint32_t>(q.driver, (0x8000u | 3) | uint32_t{RING_EVENT_FLAGS_DESC} << 16);  // after slot 3, wrap 1
    } else {
        machine.store<uint16_t>(q.driver + 4 + 2 * 16, 1);  // after the second
    }
    q.offer(flush());
    driver.kick(0);
    EXPECT_EQ(driver.interrupts(1), 0u);
    q.offer(flush());
    driver.kick(0);
    EXPECT_EQ(driver.interrupts(1), 1u);
}

TEST_P(RingNotification, TheDriverCanSwitchInterruptsOff) {
    auto q = start();
    if (GetParam()) {
        machine.store<uint32_t>(q.driver, uint32_t{RING_EVENT_FLAGS_DISABLE} << 16);
    } else {
        machine.store<uint16_t>(q.driver, VIRTQ_AVAIL_F_NO_INTERRUPT);
    }
    q.offer(flush());
    driver.kick(0);
    EXPECT_TRUE(q.take_used());
    EXPECT_EQ(driver.interrupts(1), 0u);
}

TEST_P(RingNotification, AnIdleDeviceAsksForTheNextKick) {
    auto q = start(kBase | VIRTIO_F_EVENT_IDX);
    q.offer(flush());
    driver.kick(0);
    if (GetParam()) {
        EXPECT_EQ(machine.load<uint32_t>(q.device), (0x8000u | 2) | uint32_t{RING_EVENT_FLAGS_DESC} << 16);
    } else {
        EXPECT_EQ(machine.load<uint16_t>(q.device + 4 + 8 * 16), 1u);
    }
}

TEST_P(RingNotification, WithoutBusMasteringNothingIsTakenAndItIsMadeUpLater) {
    auto q = start();
    driver.config(4, 2, 2);
    q.offer(flush());
    driver.kick(0);
    EXPECT_FALSE(q.take_used());
    driver.config(4, 6, 2);
    machine.settle();
    EXPECT_TRUE(q.take_used());
}

}  // namespace
}  // namespace yado::virtio
