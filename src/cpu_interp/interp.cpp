// The interpreter's vCPU and the single stepper.
//
//   run(): requests (kick, rendezvous, stale code, INIT, SIPI) -> events (NMI, interrupt) -> blocks or one instruction -> ...
//   park(): sleeps on the request word until a signal, a kick, or its APIC's timer (parking.h).
#include "cpu_interp/interp.h"

#include <array>
#include <new>
#include <optional>

#include "cpu_interp/block_cache.h"
#include "cpu_interp/convert.h"
#include "cpu_interp/external_debug.h"
#include "cpu_interp/fpu/fpu.h"
#include "cpu_interp/integer/select.h"
#include "cpu_interp/parking.h"
#include "cpu_interp/run.h"
#include "cpu_interp/shared.h"
#include "cpu_interp/tier.h"
#include "cpu_interp/time_split.h"

namespace yado::cpu_interp {

namespace {

std::string describe_crash(const Core& c) {
    return fmt::format("triple fault at rip {:#x} (CS {:#x}, CR0 {:#x}, CR2 {:#x}, CR3 {:#x}, RSP {:#x})", c.rip,
                       c.seg[cpu::CS].selector, c.cr0, c.cr2, c.cr3, c.gpr[cpu::RSP]);
}

/// Between enter and leave a vCPU takes part in rendezvous.
class Presence {
  public:
    explicit Presence(Core& c) : core_(c) { c.shared.enter(c); }
    ~Presence() {
        fpu_leave(*core_.fpu);
        core_.shared.leave(core_);
    }

  private:
    Core& core_;
};

/// The time split of a vCPU that is asked for one.
class Timing {
  public:
    explicit Timing(const cpu::VcpuWiring& wiring) : devices_(wiring.devices, split_) {}
    cpu::VcpuWiring over(const cpu::VcpuWiring& w) { return {w.index, w.model, w.memory, devices_, w.apic, w.pic, w.guest_tsc_hz, w.timed}; }
    TimeSplit& split() { return split_; }

  private:
    TimeSplit split_;
    TimedDevices devices_;
};

class InterpVcpu final : public cpu::Vcpu, public cpu::SignalSink {
  public:
    InterpVcpu(const cpu::VcpuWiring& wiring, std::shared_ptr<Shared> shared)
        : shared_(std::move(shared)),
          timing_(wiring.timed ? std::make_unique<Timing>(wiring) : nullptr),
          core_(std::make_unique<Core>(timing_ ? timing_->over(wiring) : wiring, *shared_)) {
        if (timing_) core_->time = &timing_->split();
        if (wiring.apic) wiring.apic->connect(this);
    }
    ~InterpVcpu() override {
        if (core_->wiring.apic) core_->wiring.apic->connect(nullptr);
    }

    cpu::Exit run() override;
    void kick() override { signal(cpu::Signal::Kick); }
    void park() override;
    void signal(cpu::Signal s) override { send(core_->requests, bit(s)); }
    Result<cpu::CpuState> get_state() override { return export_state(*core_); }
    Result<> set_state(const cpu::CpuState& state) override;
    Result<> set_debug(const cpu::DebugControl& control) override;
    Result<> add_tier(const TierFactory& make);
    uint64_t instructions() const override { return core_->icount; }
    cpu::Stats stats() const override;

  private:
    bool take(uint32_t bits) { return core_->requests.fetch_and(~bits) & bits; }
    std::optional<cpu::Exit> serve_requests();
    void drop_stale_code();
    void init();
    void start_up();
    bool deliver_pending();
    bool deliver_nmi();
    bool deliver_interrupt();
    std::optional<uint8_t> acknowledge();
    bool interrupt_pending() const;
    bool execute();

    std::shared_ptr<Shared> shared_;
    std::unique_ptr<Timing> timing_;  ///< or nullptr
    std::unique_ptr<Core> core_;
    cpu::PendingEvent pending_{};  ///< from set_state, to be delivered first
    bool run_alone_ = false;
};

cpu::Exit InterpVcpu::run() {
    const Presence presence(*core_);
    const Spending spending(core_->time, Doing::Interpreter);
    for (;;) {
        if (const auto exit = serve_requests()) return *exit;
        if (!deliver_pending()) break;
        if (core_->activity != cpu::Activity::Running) return cpu::Halted{};
        if (const auto stop = stop_before(*core_)) return *stop;
        if (!execute()) break;
        if (const auto stop = stop_after(*core_)) return *stop;
    }
    return cpu::ShutdownRequest{cpu::ShutdownCause::TripleFault, describe_crash(*core_)};
}

/// false: triple fault.
bool InterpVcpu::execute() {
    Core& c = *core_;
    if (run_alone_ || stepped(c) || unusual(c)) {
        run_alone_ = false;
        return step(c);
    }
    const MaybeFault fault = run_blocks(c, &run_alone_);
    return !fault || deliver_fault(c, *fault);
}

std::optional<cpu::Exit> InterpVcpu::serve_requests() {
    Core& c = *core_;
    const uint32_t r = c.requests.load();
    if (r == 0) return {};
    if (r & Core::kReqFailed) return cpu::ShutdownRequest{cpu::ShutdownCause::EngineFailure, c.failure};
    if (r & Core::kReqStop) shared_->answer(c);
    if (r & Core::kReqStale) drop_stale_code();
    if (take(Core::kReqFlush)) {
        c.tlb_flush_all();
        c.blocks->drop_all();
    }
    if (take(Core::kReqMakeRoom) && c.tier) c.tier->make_room(*c.blocks);
    take(Core::kReqDebug);
    if (take(bit(cpu::Signal::Init))) init();
    if (take(bit(cpu::Signal::Sipi))) start_up();
    if (take(bit(cpu::Signal::Nmi))) c.nmi_waiting = true;
    if (take(bit(cpu::Signal::Interrupt))) c.interrupt_waiting = true;
    if (take(bit(cpu::Signal::Kick))) return cpu::Exit{cpu::Kicked{}};
    return {};
}

void InterpVcpu::drop_stale_code() {
    const Shared::Stale stale = shared_->take_stale(*core_);
    if (stale.all) return core_->blocks->drop_all();
    core_->blocks->drop_pages(stale.pages);
}

/// SDM vol. 3, 8.4.2 and 10.4.7.3: the boot processor starts again, the others wait for a SIPI.
void InterpVcpu::init() {
    cpu::CpuState state = export_state(*core_);
    cpu::apply_init(state);
    cpu::LocalApic* apic = core_->wiring.apic;
    if (!apic || apic->is_bsp()) state.activity = cpu::Activity::Running;
    if (apic) apic->init_reset();
    (void)import_state(*core_, state);  // a reset state is valid
    core_->nmi_waiting = core_->interrupt_waiting = false;
    pending_ = {};
}

void InterpVcpu::start_up() {
    if (core_->activity != cpu::Activity::WaitForSipi || !core_->wiring.apic) return;
    cpu::CpuState state = export_state(*core_);
    cpu::apply_sipi(state, core_->wiring.apic->sipi_vector());
    (void)import_state(*core_, state);
}

/// Events before the next instruction, by priority (SDM vol. 3, table 6-2). false: triple fault.
bool InterpVcpu::deliver_pending() {
    Core& c = *core_;
    if (c.activity == cpu::Activity::WaitForSipi || c.sti_shadow || c.mov_ss_shadow) return true;
    if (pending_.kind != cpu::PendingEvent::Kind::None) {
        const cpu::PendingEvent e = std::exchange(pending_, {});
        using Kind = cpu::PendingEvent::Kind;
        const auto kind = e.kind == Kind::ExternalInterrupt ? Core::EventKind::External
                          : e.kind == Kind::Exception       ? Core::EventKind::Fault
                                                            : Core::EventKind::SoftwareInt;
        c.activity = cpu::Activity::Running;
        return c.deliver(kind, e.vector, e.error_code.has_value(), e.error_code.value_or(0));
    }
    if (stepped(c) && c.activity == cpu::Activity::Running) return true;  // the debugger steps the code that it sees
    if (c.nmi_waiting && !c.nmi_blocked) return deliver_nmi();
    if (c.interrupt_waiting && c.sysflags & cpu::rflags::IF) return deliver_interrupt();
    return true;
}

bool InterpVcpu::deliver_nmi() {
    core_->nmi_waiting = false;
    core_->activity = cpu::Activity::Running;
    return core_->deliver(Core::EventKind::Nmi, 2, false, 0);
}

bool InterpVcpu::interrupt_pending() const {
    const auto& w = core_->wiring;
    if (w.apic) return w.apic->interrupt_pending();
    return w.pic && w.pic->pending();
}

std::optional<uint8_t> InterpVcpu::acknowledge() {
    const auto& w = core_->wiring;
    if (w.apic) return w.apic->acknowledge();
    return w.pic ? w.pic->acknowledge() : std::nullopt;
}

/// The APIC signals again when a change of its state makes another interrupt deliverable.
bool InterpVcpu::deliver_interrupt() {
    Core& c = *core_;
    fpu_leave(*c.fpu);
    const auto vector = interrupt_pending() ? acknowledge() : std::nullopt;
    c.interrupt_waiting = interrupt_pending();
    if (!vector) return true;
    c.activity = cpu::Activity::Running;
    return c.deliver(Core::EventKind::External, *vector, false, 0);
}

void InterpVcpu::park() {
    const Spending spending(core_->time, Doing::Idle);
    cpu_interp::park(core_->requests, core_->wiring.apic);
}

Result<> InterpVcpu::set_state(const cpu::CpuState& state) {
    YADO_TRY(import_state(*core_, state));
    pending_ = state.pending.kind == cpu::PendingEvent::Kind::Nmi ? cpu::PendingEvent{} : state.pending;
    run_alone_ = false;
    return {};
}

Result<> InterpVcpu::set_debug(const cpu::DebugControl& control) {
    arm(*core_, control);
    return {};
}

cpu::Stats InterpVcpu::stats() const {
    cpu::Stats all;
    core_->counters.append_to(all);
    if (core_->tier) core_->tier->count(all);
    if (core_->time) all.push_back(core_->time->read());
    return all;
}

Result<> InterpVcpu::add_tier(const TierFactory& make) {
    core_->tier = YADO_TRY(make(*core_));
    return {};
}

}  // namespace

Result<std::unique_ptr<cpu::Vcpu>> make_vcpu(const cpu::VcpuWiring& wiring, std::shared_ptr<Shared> shared, const TierFactory& make_tier) {
    try {
        auto vcpu = std::make_unique<InterpVcpu>(wiring, std::move(shared));
        if (make_tier) YADO_TRY(vcpu->add_tier(make_tier));
        return vcpu;
    } catch (const std::bad_alloc&) {
        return fail(ErrorKind::Failed, "vCPU {}: not enough memory for its code cache", wiring.index);
    }
}

cpu::FeatureSet supported_features() {
    using enum cpu::Feature;
    cpu::FeatureSet set = fpu_supported_features() | integer_host_features();
    for (const cpu::Feature f : {CX16, MOVBE, POPCNT, RDRAND, FSGSBASE, SMEP, ERMS, INVPCID, RDSEED, SMAP, UMIP, FSRM, PCID,
                                 X2APIC, TSC_DEADLINE, PDPE1GB, RDTSCP, LAHF_LM, PREFETCHW, NX, SYSCALL, CLFLUSHOPT, RDPID, FDP_EXCPTN_ONLY,
                                 ZERO_FCS_FDS})
        set |= uint64_t{1} << static_cast<unsigned>(f);
    return set;
}

// --- Stepper ----------------------------------------------------------------------------------------------------------

struct Stepper::Impl {
    std::shared_ptr<Shared> shared;
    Core core;
    Impl(const cpu::VcpuWiring& wiring, std::shared_ptr<Shared> s) : shared(std::move(s)), core(wiring, *shared) {}

    std::optional<Fault> run_raw(cpu::CpuState& state, const std::function<MaybeFault(Core&)>& run);

    /// What other vCPUs or devices asked for while this one was away.
    void catch_up() {
        if (core.requests.load() & Core::kReqStop) shared->answer(core);
        const Shared::Stale stale = shared->take_stale(core);
        core.blocks->drop_pages(stale.pages);
        if (stale.all) core.blocks->drop_all();
    }
};

Stepper::Stepper(const cpu::VcpuWiring& wiring, std::shared_ptr<Shared> shared)
    : impl_(std::make_unique<Impl>(wiring, std::move(shared))) {}
Stepper::~Stepper() = default;

Result<> Stepper::step(cpu::CpuState& state) {
    Core& c = impl_->core;
    const Presence presence(c);
    impl_->catch_up();
    YADO_TRY(import_state(c, state, ParavirtualClock::Keep));
    c.nmi_waiting = false;
    do {
        if (!cpu_interp::step(c)) return fail(ErrorKind::Failed, "{}", describe_crash(c));
    } while (c.rep_unfinished && !(c.sysflags & cpu::rflags::TF));
    const auto pending = state.pending;
    const auto lapic = state.lapic;
    state = export_state(c);
    state.pending = pending;
    state.lapic = lapic;
    return {};
}

Result<> Stepper::add_tier(const TierFactory& make_tier) {
    impl_->core.tier = YADO_TRY(make_tier(impl_->core));
    return {};
}

std::optional<Stepper::Fault> Stepper::step_raw(cpu::CpuState& state) { return impl_->run_raw(state, run_single); }
std::optional<Stepper::Fault> Stepper::block_raw(cpu::CpuState& state, std::span<const Known> known) {
    return impl_->run_raw(state, [&](Core& c) {
        for (const Known& k : known) {
            uint8_t byte;
            if (k.written) c.probe_write(nullptr, k.linear, 1);
            else c.load_slow(nullptr, k.linear, &byte, 1);
        }
        return run_block(c);
    });
}

std::optional<Stepper::Fault> Stepper::Impl::run_raw(cpu::CpuState& state, const std::function<MaybeFault(Core&)>& run) {
    Core& c = core;
    const Presence presence(c);
    catch_up();
    if (!import_state(c, state, ParavirtualClock::Keep)) return Fault{static_cast<uint8_t>(Vec::GP), 0, state.cr2};
    MaybeFault fault;
    do {
        fault = run(c);
    } while (!fault && c.rep_unfinished);
    state = export_state(c);
    if (!fault) return std::nullopt;
    return Fault{static_cast<uint8_t>(fault->vector), fault->has_error ? std::optional(fault->error) : std::nullopt, c.cr2};
}

}  // namespace yado::cpu_interp
