// A virtio-scsi controller with a disk at target 0, and a driver that sends it commands.
#pragma once

#include <numeric>

#include "base/bytes.h"
#include "fakes/attachment.h"
#include "fakes/disk_image.h"
#include "fakes/virtio_driver.h"
#include "virtio/scsi/scsi.h"

namespace yado::virtio {

struct ScsiRig {
    static constexpr uint64_t kRequest = 0x10000, kOut = 0x20000, kResponse = 0x40000, kIn = 0x50000, kControl = 0x80000, kEvents = 0x90000;
    static constexpr uint64_t kFeatures = VIRTIO_F_VERSION_1 | VIRTIO_SCSI_F_HOTPLUG | VIRTIO_SCSI_F_CHANGE;
    using Bytes8 = std::vector<uint8_t>;

    fakes::VirtioMachine machine;
    fakes::MemoryDisk disk;
    fakes::RecordingAttachment attachment;
    VirtioPci device;
    fakes::VirtioDriver driver{machine, device};
    std::optional<fakes::DriverQueue> control, events, requests;

    explicit ScsiRig(bool readonly = false, uint64_t features = kFeatures) : disk(1_MiB, readonly), device(machine.wiring(), make(), {.packed = true}) {
        start(features);
        command({0x00});  // takes the unit attention of power-on
    }
    std::unique_ptr<Scsi> make() {
        auto scsi = *Scsi::create({.id = "scsi0", .queues = 2});
        EXPECT_TRUE(scsi->attach_unit(0, disk, {.id = "disk0", .serial = "SN42", .attachment = &attachment}));
        return scsi;
    }
    void start(uint64_t features = kFeatures) {
        EXPECT_TRUE(driver.negotiate(features));
        for (uint64_t at = 0x100000; at < 0x140000; at += 8) machine.store<uint64_t>(at, 0);  // rings of before
        driver.use_msix(4);
        control.emplace(driver.queue(0));
        events.emplace(driver.queue(1));
        requests.emplace(driver.queue(2));
        driver.driver_ok();
    }
    Scsi& scsi() { return static_cast<Scsi&>(device.model()); }

    struct Answer {
        ScsiResponseHeader header{};
        uint8_t key = 0;
        uint16_t code = 0;  // additional sense code and qualifier
        uint32_t used = 0;
        bool good() const { return header.response == 0 && header.status == 0; }
        /// Sense key, code and qualifier as one number: 0x5'24'00.
        uint32_t sense() const { return header.response || header.status != 2 ? ~0u : static_cast<uint32_t>(key) << 16 | code; }
    };
    uint16_t offer(const Bytes8& cdb, uint32_t out, uint32_t in, uint8_t target = 0, uint16_t lun = 0, uint64_t tag = 7) {
        ScsiRequestHeader header{.lun = {1, target, static_cast<uint8_t>(lun >> 8 | 0x40), static_cast<uint8_t>(lun)}, .id = tag, .task_attr = 0, .prio = 0, .crn = 0};
        machine.store(kRequest, header);
        for (uint32_t i = 0; i < kScsiDefaultCdbSize; ++i) machine.store<uint8_t>(kRequest + sizeof header + i, i < cdb.size() ? cdb[i] : 0);
        for (uint64_t at = 0; at < 112; at += 8) machine.store<uint64_t>(kResponse + at, ~0ull);
        std::vector<fakes::Buffer> chain{{kRequest, sizeof header + kScsiDefaultCdbSize}};
        if (out) chain.push_back({kOut, out});
        chain.push_back({kResponse, sizeof(ScsiResponseHeader) + kScsiDefaultSenseSize, true});
        if (in) chain.push_back({kIn, in, true});
        return requests->offer(chain);
    }
    Answer command(const Bytes8& cdb, uint32_t out = 0, uint32_t in = 0, uint8_t target = 0, uint16_t lun = 0) {
        offer(cdb, out, in, target, lun);
        driver.kick(2);
        const auto used = requests->take_used();
        EXPECT_TRUE(used);
        Answer answer = response();
        answer.used = used ? used->len : 0;
        return answer;
    }
    Answer response() {
        Answer answer{.header = machine.load<ScsiResponseHeader>(kResponse)};
        answer.key = machine.load<uint8_t>(kResponse + 12 + 2) & 0xf;
        answer.code = static_cast<uint16_t>(machine.load<uint8_t>(kResponse + 12 + 12) << 8 | machine.load<uint8_t>(kResponse + 12 + 13));
        return answer;
    }
    /// Bytes that the device sent.
    Bytes8 in(size_t count) {
        Bytes8 bytes(count);
        for (size_t i = 0; i < count; ++i) bytes[i] = machine.load<uint8_t>(kIn + i);
        return bytes;
    }
    void out(const Bytes8& bytes, uint64_t at = 0) {
        for (size_t i = 0; i < bytes.size(); ++i) machine.store<uint8_t>(kOut + at + i, bytes[i]);
    }
    void fill_out(size_t count, uint8_t value) { out(Bytes8(count, value)); }

    /// A task management function; the answer, or nothing while it waits.
    void offer_management(ScsiFunction function, uint8_t target = 0, uint64_t tag = 7, uint16_t lun = 0) {
        machine.store<uint32_t>(kControl, 0);
        machine.store(kControl + 4, ScsiTaskManagement{std::to_underlying(function), {1, target, 0, static_cast<uint8_t>(lun)}, tag});
        machine.store<uint8_t>(kControl + 0x100, 0xee);
        control->offer({{kControl, 24}, {kControl + 0x100, 1, true}});
        driver.kick(0);
    }
    std::optional<uint8_t> managed() {
        if (!control->take_used()) return std::nullopt;
        return machine.load<uint8_t>(kControl + 0x100);
    }
    void offer_event_buffer(uint32_t size = sizeof(ScsiEvent)) {
        events->offer({{kEvents, size, true}});
        driver.kick(1);
    }
    std::optional<ScsiEvent> event() {
        if (!events->take_used()) return std::nullopt;
        return machine.load<ScsiEvent>(kEvents);
    }
};

}  // namespace yado::virtio
