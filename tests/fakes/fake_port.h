// A guest port without a guest: verbs change a state and are written down.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "api/guest_port.h"
#include "base/guarded.h"

namespace yado::fakes {

class FakePort : public api::GuestPort {
  public:
    FakePort() : events_(clock_) {}

    api::GuestInfo info() const override {
        auto state = state_.lock();
        return {.name = name, .pid = 1, .state = state->run, .engine = "bt", .engine_reason = "fake", .cpu = "x86-64-v2", .cpus = 1,
                .memory = 512_MiB, .uptime = std::chrono::seconds(61), .console = "none"};
    }
    std::vector<api::DeviceInfo> devices() const override { return {{"disk0", "virtio-blk", "0000:00:03.0", "raw a.img"}}; }
    api::Counters counters() const override { return {{"vcpu0.exits", 7}}; }

    api::EngineStats engine_stats() const override {
        return {"bt", {{0, {{"left_by", "", true, {{"follow", 3}, {"request", 12}}}, {"time", "ns", true, {{"idle", 1'500'000'000}}}}}}};
    }

    Result<> pause() override { return change(api::RunState::Running, api::RunState::Paused, "paused"); }
    Result<> resume() override { return change(api::RunState::Paused, api::RunState::Running, "resumed"); }
    Result<> reset() override { return tell("reset"); }
    Result<> power_button() override {
        if (on_power_button) on_power_button();
        return tell("power-button");
    }
    Result<> power_off() override {
        if (on_power_off) on_power_off();
        return tell("power-off");
    }
    std::vector<api::DiskState> disks() const override {
        return {{.id = "disk0", .path = "/images/a.qcow2", .format = "qcow2", .chain = {}, .size = 1_GiB, .limits = *limits_.lock()}};
    }
    Result<> limit_disk(const api::LimitsRequest& request) override {
        if (request.disk != "disk0") return fail(ErrorKind::NotFound, "there is no disk {}", request.disk);
        *limits_.lock() = request.limits;
        return {};
    }
    Result<api::JobInfo> snapshot_disks(const api::SnapshotRequest& request) override {
        const Nanoseconds stall = std::chrono::microseconds(1500);
        return end_job({.kind = "snapshot", .snapshots = {{"disk0", "/images/a." + request.name + ".qcow2", "/images/a.qcow2", "qcow2", stall}}});
    }
    Result<api::JobInfo> commit_disk(const api::CommitRequest& request) override {
        if (request.disk == "disk0") return end_job({.kind = "commit"});
        return end_job({.kind = "commit", .state = api::JobState::Failed, .error_kind = "not-found", .error = "there is no disk " + request.disk});
    }
    std::vector<api::JobInfo> jobs() const override { return *jobs_.lock(); }
    Result<> cancel_job(uint64_t id) override { return fail(ErrorKind::NotFound, "job {} does not run", id); }
    Result<api::DeviceInfo> attach_disk(api::DiskConfig disk) override {
        if (disk.id.empty()) disk.id = "disk1";
        if (disk.path.ends_with("/missing.img")) return fail(ErrorKind::NotFound, "disk {}: No such file or directory", disk.path);
        auto state = state_.lock();
        if (!state->disks.emplace(disk.id, disk.path).second) return fail(ErrorKind::Conflict, "the guest has a device {} already", disk.id);
        events_.add("disk-added", disk.id + ": " + disk.path);
        return api::DeviceInfo{disk.id, "virtio-blk", "0000:01:00.0", "raw " + disk.path};
    }
    Result<> detach_disk(std::string_view id, api::Detach how) override {
        auto state = state_.lock();
        if (state->disks.erase(std::string(id)) == 0) return fail(ErrorKind::NotFound, "the guest has no disk {}", id);
        if (keeps_disks && how == api::Detach::Ask) {
            state->disks.emplace(id, "");
            return tell("disk-detaching");
        }
        events_.add("disk-removed", id);
        return {};
    }
    api::ConsoleHub& console() override { return console_; }
    api::EventLog& events() override { return events_; }

    void set_state(api::RunState run) { state_.lock()->run = run; }
    void print(std::string_view text) { console_.output(std::as_bytes(std::span(text))); }

    std::string name = "fake";
    std::function<void()> on_power_button, on_power_off;
    bool keeps_disks = false;  ///< a guest that does not answer to the slot's button

  private:
    struct State {
        api::RunState run = api::RunState::Running;
        std::map<std::string, std::string> disks;
    };
    Result<> change(api::RunState from, api::RunState to, const char* event) {
        {
            auto state = state_.lock();
            if (state->run != from) return fail(ErrorKind::Conflict, "the guest is {}", api::to_string(state->run));
            state->run = to;
        }
        return tell(event);
    }
    /// One that has ended by the time it is asked for; the answer to its POST does not know that yet.
    Result<api::JobInfo> end_job(api::JobInfo job) {
        auto jobs = jobs_.lock();
        job.id = jobs->size() + 1;
        if (job.state == api::JobState::Running) job.state = api::JobState::Done;
        jobs->push_back(job);
        job.state = api::JobState::Running;
        return job;
    }
    Result<> tell(const char* event) {
        events_.add(event);
        return {};
    }
    SystemClock clock_;
    api::ConsoleHub console_;
    api::EventLog events_;
    Guarded<State, LockRank::Control> state_;
    Guarded<api::DiskLimits, LockRank::Leaf> limits_;
    mutable Guarded<std::vector<api::JobInfo>, LockRank::Leaf> jobs_;
};

}  // namespace yado::fakes
