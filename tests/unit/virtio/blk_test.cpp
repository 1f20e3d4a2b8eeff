#include "virtio/blk/blk.h"

#include "fakes/attachment.h"
#include "fakes/disk_image.h"
#include "fakes/virtio_driver.h"

namespace yado::virtio {
namespace {

using fakes::Buffer;
constexpr uint64_t kHeader = 0x10000, kData = 0x20000, kStatus = 0x11000;
constexpr uint64_t kBase = VIRTIO_F_VERSION_1 | VIRTIO_BLK_F_FLUSH | VIRTIO_F_INDIRECT_DESC;

struct BlkRig : testing::TestWithParam<bool> {
    fakes::VirtioMachine machine;
    fakes::MemoryDisk disk{1_MiB};
    std::unique_ptr<VirtioPci> device = make();
    fakes::VirtioDriver driver{machine, *device};

    std::unique_ptr<VirtioPci> make() {
        return std::make_unique<VirtioPci>(machine.wiring(), *Blk::create(disk, {.id = "disk0", .serial = "SN42"}), VirtioPci::Options{.packed = true});
    }
    uint64_t rings() const { return GetParam() ? VIRTIO_F_RING_PACKED : 0; }
    fakes::DriverQueue start(uint64_t features = kBase) {
        EXPECT_TRUE(driver.negotiate(features | rings()));
        driver.use_msix(2);
        auto q = driver.queue(0);
        driver.driver_ok();
        return q;
    }
    void header(BlkRequest type, uint64_t sector) { machine.store(kHeader, BlkHeader{std::to_underlying(type), 0, sector}); }
    int request(fakes::DriverQueue& q, BlkRequest type, uint64_t sector, std::vector<Buffer> data) {
        header(type, sector);
        machine.store<uint8_t>(kStatus, 0xee);
        data.insert(data.begin(), Buffer{kHeader, 16});
        data.push_back({kStatus, 1, true});
        q.offer(data);
        driver.kick(0);
        used = q.take_used();
        return machine.load<uint8_t>(kStatus);
    }
    std::optional<fakes::DriverQueue::Used> used;
};
using Request = BlkRequest;
using BlkDevice = BlkRig;
INSTANTIATE_TEST_SUITE_P(Rings, BlkDevice, testing::Bool(), [](const auto& p) { return p.param ? "Packed" : "Split"; });

TEST_P(BlkDevice, AReadBringsTheDisksBytesIntoGuestMemory) {
    auto q = start();
    std::ranges::fill(std::span(disk.data).subspan(512, 1024), 0x77);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_IN, 1, {{kData, 512, true}, {kData + 0x1000, 512, true}}), 0);
    ASSERT_TRUE(used);
    EXPECT_EQ(used->len, 1025u);
    EXPECT_EQ(machine.load<uint8_t>(kData), 0x77);
    EXPECT_EQ(machine.load<uint8_t>(kData + 0x11ff), 0x77);
    EXPECT_EQ(driver.interrupts(1), 1u);
}

TEST_P(BlkDevice, AWriteReachesTheDisk) {
    auto q = start();
    machine.store<uint32_t>(kData, 0xdeadbeef);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_OUT, 3, {{kData, 512}}), 0);
    EXPECT_EQ(load_le<uint32_t>(&disk.data[3 * 512]), 0xdeadbeefu);
    EXPECT_EQ(used->len, 1u);
    EXPECT_EQ(disk.flushes, 0u);
}

TEST_P(BlkDevice, ManyRequestsGoRoundTheRing) {
    auto q = start();
    for (unsigned i = 0; i < 200; ++i) {
        ASSERT_EQ(request(q, Request::VIRTIO_BLK_T_OUT, i, {{kData, 512}}), 0) << i;
        ASSERT_TRUE(used);
    }
    EXPECT_EQ(driver.interrupts(1), 200u);
}

TEST_P(BlkDevice, AnIndirectTableIsFollowed) {
    auto q = start();
    header(Request::VIRTIO_BLK_T_OUT, 9);
    machine.store<uint8_t>(kData, 0x5c);
    q.offer_indirect(0x30000, {{kHeader, 16}, {kData, 512}, {kStatus, 1, true}});
    driver.kick(0);
    EXPECT_TRUE(q.take_used());
    EXPECT_EQ(disk.data[9 * 512], 0x5c);
}

TEST_P(BlkDevice, WithoutTheFlushFeatureEveryWriteIsFlushed) {
    auto q = start(VIRTIO_F_VERSION_1);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_OUT, 0, {{kData, 512}}), 0);
    EXPECT_EQ(disk.flushes, 1u);
}

TEST_P(BlkDevice, SwitchingTheCacheOffFlushesEveryWrite) {
    auto q = start(kBase | VIRTIO_BLK_F_CONFIG_WCE);
    driver.write(VirtioPci::kDeviceAt + offsetof(BlkConfig, writeback), 1, 0);
    request(q, Request::VIRTIO_BLK_T_OUT, 0, {{kData, 512}});
    EXPECT_EQ(disk.flushes, 1u);
}

TEST_P(BlkDevice, FlushIdDiscardAndZeroesAreAnswered) {
    auto q = start();
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_FLUSH, 0, {}), 0);
    EXPECT_EQ(disk.flushes, 1u);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_GET_ID, 0, {{kData, 20, true}}), 0);
    EXPECT_EQ(machine.load<uint32_t>(kData), 0x32344e53u);  // "SN42"
    machine.store(kData, BlkSegment{8, 16, 0});
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_DISCARD, 0, {{kData, 16}}), 0);
    EXPECT_EQ(disk.discards, (std::vector<std::pair<uint64_t, uint64_t>>{{4096, 8192}}));
    disk.data[512] = 1;
    machine.store(kData, BlkSegment{1, 1, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP});
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_WRITE_ZEROES, 0, {{kData, 16}}), 0);
    EXPECT_EQ(disk.data[512], 0);
    EXPECT_TRUE(disk.unmapped);
}

TEST_P(BlkDevice, BadRequestsAreAnsweredWithErrors) {
    auto q = start();
    EXPECT_EQ(request(q, static_cast<Request>(99), 0, {{kData, 512, true}}), 2);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_IN, 2048, {{kData, 512, true}}), 1);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_IN, ~0ull, {{kData, 512, true}}), 1);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_IN, 0, {{kData, 100, true}}), 1);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_IN, 0, {}), 1);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_OUT, 2047, {{kData, 1024}}), 1);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_GET_ID, 0, {{kData, 10, true}}), 1);
    machine.store(kData, BlkSegment{0, 1, 2});
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_DISCARD, 0, {{kData, 16}}), 2);
    machine.store(kData, BlkSegment{2047, 0xffffffff, 0});
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_DISCARD, 0, {{kData, 16}}), 1);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_DISCARD, 0, {{kData, 17}}), 1);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_DISCARD, 0, {{kData, 17 * 16}}), 1);
    EXPECT_FALSE(driver.needs_reset());
}

TEST_P(BlkDevice, AFailingDiskGivesIoerr) {
    auto q = start();
    disk.fail_next = true;
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_IN, 0, {{kData, 512, true}}), 1);
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_IN, 0, {{kData, 512, true}}), 0);
}

TEST_P(BlkDevice, AReadOnlyDiskRefusesToChange) {
    fakes::MemoryDisk sealed(1_MiB, true);
    fakes::VirtioMachine m2;
    VirtioPci dev(m2.wiring(), *Blk::create(sealed, {.id = "cd"}));
    fakes::VirtioDriver d2(m2, dev);
    EXPECT_TRUE(d2.offered() & VIRTIO_BLK_F_RO);
    ASSERT_TRUE(d2.negotiate(VIRTIO_F_VERSION_1));
    auto q = d2.queue(0);
    d2.driver_ok();
    m2.store(kHeader, BlkHeader{1, 0, 0});
    q.offer({{kHeader, 16}, {kData, 512}, {kStatus, 1, true}});
    d2.kick(0);
    EXPECT_EQ(m2.load<uint8_t>(kStatus), 1);
}

TEST_P(BlkDevice, RequestsCompleteInAnyOrder) {
    auto q = start();
    disk.hold = true;
    header(Request::VIRTIO_BLK_T_IN, 0);
    const auto first = q.offer({{kHeader, 16}, {kData, 512, true}, {kStatus, 1, true}});
    const auto second = q.offer({{kHeader, 16}, {kData, 512, true}, {kStatus, 1, true}});
    driver.kick(0);
    ASSERT_EQ(disk.waiting.size(), 2u);
    std::swap(disk.waiting[0], disk.waiting[1]);
    disk.let_go();
    disk.let_go();
    EXPECT_EQ(q.take_used()->id, second);
    EXPECT_EQ(q.take_used()->id, first);
}

TEST_P(BlkDevice, AResetInMidFlightShowsZeroOnlyWhenTheRequestIsDone) {
    auto q = start();
    disk.hold = true;
    header(Request::VIRTIO_BLK_T_IN, 0);
    q.offer({{kHeader, 16}, {kData, 512, true}, {kStatus, 1, true}});
    driver.kick(0);
    driver.set_status(0);
    machine.settle();
    EXPECT_NE(driver.status(), 0);
    disk.let_go();
    machine.settle();
    EXPECT_EQ(driver.status(), 0);
    EXPECT_FALSE(q.take_used());  // the old ring is not touched
    EXPECT_EQ(driver.interrupts(1), 0u);
}

TEST_P(BlkDevice, ADriverThatDoesNotWaitForTheResetGetsAFreshSession) {
    auto q = start();
    disk.hold = true;
    header(Request::VIRTIO_BLK_T_IN, 0);
    q.offer({{kHeader, 16}, {kData, 512, true}, {kStatus, 1, true}});
    driver.kick(0);
    disk.hold = false;
    EXPECT_TRUE(driver.negotiate(kBase | rings()));
    for (uint64_t at = q.desc; at < q.desc + 0x10000; at += 8) machine.store<uint64_t>(at, 0);
    auto fresh = driver.queue(0);
    driver.driver_ok();
    EXPECT_EQ(disk.waiting.size(), 1u);
    disk.let_go();
    machine.settle();
    EXPECT_EQ(request(fresh, Request::VIRTIO_BLK_T_FLUSH, 0, {}), 0);
    EXPECT_TRUE(used);
}

TEST_P(BlkDevice, PauseWaitsForRequestsInFlightAndStateGoesOnInAnotherDevice) {
    auto q = start();
    ASSERT_EQ(request(q, Request::VIRTIO_BLK_T_OUT, 0, {{kData, 512}}), 0);
    disk.hold = true;
    header(Request::VIRTIO_BLK_T_IN, 0);
    q.offer({{kHeader, 16}, {kData, 512, true}, {kStatus, 1, true}});
    driver.kick(0);
    machine.executor.post([&] { disk.hold = false, disk.let_go(); });
    device->pause();
    EXPECT_TRUE(q.take_used());
    q.offer({{kHeader, 16}, {kData, 512, true}, {kStatus, 1, true}});
    driver.kick(0);
    EXPECT_FALSE(q.take_used());  // paused: nothing is taken
    const auto record = device->save();
    ASSERT_TRUE(record);
    device->reset();
    EXPECT_EQ(driver.status(), 0xff);  // its BAR is gone too
    ASSERT_TRUE(device->load(*record));
    EXPECT_EQ(driver.status(), 15);
    device->resume();
    machine.settle();
    EXPECT_TRUE(q.take_used());
}

TEST_P(BlkDevice, BufferOverTwoTouchingExtentsIsSplit) {
    ASSERT_TRUE(machine.ram.add_ram(GuestPhysAddr(fakes::VirtioMachine::kRam), 1_MiB));
    auto q = start();
    disk.data[1] = 0x21;
    disk.data[1023] = 0x42;
    EXPECT_EQ(request(q, Request::VIRTIO_BLK_T_IN, 0, {{fakes::VirtioMachine::kRam - 512, 1024, true}}), 0);
    EXPECT_EQ(machine.load<uint8_t>(fakes::VirtioMachine::kRam + 511), 0x42);
}

struct BlkAtRest : testing::Test {
    BlkAtRest() {
        EXPECT_TRUE(driver.negotiate(kBase));
        driver.use_msix(2);
        queue.emplace(driver.queue(0));
        driver.driver_ok();
        disk.hold = true;
        attachment.on_end = [this] {
            if (disk.waiting.empty()) return;
            attachment.tell(0);
            disk.let_go();
        };
        machine.store(kHeader, BlkHeader{std::to_underlying(BlkRequest::VIRTIO_BLK_T_OUT), 0, 3});
        machine.store<uint32_t>(kData, 0xdeadbeef);
        queue->offer({{kHeader, 16}, {kData, 512}, {kStatus, 1, true}});
        driver.kick(0);
        attachment.tell(1);  // the disk keeps it back
    }
    fakes::VirtioMachine machine;
    fakes::MemoryDisk disk{1_MiB};
    fakes::RecordingAttachment attachment;
    VirtioPci device{machine.wiring(), *Blk::create(disk, {.id = "disk0", .attachment = &attachment})};
    fakes::VirtioDriver driver{machine, device};
    std::optional<fakes::DriverQueue> queue;
};

TEST_F(BlkAtRest, PausingDoesNotWaitForARequestThatIsKeptBackAndItEndsAfterResuming) {
    device.pause();
    EXPECT_FALSE(queue->take_used());
    device.resume();
    machine.settle();
    EXPECT_TRUE(queue->take_used());
    EXPECT_EQ(load_le<uint32_t>(&disk.data[3 * 512]), 0xdeadbeefu);
    EXPECT_TRUE(attachment.said.ends_with("attached pausing resumed ")) << attachment.said;
}

TEST_F(BlkAtRest, AResetWhilePausedEndsWhatIsKeptBack) {
    device.pause();
    device.reset();
    EXPECT_TRUE(disk.waiting.empty());
    EXPECT_TRUE(attachment.said.ends_with("pausing detached ")) << attachment.said;
}

TEST_F(BlkAtRest, ItsStateIsNotSavedWithoutTheRequest) {
    device.pause();
    const auto saved = device.save();
    ASSERT_FALSE(saved);
    EXPECT_EQ(saved.error().message(), "disk0: 1 requests wait until its host side works again");
    device.reset();
}

}  // namespace
}  // namespace yado::virtio
