// The guest as its control socket and terminal see it.
#include <unistd.h>

#include "assemble/guest_impl.h"
#include "io/call_on.h"

namespace yado::assemble {

/// Runs a verb on the control executor and waits for its result. Errors: the verb's; Conflict before there is a machine.
Result<> GuestImpl::on_control(std::function<Result<>(vm::RunControl&)> verb) const {
    if (!assembled_.load(std::memory_order_acquire)) return fail(ErrorKind::Conflict, "the guest is starting");
    return io::call_on(control_.executor(), [&] { return verb(*run_); });
}

Result<> GuestImpl::pause() {
    return on_control([](vm::RunControl& run) { return run.pause(); });
}
Result<> GuestImpl::resume() {
    return on_control([](vm::RunControl& run) { return run.resume(); });
}
Result<> GuestImpl::reset() {
    return on_control([](vm::RunControl& run) { return run.reset(); });
}
Result<> GuestImpl::power_off() {
    return on_control([](vm::RunControl& run) { return run.stop({.reason = api::StopReason::Stopped}); });
}

Result<> GuestImpl::power_button() {
    if (const auto now = state(); now != api::RunState::Running) return fail(ErrorKind::Conflict, "the guest is {}, not running", api::to_string(now));
    const std::shared_lock lock(parts_mutex_);
    events_.add("power-button");
    chipset_->acpi().press_power_button();
    return {};
}

api::RunState GuestImpl::state() const {
    return assembled_.load(std::memory_order_acquire) ? run_->state() : api::RunState::Starting;
}

api::GuestInfo GuestImpl::info() const {
    const bool assembled = assembled_.load(std::memory_order_acquire);
    const auto stopped = assembled ? run_->stopped() : std::nullopt;
    const Nanoseconds started = started_;
    return {.name = config_.name,
            .pid = getpid(),
            .state = state(),
            .pause_reason = assembled ? run_->pause_reason() : "",
            .stop_reason = stopped ? stopped->reason : api::StopReason::None,
            .engine = assembled ? engine_.engine->name() : "",
            .engine_reason = assembled ? engine_.reason : "",
            .cpu = config_.cpu,
            .cpus = config_.cpus,
            .memory = config_.memory,
            .uptime = started.count() ? clock_.now() - started : Nanoseconds(0),
            .image = config_.image,
            .console = api::to_string(config_.console)};
}

std::vector<api::DeviceInfo> GuestImpl::devices() const {
    const std::shared_lock lock(parts_mutex_);
    return parts_there_ ? list_devices() : last_devices_;
}

api::Counters GuestImpl::counters() const {
    const std::shared_lock lock(parts_mutex_);
    return parts_there_ ? count() : last_counters_;
}

api::EngineStats GuestImpl::engine_stats() const {
    const std::shared_lock lock(parts_mutex_);
    return parts_there_ ? ask_engine() : last_engine_stats_;
}

std::vector<api::DiskState> GuestImpl::disks() const {
    const std::shared_lock lock(parts_mutex_);
    return parts_there_ ? plugged_->disks() : std::vector<api::DiskState>{};
}

Result<> GuestImpl::limit_disk(const api::LimitsRequest& request) {
    return with_parts([&](Plugged& plugged) { return plugged.limit_disk(request); });
}
Result<api::JobInfo> GuestImpl::snapshot_disks(const api::SnapshotRequest& request) {
    return with_parts([&](Plugged& plugged) { return plugged.jobs().snapshot(request); });
}
Result<api::JobInfo> GuestImpl::commit_disk(const api::CommitRequest& request) {
    return with_parts([&](Plugged& plugged) { return plugged.jobs().commit(request); });
}
Result<> GuestImpl::cancel_job(uint64_t id) {
    return with_parts([&](Plugged& plugged) { return plugged.jobs().cancel(id); });
}

std::vector<api::JobInfo> GuestImpl::jobs() const {
    const std::shared_lock lock(parts_mutex_);
    return parts_there_ ? plugged_->jobs().list() : std::vector<api::JobInfo>{};
}

api::EngineStats GuestImpl::ask_engine() const {
    api::EngineStats all{engine_.engine->name(), {}};
    for (uint32_t n = 0; n < config_.cpus; ++n) {
        api::VcpuStats& vcpu = all.vcpus.emplace_back(api::VcpuStats{n, {}});
        for (cpu::StatGroup& group : processors_.stats(n)) vcpu.groups.push_back({std::move(group.name), std::move(group.unit), group.kind == cpu::StatKind::Parts, std::move(group.values)});
    }
    return all;
}

std::vector<api::DeviceInfo> GuestImpl::list_devices() const {
    std::vector<api::DeviceInfo> list = chipset_->describe();
    for (const pci::PciFunction* f : chipset_->pci().all_functions()) {
        const pci::FunctionInfo info = f->info();
        list.push_back({info.id, info.kind, fmt::format("0000:{:02x}:{:02x}.{}", info.address.bus, info.address.slot, info.address.function), info.detail});
    }
    return list;
}

api::Counters GuestImpl::count() const {
    api::Counters all;
    for (uint32_t n = 0; n < config_.cpus; ++n) {
        const auto accesses = routers_[n]->counters();
        const auto usage = processors_.usage(n);
        const auto put = [&](std::string_view name, uint64_t value) { all[fmt::format("vcpu{}.{}", n, name)] = value; };
        put("port_reads", accesses.port_reads);
        put("port_writes", accesses.port_writes);
        put("mmio_reads", accesses.mmio_reads);
        put("mmio_writes", accesses.mmio_writes);
        put("instructions", usage.instructions);
        put("halts", usage.halts);
        put("cpu_microseconds", static_cast<uint64_t>(usage.cpu_seconds * 1e6));
    }
    all["console.output_bytes"] = console_.end_cursor();
    plugged_->count(all);
    return all;
}

}  // namespace yado::assemble
