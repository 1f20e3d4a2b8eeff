#include "assemble/guest_impl.h"

#include <unistd.h>

#include "assemble/kernel_loader.h"
#include "io/call_on.h"

namespace yado::assemble {

GuestImpl::GuestImpl(const api::GuestConfig& config, const std::string& verdict_file)
    : config_(config),
      verdict_file_(verdict_file),
      processors_([this](unsigned, const cpu::ShutdownRequest& r) { on_shutdown(r); },
                  [this](unsigned vcpu, const cpu::DebugStop& stop) { debugger_->vcpu_stopped(vcpu, stop); }) {}

GuestImpl::~GuestImpl() {
    (void)power_off();  // Conflict if it was never assembled: fine
    processors_.shut_down();
    io::call_on(control_.executor(), [] {});  // what the vCPUs posted last has run: it is about parts that go now
    feed_.disconnect();
    if (plugged_) (void)plugged_->close();
    io::call_on(control_.executor(), [] {});  // nor does a disk post any more
}

Result<> GuestImpl::assemble() {
    engine_ = YADO_TRY(choose_engine(config_, verdict_file_));
    layout_ = YADO_TRY(machine::Layout::create(config_.memory, engine_.identity.physical_address_bits));
    YADO_TRY(layout_->populate(memory_));
    model_ = YADO_TRY(cpu::make_model(config_.cpu, engine_.features, config_.cpus, engine_.engine->tsc_hz(), engine_.identity));
    YADO_TRY(engine_.engine->map_memory(memory_));
    YADO_TRY(make_chipset());
    plugged_ = YADO_TRY(Plugged::create({.config = config_,
                                         .chipset = *chipset_,
                                         .engine = *engine_.engine,
                                         .executor = io_.executor(),
                                         .console = feed_,
                                         .disk_failed = [this](std::string reason) { run_->host_pauses("disk-error", std::move(reason)); },
                                         .event = [this](std::string_view kind, std::string_view detail) { events_.add(kind, detail); },
                                         .disk_closed = [this](const std::string& id, const Result<>& closed) { on_disk_closed(id, closed); },
                                         .slot_wants_service = [this] { run_->guest_changes_machine([this](vm::RunControl::Devices) { service_slots(); }); }}));
    chipset_->list(inventory_);
    plugged_->list(inventory_);
    YADO_TRY(make_processors());
    run_ = std::make_unique<vm::RunControl>(vm::RunControl::Wiring{
        control_.executor(), processors_, inventory_, [this] { return boot(); },
        [this](std::string_view kind, std::string_view detail) { on_event(kind, detail); }, config_.no_reboot});
    debugger_ = std::make_unique<vm::Debugger>(vm::Debugger::Wiring{
        control_.executor(), processors_, *run_, memory_, model_.has(cpu::Feature::AVX), [this](std::string_view kind) { events_.add(kind); }});
    return {};
}

Result<> GuestImpl::build() {
    YADO_TRY(assemble());
    {
        const std::unique_lock lock(parts_mutex_);
        parts_there_ = true;
    }
    assembled_.store(true, std::memory_order_release);
    return load();
}

machine::PowerEvents GuestImpl::power_events() {
    using api::StopReason;
    return {
        .reset = [this] { run_->guest_wants_reset(); },
        .power_off = [this] { run_->guest_stops({.reason = StopReason::PoweredOff}); },
        .panic =
            [this](machine::PanicEvent event) {
                if (event == machine::PanicEvent::Panicked)
                    run_->guest_stops({.reason = StopReason::Crashed, .detail = "the guest's kernel panicked (pvpanic)"});
                else
                    events_.add("crashed", "the guest's kernel panicked; a crash kernel took over");
            },
        .debug_exit = [this](uint32_t value) { run_->guest_stops({.reason = StopReason::DebugExit, .debug_code = value}); },
    };
}

Result<> GuestImpl::make_chipset() {
    chipset_ = YADO_TRY(Chipset::create({.ports = ports_,
                                         .memory = mmio_,
                                         .ram = memory_,
                                         .timers = time_.executor(),
                                         .engine = *engine_.engine,
                                         .vcpus = config_.cpus,
                                         .tsc_hz = engine_.engine->tsc_hz(),
                                         .physical_address_bits = model_.physical_address_bits,
                                         .events = power_events(),
                                         .serial = feed_,
                                         .serial_room = [this] { feed_.wake(); },
                                         .debug_exit = config_.debug_exit}));
    if (config_.console_device == api::ConsoleDevice::Virtio) return {};  // plugged_ takes the input; output of both is shown
    feed_.connect({.take = [this](std::span<const std::byte> bytes) { return chipset_->serial().receive(bytes); }});
    return {};
}

Result<> GuestImpl::make_processors() {
    for (uint32_t n = 0; n < config_.cpus; ++n) {
        routers_.push_back(std::make_unique<vm::ExitRouter>(ports_, mmio_));
        YADO_TRY(processors_.add([this, n] {
            return engine_.engine->create_vcpu({.index = n,
                                                .model = model_,
                                                .memory = memory_,
                                                .devices = *routers_[n],
                                                .apic = chipset_->lapic(n),
                                                .pic = n == 0 ? &chipset_->pic() : nullptr,
                                                .guest_tsc_hz = engine_.engine->tsc_hz(),
                                                .timed = config_.engine_stats});
        }));
    }
    return {};
}

/// Tables and kernel into memory.
Result<> GuestImpl::load() {
    const unsigned address_bits = engine_.identity.physical_address_bits;
    const auto tables = YADO_TRY(machine::acpi::install(
        memory_, {.vcpus = config_.cpus, .physical_address_bits = address_bits, .hotplug_ports = config_.hotplug_ports > 0}));
    loaded_ = YADO_TRY(load_kernel(config_, *layout_, tables.rsdp, memory_));
    return {};
}

/// Kernel and tables in memory, the boot processor at its entry, the others waiting for SIPI.
Result<> GuestImpl::boot() {
    {
        const std::unique_lock lock(parts_mutex_);
        plugged_->after_reset(inventory_);
    }
    if (!loaded_) YADO_TRY(load());
    for (uint32_t n = 0; n < config_.cpus; ++n) {
        cpu::CpuState state = n == 0 ? loaded_->state : cpu::reset_state();
        if (n > 0) state.activity = cpu::Activity::WaitForSipi;
        if (engine_.engine->owns_lapic()) state.lapic = cpu::reset_lapic_state(n, n == 0);
        YADO_TRY(processors_.vcpu(n).set_state(state));
    }
    loaded_.reset();
    return {};
}

void GuestImpl::on_shutdown(const cpu::ShutdownRequest& request) {
    if (request.cause == cpu::ShutdownCause::EngineFailure) return run_->guest_stops({.reason = api::StopReason::Failed, .detail = request.detail});
    events_.add("triple-fault", request.detail);
    if (config_.no_reboot)
        run_->guest_stops({.reason = api::StopReason::Crashed, .detail = request.detail});
    else
        run_->guest_wants_reset();  // what a PC does (SDM vol. 3, 23.8: shutdown; the chipset then resets)
}

void GuestImpl::on_event(std::string_view kind, std::string_view detail) {
    events_.add(kind, detail);
    if (kind == "reset") debugger_->guest_reset();
    if (run_->state() != api::RunState::Stopped) return;
    debugger_->guest_ended(*run_->stopped());
    const std::lock_guard lock(ended_mutex_);
    has_ended_ = true;
    ended_.notify_all();
}

Result<> GuestImpl::start() {
    started_ = clock_.now();
    const auto then = config_.gdb_wait ? vm::RunControl::Then::StayPaused : vm::RunControl::Then::Run;
    return on_control([then](vm::RunControl& run) { return run.start(then); });
}

api::ExitReport GuestImpl::wait() {
    {
        std::unique_lock lock(ended_mutex_);
        ended_.wait(lock, [this] { return has_ended_; });
    }
    {  // from here on the port answers with what was last true: the parts that it asks are about to go
        const std::unique_lock lock(parts_mutex_);
        last_devices_ = list_devices();
        last_counters_ = count();
        last_engine_stats_ = ask_engine();
        parts_there_ = false;
    }
    processors_.shut_down();
    feed_.disconnect();
    api::ExitReport report = *run_->stopped();
    if (const auto closed = plugged_->close(); !closed && report.reason != api::StopReason::Failed)
        report = {.reason = api::StopReason::Failed, .detail = closed.error().message()};
    console_.close();
    return report;
}

std::unique_ptr<Guest> create_guest(const api::GuestConfig& config, const std::string& verdict_file) {
    return std::make_unique<GuestImpl>(config, verdict_file);
}

}  // namespace yado::assemble
