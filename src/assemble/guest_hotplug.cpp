// Disks that come and go while the guest runs.
//
//     attach: the caller's thread opens the image, the control thread plugs it in while no vCPU runs
//     detach: the control thread asks the guest; its power-off of the slot, or its reset, takes the disk away (service_slots(), boot())
//     detach by force: the caller's thread cuts the disk off and waits until the driver has noticed, then the control thread takes it away
#include <algorithm>
#include <thread>

#include "assemble/guest_impl.h"

namespace yado::assemble {

/// On the control executor, with no vCPU running and nobody looking at the parts.
Result<> GuestImpl::change_machine(const std::function<Result<>(vm::RunControl::Devices)>& change) {
    return on_control([&](vm::RunControl& run) {
        return run.change_machine([&](vm::RunControl::Devices devices) {
            const std::unique_lock lock(parts_mutex_);
            return change(devices);
        });
    });
}

/// Makes up an id where there is none. Errors: Conflict (another device has it).
Result<> GuestImpl::settle_id(api::DiskConfig& disk) const {
    const auto all = devices();
    const auto taken = [&](const std::string& id) { return std::ranges::find(all, id, &api::DeviceInfo::id) != all.end(); };
    for (unsigned n = 0; disk.id.empty(); ++n)
        if (const std::string id = fmt::format("disk{}", n); !taken(id)) disk.id = id;
    if (taken(disk.id)) return fail(ErrorKind::Conflict, "the guest has a device {} already; give the disk another id", disk.id);
    return {};
}

Result<api::DeviceInfo> GuestImpl::attach_disk(api::DiskConfig disk) {
    if (const auto now = state(); now != api::RunState::Running && now != api::RunState::Paused)
        return fail(ErrorKind::Conflict, "the guest is {}", api::to_string(now));
    if (disk.bus == api::DiskBus::Scsi)
        return fail(ErrorKind::Usage, "disk {}: bus=scsi is for disks that are there from the start; leave it out", disk.path);
    YADO_TRY(settle_id(disk));
    YADO_TRY(api::validate(disk));
    auto opened = plugged_->drives().open(disk);
    if (!opened) return std::unexpected(opened.error().within(disk.id));
    const auto plugged = change_machine([&](vm::RunControl::Devices devices) { return plugged_->attach_disk(*opened, inventory_, devices); });
    if (!plugged) {
        if (opened->image) plugged_->drives().discard(std::move(*opened));
        return std::unexpected(plugged.error());
    }
    const auto all = devices();
    const auto found = std::ranges::find(all, disk.id, &api::DeviceInfo::id);
    const api::DeviceInfo info = found != all.end() ? *found : api::DeviceInfo{.id = disk.id, .kind = "virtio-blk", .location = "", .detail = ""};
    events_.add("disk-added", fmt::format("{}: {}", disk.id, disk.path));
    return info;
}

/// Fails the disk's requests and gives the guest the time to notice: a driver whose device is gone waits for ever for requests that it had
/// still put into its rings (Linux 6.1's virtio-blk). At most three seconds: a guest that asks on and on is not waited for. Errors: as
/// detach_disk's.
Result<> GuestImpl::cut_off(std::string_view id) {
    constexpr auto kStep = std::chrono::milliseconds(50);
    constexpr int kSteps = 60, kQuietSteps = 10;
    YADO_TRY(change_machine([&](vm::RunControl::Devices) -> Result<> {
        YADO_TRY(plugged_->way_out(id));
        plugged_->drives().cut(id);
        return {};
    }));
    CutOff::Activity last;
    for (int step = 0, quiet = 0; step < kSteps && quiet < kQuietSteps && state() == api::RunState::Running; ++step) {
        std::this_thread::sleep_for(kStep);
        const std::shared_lock lock(parts_mutex_);
        if (!parts_there_) break;
        const CutOff::Activity now = plugged_->drives().activity(id);
        quiet = now == last && now.in_flight == 0 ? quiet + 1 : 0;
        last = now;
    }
    return {};
}

Result<> GuestImpl::detach_disk(std::string_view id, api::Detach how) {
    using Asked = pci::RootPort::Asked;
    if (how == api::Detach::Force) YADO_TRY(cut_off(id));
    return change_machine([&](vm::RunControl::Devices) -> Result<> {
        const Asked asked = YADO_TRY(plugged_->detach_disk(id, how, inventory_));
        if (asked != Asked::Off)
            events_.add("disk-detaching", fmt::format("{}: {}", id, asked == Asked::Going ? "the guest is at it" : "the guest was asked to let it go"));
        return {};
    });
}

/// Control executor's thread, no vCPU runs.
void GuestImpl::service_slots() {
    const std::unique_lock lock(parts_mutex_);
    plugged_->service(inventory_);
}

void GuestImpl::on_disk_closed(const std::string& id, const Result<>& closed) {
    if (closed) return events_.add("disk-removed", id);
    events_.add("disk-removed", fmt::format("{}: what the guest wrote last may be lost: {}", id, closed.error().message()));
}

}  // namespace yado::assemble
