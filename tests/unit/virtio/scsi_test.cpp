// The controller: queues, addresses, task management, events, pause, state. The disk's commands: scsi_disk_test.cpp.
#include "fakes/scsi_rig.h"
#include "virtio/virtio.pb.h"

namespace yado::virtio {
namespace {

using enum ScsiFunction;
constexpr uint8_t kComplete = 0, kOverrun = 1, kBadTarget = 3, kFailure = 9, kSucceeded = 10, kRejected = 11, kIncorrectLun = 12;

struct ScsiDevice : testing::Test, ScsiRig {};

TEST_F(ScsiDevice, ItIsAModernVirtioFunctionWithItsConfiguration) {
    EXPECT_EQ(machine.bus.read({0, 2, 0}, 0, 4), 0x10481af4u);
    EXPECT_EQ(driver.read(18, 2), 4u);
    const auto config = [&](uint32_t at, unsigned size) { return driver.read(VirtioPci::kDeviceAt + at, size); };
    EXPECT_EQ(config(offsetof(ScsiConfig, num_queues), 4), 2u);
    EXPECT_EQ(config(offsetof(ScsiConfig, sense_size), 4), 96u);
    EXPECT_EQ(config(offsetof(ScsiConfig, cdb_size), 4), 32u);
    EXPECT_EQ(config(offsetof(ScsiConfig, max_target), 2), 63u);
}

TEST_F(ScsiDevice, ItsOptionsAreChecked) {
    EXPECT_FALSE(Scsi::create({.id = "s", .queues = 0}));
    EXPECT_FALSE(Scsi::create({.id = "s", .queues = 17}));
    EXPECT_FALSE(Scsi::create({.id = "s", .queue_size = 100}));
}

TEST_F(ScsiDevice, AReadAndAWriteMoveTheDisksBytes) {
    std::fill_n(&disk.data[512], 1024, 0x77);
    const Answer read = command({0x28, 0, 0, 0, 0, 1, 0, 0, 2}, 0, 1024);
    EXPECT_TRUE(read.good());
    EXPECT_EQ(read.header.residual, 0u);
    EXPECT_EQ(read.used, 108u + 1024u);
    EXPECT_EQ(in(1024), Bytes8(1024, 0x77));
    EXPECT_EQ(driver.interrupts(3), 2u);

    fill_out(512, 0x5a);
    const Answer write = command({0x2a, 0, 0, 0, 0, 9, 0, 0, 1}, 512);
    EXPECT_TRUE(write.good());
    EXPECT_EQ(write.used, 108u);
    EXPECT_EQ(disk.data[9 * 512 + 511], 0x5a);
    EXPECT_EQ(disk.flushes, 0u);
    EXPECT_EQ(scsi().counters(0).writes, 1u);
    EXPECT_EQ(scsi().counters(0).bytes_read, 1024u);
}

TEST_F(ScsiDevice, BothRequestQueuesAreServed) {
    driver.set_status(0);
    machine.settle();
    ASSERT_TRUE(driver.negotiate(kFeatures));
    driver.queue(0), driver.queue(1), driver.queue(2);
    fakes::DriverQueue fresh = driver.queue(3);
    for (uint64_t at = fresh.desc; at < fresh.desc + 0x10000; at += 8) machine.store<uint64_t>(at, 0);
    driver.driver_ok();
    machine.store(kRequest, ScsiRequestHeader{.lun = {1, 0}, .id = 1, .task_attr = 0, .prio = 0, .crn = 0});
    fresh.offer({{kRequest, 51}, {kResponse, 108, true}});
    driver.kick(3);
    EXPECT_TRUE(fresh.take_used());
}

TEST_F(ScsiDevice, ATargetWithoutADiskIsABadTarget) {
    EXPECT_EQ(command({0x12, 0, 0, 0, 36}, 0, 36, 1).header.response, kBadTarget);
    EXPECT_EQ(command({0x12, 0, 0, 0, 36}, 0, 36, 255).header.response, kBadTarget);
    EXPECT_EQ(response().header.residual, 36u);
}

TEST_F(ScsiDevice, ALogicalUnitThatTheTargetDoesNotHaveIsAnsweredAsTheStandardSays) {
    EXPECT_TRUE(command({0x12, 0, 0, 0, 36}, 0, 36, 0, 3).good());
    EXPECT_EQ(in(1)[0], 0x7f);
    EXPECT_EQ(command({0x00}, 0, 0, 0, 3).sense(), 0x52500u);
    EXPECT_TRUE(command({0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16}, 0, 16, 0, 3).good());
    EXPECT_TRUE(command({0x03, 0, 0, 0, 18}, 0, 18, 0, 0x3fff).good());
    EXPECT_EQ(in(18)[12], 0x25);
}

TEST_F(ScsiDevice, BuffersShorterThanTheTransferAreAnOverrunAndNothingMoves) {
    EXPECT_EQ(command({0x28, 0, 0, 0, 0, 1, 0, 0, 2}, 0, 1023).header.response, kOverrun);
    EXPECT_EQ(response().header.residual, 1023u);
    EXPECT_EQ(command({0x28, 0, 0, 0, 0, 1, 0, 0, 2}).header.response, kOverrun);
    EXPECT_EQ(command({0x2a, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 512).header.response, kOverrun);  // the wrong way
    EXPECT_EQ(command({0x12, 0, 0, 0, 255}, 0, 36).header.response, kOverrun);
    EXPECT_EQ(scsi().counters(0).reads + scsi().counters(0).writes, 0u);
}

TEST_F(ScsiDevice, LongerBuffersLeaveAResidual) {
    const Answer answer = command({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 4096);
    EXPECT_TRUE(answer.good());
    EXPECT_EQ(answer.header.residual, 4096u - 512u);
    EXPECT_EQ(answer.used, 108u + 512u);
}

TEST_F(ScsiDevice, DataBothWaysIsRefused) { EXPECT_EQ(command({0x00}, 512, 512).header.response, kFailure); }

TEST_F(ScsiDevice, ARequestWithoutRoomForItsHeadersNeedsAReset) {
    requests->offer({{kRequest, 50}, {kResponse, 108, true}});
    driver.kick(2);
    EXPECT_TRUE(driver.needs_reset());
    start();
    requests->offer({{kRequest, 51}, {kResponse, 107, true}});
    driver.kick(2);
    EXPECT_TRUE(driver.needs_reset());
}

TEST_F(ScsiDevice, SizesOfCdbAndSenseDataAreTheDriversWithinBounds) {
    const auto set = [&](uint32_t at, uint64_t value) { driver.write(VirtioPci::kDeviceAt + at, 4, value); };
    const auto get = [&](uint32_t at) { return driver.read(VirtioPci::kDeviceAt + at, 4); };
    set(offsetof(ScsiConfig, sense_size), 0xffffffff);
    set(offsetof(ScsiConfig, cdb_size), 0);
    EXPECT_EQ(get(offsetof(ScsiConfig, sense_size)), 96u);
    EXPECT_EQ(get(offsetof(ScsiConfig, cdb_size)), 32u);
    driver.set_status(0);
    machine.settle();
    ASSERT_TRUE(driver.negotiate(kFeatures));
    set(offsetof(ScsiConfig, sense_size), 4);
    set(offsetof(ScsiConfig, cdb_size), 6);
    requests.emplace(driver.queue(2));
    for (uint64_t at = requests->desc; at < requests->desc + 0x10000; at += 8) machine.store<uint64_t>(at, 0);
    driver.driver_ok();
    machine.store<uint8_t>(kResponse + 16, 0xaa);
    machine.store(kRequest, ScsiRequestHeader{.lun = {1, 0}, .id = 1, .task_attr = 0, .prio = 0, .crn = 0});
    requests->offer({{kRequest, 25}, {kResponse, 16, true}});
    driver.kick(2);
    EXPECT_EQ(requests->take_used()->len, 16u);
    EXPECT_EQ(machine.load<uint32_t>(kResponse), 4u);  // sense_len
    EXPECT_EQ(machine.load<uint8_t>(kResponse + 16), 0xaa);
    driver.set_status(0);
    machine.settle();
    EXPECT_EQ(get(offsetof(ScsiConfig, cdb_size)), 32u);
}

TEST_F(ScsiDevice, ManyCommandsGoRoundTheRing) {
    for (unsigned i = 0; i < 200; ++i) ASSERT_TRUE(command({0x2a, 0, 0, 0, 0, static_cast<uint8_t>(i), 0, 0, 1}, 512).good()) << i;
}

TEST_F(ScsiDevice, AbortingACommandWaitsUntilItHasEndedAndBeenAnswered) {
    disk.hold = true;
    offer({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 512, 0, 0, 7);
    driver.kick(2);
    offer_management(VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 7);
    EXPECT_FALSE(managed());
    disk.let_go();
    EXPECT_TRUE(requests->take_used());
    EXPECT_FALSE(managed());  // behind the command's own answer
    machine.settle();
    EXPECT_EQ(managed(), kComplete);
    offer_management(VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 7);
    EXPECT_EQ(managed(), kComplete);  // it is not there any more
}

TEST_F(ScsiDevice, AbortingOneCommandDoesNotWaitForOthers) {
    disk.hold = true;
    offer({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 512, 0, 0, 7);
    driver.kick(2);
    offer_management(VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 8);
    EXPECT_EQ(managed(), kComplete);
    offer_management(VIRTIO_SCSI_T_TMF_QUERY_TASK, 0, 7);
    EXPECT_EQ(managed(), kSucceeded);
    offer_management(VIRTIO_SCSI_T_TMF_QUERY_TASK, 0, 8);
    EXPECT_EQ(managed(), kComplete);
    offer_management(VIRTIO_SCSI_T_TMF_QUERY_TASK_SET);
    EXPECT_EQ(managed(), kSucceeded);
    disk.let_go();
}

TEST_F(ScsiDevice, AResetOfTheUnitWaitsForAllItsCommandsAndIsToldToTheNextOne) {
    command({0x15, 0x10, 0, 0, 24}, 24);  // whatever it says: the cache is switched off below
    disk.hold = true;
    offer({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 512, 0, 0, 1);
    offer({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 512, 0, 0, 2);
    driver.kick(2);
    offer_management(VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET);
    disk.let_go();
    machine.settle();
    EXPECT_FALSE(managed());
    disk.let_go();
    machine.settle();
    EXPECT_EQ(managed(), kComplete);
    EXPECT_TRUE(requests->take_used() && requests->take_used());
    disk.hold = false;
    EXPECT_EQ(command({0x00}).sense(), 0x62903u);
    EXPECT_TRUE(command({0x00}).good());
    offer_management(VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0, 0, 9);
    EXPECT_EQ(managed(), kComplete);
    EXPECT_EQ(command({0x00}).sense(), 0x62907u);
}

TEST_F(ScsiDevice, WhatCannotBeManagedIsRefused) {
    offer_management(VIRTIO_SCSI_T_TMF_CLEAR_ACA);
    EXPECT_EQ(managed(), kRejected);
    offer_management(static_cast<ScsiFunction>(99));
    EXPECT_EQ(managed(), kRejected);
    offer_management(VIRTIO_SCSI_T_TMF_ABORT_TASK_SET, 5);
    EXPECT_EQ(managed(), kBadTarget);
    offer_management(VIRTIO_SCSI_T_TMF_ABORT_TASK_SET, 0, 0, 5);
    EXPECT_EQ(managed(), kIncorrectLun);
}

TEST_F(ScsiDevice, NoAsynchronousNotificationsAreOffered) {
    machine.store<uint32_t>(kControl, 2);
    machine.store(kControl + 4, ScsiNotification{{1, 0}, 0x7e});
    control->offer({{kControl, 16}, {kControl + 0x100, 5, true}});
    driver.kick(0);
    EXPECT_EQ(control->take_used()->len, 5u);
    EXPECT_EQ(machine.load<uint32_t>(kControl + 0x100), 0u);
    EXPECT_EQ(machine.load<uint8_t>(kControl + 0x104), 0u);
    EXPECT_FALSE(driver.needs_reset());
}

TEST_F(ScsiDevice, AControlRequestOfNoKnownKindNeedsAReset) {
    machine.store<uint32_t>(kControl, 77);
    control->offer({{kControl, 24}, {kControl + 0x100, 1, true}});
    driver.kick(0);
    EXPECT_TRUE(driver.needs_reset());
}

// ---- units that come and go ----

struct ScsiHotplug : ScsiDevice {
    fakes::MemoryDisk other{2_MiB};
    Result<> attach(uint8_t target) { return scsi().attach_unit(target, other, {.id = "disk1", .serial = "SN43"}); }
};

TEST_F(ScsiHotplug, ADiskThatIsPluggedInIsToldAndAnswers) {
    offer_event_buffer();
    ASSERT_TRUE(attach(5));
    machine.settle();
    const auto told = event();
    ASSERT_TRUE(told);
    EXPECT_EQ(told->event, VIRTIO_SCSI_T_TRANSPORT_RESET);
    EXPECT_EQ(told->lun, (ScsiLun{1, 5}));
    EXPECT_EQ(told->reason, VIRTIO_SCSI_EVT_RESET_RESCAN);
    EXPECT_EQ(command({0x00}, 0, 0, 5).sense(), 0x62900u);
    EXPECT_TRUE(command({0x00}, 0, 0, 5).good());
    EXPECT_FALSE(attach(5));
    EXPECT_FALSE(attach(64));
}

TEST_F(ScsiHotplug, ADiskIsTakenAwayWhenItsCommandsHaveEnded) {
    ASSERT_TRUE(attach(5));
    command({0x00}, 0, 0, 5);
    offer_event_buffer();
    event();
    offer_event_buffer();
    other.hold = true;
    offer({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 512, 5);
    driver.kick(2);
    std::optional<bool> gone;
    io::spawn(scsi().detach_unit(5), [&](Result<> done) { gone = done.has_value(); });
    EXPECT_EQ(event()->reason, VIRTIO_SCSI_EVT_RESET_REMOVED);
    machine.settle();
    EXPECT_FALSE(gone);
    other.let_go();
    machine.settle();
    EXPECT_EQ(gone, true);
    EXPECT_TRUE(requests->take_used());
    EXPECT_EQ(command({0x00}, 0, 0, 5).header.response, kBadTarget);
    ASSERT_TRUE(attach(5));  // another may take its place
    gone.reset();
    io::spawn(scsi().detach_unit(9), [&](Result<> done) { gone = done.has_value(); });
    EXPECT_EQ(gone, false);
}

TEST_F(ScsiHotplug, AnotherSizeIsToldByAnEventAndAUnitAttention) {
    offer_event_buffer();
    disk.data.resize(2 << 20);
    ASSERT_TRUE(scsi().unit_resized(0));
    const auto told = event();
    ASSERT_TRUE(told);
    EXPECT_EQ(told->event, VIRTIO_SCSI_T_PARAM_CHANGE);
    EXPECT_EQ(told->reason, 0x092au);
    EXPECT_EQ(command({0x00}).sense(), 0x62a09u);
    EXPECT_TRUE(command({0x25}, 0, 8).good());
    EXPECT_EQ(in(4), (Bytes8{0, 0, 0x0f, 0xff}));
}

TEST_F(ScsiHotplug, EventsWaitForBuffersAndThoseThatAreTooManyAreMissed) {
    for (unsigned i = 0; i < 70; ++i) ASSERT_TRUE(scsi().unit_resized(0));
    offer_event_buffer();
    EXPECT_EQ(event()->event, VIRTIO_SCSI_T_EVENTS_MISSED | VIRTIO_SCSI_T_PARAM_CHANGE);
    offer_event_buffer();
    EXPECT_EQ(event()->event, VIRTIO_SCSI_T_PARAM_CHANGE);
}

TEST_F(ScsiHotplug, AnEventBufferThatIsTooSmallNeedsAReset) {
    offer_event_buffer(15);
    ASSERT_TRUE(attach(1));
    machine.settle();
    EXPECT_TRUE(driver.needs_reset());
}

TEST(ScsiEvents, ADriverThatDidNotAskForThemGetsNone) {
    ScsiRig rig(false, VIRTIO_F_VERSION_1);
    rig.offer_event_buffer();
    ASSERT_TRUE(rig.scsi().unit_resized(0));
    EXPECT_FALSE(rig.event());
    EXPECT_EQ(rig.command({0x00}).sense(), 0x62a09u);
}

// ---- pause, state, requests kept back ----

TEST_F(ScsiDevice, StateGoesOnInAnotherDevice) {
    out({0, 0, 0, 0, 0x08, 18, 0});  // WCE off
    for (uint64_t at = 6; at < 24; ++at) machine.store<uint8_t>(kOut + at, 0);
    ASSERT_TRUE(command({0x15, 0x10, 0, 0, 24}, 24).good());
    ASSERT_TRUE(command({0x1b}).good());  // stopped
    ASSERT_TRUE(scsi().unit_resized(0));  // an event for which there is no buffer, and an attention
    device.pause();
    const auto record = device.save();
    ASSERT_TRUE(record);
    device.reset();
    ASSERT_TRUE(device.load(*record));
    device.resume();
    machine.settle();
    EXPECT_EQ(command({0x00}).sense(), 0x62a09u);
    EXPECT_EQ(command({0x00}).sense(), 0x20402u);
    ASSERT_TRUE(command({0x1a, 0x08, 0x08, 0, 24}, 0, 24).good());
    EXPECT_EQ(in(24)[4 + 2] & 4, 0);
    offer_event_buffer();
    EXPECT_EQ(event()->event, VIRTIO_SCSI_T_PARAM_CHANGE);
}

TEST_F(ScsiDevice, AStateOfOtherDisksIsRefused) {
    device.pause();
    pb::Device m;
    ASSERT_TRUE(state::parse_record(*device.save(), m));
    const auto loads = [&](auto change) {
        pb::Scsi scsi;
        EXPECT_TRUE(scsi.ParseFromString(m.model()));
        change(scsi);
        pb::Device changed = m;
        changed.set_model(scsi.SerializeAsString());
        return device.load(state::make_record(device, changed)).has_value();
    };
    EXPECT_TRUE(loads([](pb::Scsi&) {}));
    EXPECT_FALSE(loads([](pb::Scsi& s) { s.mutable_units(0)->set_target(1); }));
    EXPECT_FALSE(loads([](pb::Scsi& s) { s.mutable_units(0)->set_target(1000); }));
    EXPECT_FALSE(loads([](pb::Scsi& s) { s.clear_units(); }));
    EXPECT_FALSE(loads([](pb::Scsi& s) { s.mutable_units(0)->add_attentions(0x1234); }));
    EXPECT_FALSE(loads([](pb::Scsi& s) { s.set_cdb_size(100000); }));
    EXPECT_FALSE(loads([](pb::Scsi& s) { s.set_cdb_size(0); }));
    EXPECT_FALSE(loads([](pb::Scsi& s) { s.add_events()->set_target(64); }));
    EXPECT_FALSE(loads([](pb::Scsi& s) {
        for (int i = 0; i < 65; ++i) s.add_events();
    }));
    EXPECT_TRUE(loads([](pb::Scsi&) {}));
    device.resume();
    EXPECT_TRUE(command({0x00}).good());
}

TEST_F(ScsiDevice, AResetInMidFlightShowsZeroOnlyWhenTheCommandIsDone) {
    disk.hold = true;
    offer({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, 512);
    driver.kick(2);
    driver.set_status(0);
    machine.settle();
    EXPECT_NE(driver.status(), 0);
    disk.let_go();
    machine.settle();
    EXPECT_EQ(driver.status(), 0);
    EXPECT_FALSE(requests->take_used());
}

struct ScsiAtRest : ScsiDevice {
    ScsiAtRest() {
        disk.hold = true;
        attachment.on_end = [this] {
            if (disk.waiting.empty()) return;
            attachment.tell(0);
            disk.let_go();
        };
        fill_out(512, 0x42);
        offer({0x2a, 0, 0, 0, 0, 3, 0, 0, 1}, 512, 0);
        driver.kick(2);
        attachment.tell(1);  // the disk keeps it back
    }
};

TEST_F(ScsiAtRest, PausingDoesNotWaitForACommandThatIsKeptBackAndItEndsAfterResuming) {
    device.pause();
    EXPECT_FALSE(requests->take_used());
    device.resume();
    machine.settle();
    EXPECT_TRUE(requests->take_used());
    EXPECT_EQ(disk.data[3 * 512], 0x42);
    EXPECT_TRUE(attachment.said.ends_with("attached pausing resumed ")) << attachment.said;
}

TEST_F(ScsiAtRest, ATaskManagementFunctionThatWaitsForItRestsWithIt) {
    offer_management(VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET);
    device.pause();
    EXPECT_FALSE(managed());
    EXPECT_FALSE(device.save());
    device.resume();
    machine.settle();
    EXPECT_TRUE(requests->take_used());
    EXPECT_EQ(managed(), kComplete);
}

TEST_F(ScsiAtRest, AResetWhilePausedEndsWhatIsKeptBack) {
    offer_management(VIRTIO_SCSI_T_TMF_ABORT_TASK_SET);
    device.pause();
    device.reset();
    EXPECT_TRUE(disk.waiting.empty());
    EXPECT_TRUE(attachment.said.ends_with("pausing detached ")) << attachment.said;
}

TEST_F(ScsiAtRest, TakingTheDiskAwayEndsWhatIsKeptBack) {
    std::optional<bool> gone;
    io::spawn(scsi().detach_unit(0), [&](Result<> done) { gone = done.has_value(); });
    machine.settle();
    EXPECT_EQ(gone, true);
    EXPECT_TRUE(requests->take_used());
    device.pause();
    EXPECT_TRUE(device.save());  // nothing rests
}

TEST_F(ScsiAtRest, ItsStateIsNotSavedWithoutTheCommand) {
    device.pause();
    const auto saved = device.save();
    ASSERT_FALSE(saved);
    EXPECT_EQ(saved.error().message(), "scsi0: 1 requests wait until its host side works again");
    device.reset();
}

}  // namespace
}  // namespace yado::virtio
