#include "machine/irq/lapic.h"

#include <x86intrin.h>

#include <bit>

#include "machine/irq/irq.pb.h"

namespace yado::machine {

using namespace lapic_reg;

uint64_t read_host_tsc() { return __rdtsc(); }

namespace {

// IRR, ISR and TMR: 256 bits in eight registers (11.8.4).
void set_vector(std::array<uint32_t, 64>& regs, unsigned first, uint8_t v) { regs[first + v / 32] |= 1u << v % 32; }
void clear_vector(std::array<uint32_t, 64>& regs, unsigned first, uint8_t v) {
    regs[first + v / 32] &= ~(1u << v % 32);
}
bool has_vector(const std::array<uint32_t, 64>& regs, unsigned first, uint8_t v) {
    return regs[first + v / 32] >> v % 32 & 1;
}

/// The highest vector set; 0 for none (vectors below 16 never are).
uint8_t highest_vector(const std::array<uint32_t, 64>& regs, unsigned first) {
    for (unsigned word = 8; word-- > 0;)
        if (const uint32_t bits = regs[first + word])
            return static_cast<uint8_t>(word * 32 + 31 - std::countl_zero(bits));
    return 0;
}

// address_: bits 31:24 LDR's xAPIC part, 1 flat model, 0 clear; bits 33:32 Mode.
constexpr uint64_t kFlat = 2;

}  // namespace

Lapic::Lapic(Wiring wiring) : wiring_(std::move(wiring)) {
    timer_ = wiring_.timers.make_timer([this] { on_timer(); });
    reset();
    wiring_.bus.add(*this);
}

Lapic::~Lapic() { wiring_.bus.remove(*this); }

Lapic::Mode Lapic::mode(const State& s) {
    if (!s.base.get(ApicBase::EN)) return Mode::Disabled;
    return s.base.get(ApicBase::EXTD) ? Mode::X2Apic : Mode::XApic;
}

void Lapic::signal(cpu::Signal signal) {
    if (cpu::SignalSink* sink = sink_.load()) sink->signal(signal);
}

void Lapic::perform(const Outgoing& out) {
    if (out.ipi) wiring_.bus.send_ipi(*this, out.shorthand, *out.ipi);
    if (out.eoi) wiring_.bus.broadcast_eoi(*out.eoi);
}

// ---- destinations --------------------------------------------------------------------------------------------------

void Lapic::publish_address(const State& s) {
    base_.store(s.base.raw, std::memory_order_release);
    const uint64_t ldr = s.regs[LDR] & 0xff000000, flat = (s.regs[DFR] >> 28) == 0xf ? kFlat : 0;
    address_.store(static_cast<uint64_t>(mode(s)) << 32 | ldr | flat, std::memory_order_release);
}

std::optional<GuestPhysAddr> Lapic::mmio_page() const {
    const ApicBase base(base_.load(std::memory_order_acquire));
    if (!base.get(ApicBase::EN) || base.get(ApicBase::EXTD)) return std::nullopt;
    return GuestPhysAddr(page_down(base.raw));
}

bool Lapic::matches(uint32_t destination, DestinationMode destination_mode) const {
    const uint64_t address = address_.load(std::memory_order_acquire);
    const auto mode = static_cast<Mode>(address >> 32);
    if (mode == Mode::Disabled) return false;
    if (destination == ApicMessage::kBroadcast) return true;
    const uint32_t id = wiring_.apic_id;
    if (destination_mode == DestinationMode::Physical)
        // The whole id works in xAPIC mode too: processors above 254 start there and are woken by it.
        return destination == id || (mode == Mode::XApic && destination == (id & 0xff));
    if (mode == Mode::X2Apic)  // 11.12.10.2: cluster in bits 31:16, a bit a processor
        return destination >> 16 == id >> 4 && (destination >> (id & 15) & 1);
    const auto ldr = static_cast<uint32_t>(address >> 24 & 0xff);
    if (address & kFlat) return ldr & destination & 0xff;
    const uint32_t cluster = destination >> 4 & 0xf;  // 11.6.2.2
    return (cluster == 0xf || cluster == ldr >> 4) && (ldr & destination & 0xf);
}

// ---- acceptance ----------------------------------------------------------------------------------------------------

/// Recomputes PPR (11.8.3.1) and what the vCPU may take; signals it if there is anything.
void Lapic::update(State& s) {
    const auto task = static_cast<uint8_t>(s.regs[TPR]);
    const auto service = static_cast<uint8_t>(highest_vector(s.regs, ISR) & 0xf0);
    const uint8_t priority = (task & 0xf0) >= service ? task : service;
    s.regs[PPR] = priority;
    const bool hardware = mode(s) != Mode::Disabled;
    const bool deliverable = hardware && (highest_vector(s.regs, IRR) & 0xf0) > (priority & 0xf0);
    const Lvt lint0(s.regs[LVT_LINT0]);
    // While the APIC is disabled LINT0 is the processor's INTR pin (11.4.3).
    const bool open = !hardware || (!lint0.get(Lvt::MASK) && lint0.get(Lvt::DELIVERY_MODE) == DeliveryMode::ExtInt);
    priority_.store(priority, std::memory_order_relaxed);
    task_priority_.store(task, std::memory_order_relaxed);
    enabled_.store(hardware && Svr(s.regs[SVR]).get(Svr::ENABLED), std::memory_order_relaxed);
    external_open_.store(open, std::memory_order_release);
    deliverable_.store(deliverable, std::memory_order_release);
    if (deliverable || (open && s.lint[0])) signal(cpu::Signal::Interrupt);
}

void Lapic::accept_vector(State& s, uint8_t vector, TriggerMode trigger) {
    if (vector < 16) return raise_error(s, kEsrReceiveIllegalVector);  // 11.5.2
    if (mode(s) == Mode::Disabled || !Svr(s.regs[SVR]).get(Svr::ENABLED)) return;
    set_vector(s.regs, IRR, vector);
    if (trigger == TriggerMode::Level)
        set_vector(s.regs, TMR, vector);
    else
        clear_vector(s.regs, TMR, vector);
    update(s);
}

void Lapic::raise_error(State& s, uint32_t bit) {
    if (s.pending_errors & bit) return;  // also ends the recursion of an error entry with an illegal vector
    s.pending_errors |= bit;
    local_interrupt(s, LVT_ERROR);
}

/// Something happened that a local vector table entry turns into an interrupt.
void Lapic::local_interrupt(State& s, unsigned reg) {
    const Lvt lvt(s.regs[reg]);
    if (lvt.get(Lvt::MASK) || mode(s) == Mode::Disabled) return;
    const bool fixed_only = reg == LVT_TIMER || reg == LVT_ERROR;
    switch (fixed_only ? DeliveryMode::Fixed : lvt.get(Lvt::DELIVERY_MODE)) {
        case DeliveryMode::Fixed: return accept_vector(s, lvt.get(Lvt::VECTOR), TriggerMode::Edge);
        case DeliveryMode::Nmi: return signal(cpu::Signal::Nmi);
        case DeliveryMode::Init: return signal(cpu::Signal::Init);
        case DeliveryMode::ExtInt:          // taken by acknowledge()
        case DeliveryMode::Smi:             // there is no SMM
        case DeliveryMode::LowestPriority:  // the rest is reserved in an LVT
        case DeliveryMode::StartUp:
        case DeliveryMode::Reserved: return;
    }
}

void Lapic::accept(const ApicMessage& m) {
    auto s = state_.lock();
    switch (m.delivery) {
        case DeliveryMode::Fixed:
        case DeliveryMode::LowestPriority: return accept_vector(*s, m.vector, m.trigger);
        case DeliveryMode::Nmi: return signal(cpu::Signal::Nmi);
        case DeliveryMode::Init: return signal(cpu::Signal::Init);
        case DeliveryMode::StartUp: sipi_vector_.store(m.vector); return signal(cpu::Signal::Sipi);
        case DeliveryMode::ExtInt:
            external_message_.store(true, std::memory_order_release);
            return signal(cpu::Signal::Interrupt);
        case DeliveryMode::Smi:
        case DeliveryMode::Reserved: return;
    }
}

void Lapic::set_lint(unsigned pin, bool asserted) {
    auto s = state_.lock();
    const bool rises = asserted && !s->lint[pin];
    s->lint[pin] = asserted;
    const Lvt lvt(s->regs[pin == 0 ? LVT_LINT0 : LVT_LINT1]);
    if (mode(*s) == Mode::Disabled) {
        if (rises) signal(pin == 0 ? cpu::Signal::Interrupt : cpu::Signal::Nmi);
        return;
    }
    if (lvt.get(Lvt::DELIVERY_MODE) == DeliveryMode::ExtInt) return update(*s);
    if (lvt.get(Lvt::DELIVERY_MODE) == DeliveryMode::Fixed && lvt.get(Lvt::TRIGGER_MODE) == TriggerMode::Level)
        return level_pins(*s, std::nullopt);
    if (rises) local_interrupt(*s, pin == 0 ? LVT_LINT0 : LVT_LINT1);
}

/// Level-triggered fixed LINT pins fire once, and again after the EOI of their vector (11.5.1, remote IRR).
void Lapic::level_pins(State& s, std::optional<uint8_t> ended) {
    for (const unsigned pin : {0u, 1u}) {
        Lvt lvt(s.regs[LVT_LINT0 + pin]);
        if (ended == lvt.get(Lvt::VECTOR)) lvt.set(Lvt::REMOTE_IRR, false);
        const bool level =
            lvt.get(Lvt::TRIGGER_MODE) == TriggerMode::Level && lvt.get(Lvt::DELIVERY_MODE) == DeliveryMode::Fixed;
        const bool fires = level && s.lint[pin] && !lvt.get(Lvt::MASK) && !lvt.get(Lvt::REMOTE_IRR);
        if (fires) lvt.set(Lvt::REMOTE_IRR, true);
        s.regs[LVT_LINT0 + pin] = lvt.raw;
        if (fires) accept_vector(s, lvt.get(Lvt::VECTOR), TriggerMode::Level);
    }
}

bool Lapic::interrupt_pending() const {
    if (deliverable_.load(std::memory_order_acquire)) return true;
    const bool external =
        external_open_.load(std::memory_order_acquire) || external_message_.load(std::memory_order_acquire);
    return external && wiring_.pic && wiring_.pic->pending();
}

std::optional<uint8_t> Lapic::acknowledge() {
    {
        auto s = state_.lock();
        const uint8_t vector = highest_vector(s->regs, IRR);
        if (mode(*s) != Mode::Disabled && (vector & 0xf0) > (s->regs[PPR] & 0xf0)) {
            clear_vector(s->regs, IRR, vector);
            set_vector(s->regs, ISR, vector);
            update(*s);
            return vector;
        }
    }
    const bool by_message = external_message_.exchange(false, std::memory_order_acq_rel);
    if (!wiring_.pic || !(by_message || external_open_.load(std::memory_order_acquire))) return std::nullopt;
    return wiring_.pic->acknowledge();  // the PIC's lock ranks below ours: not under it
}

void Lapic::end_of_interrupt(State& s, Outgoing& out) {
    const uint8_t vector = highest_vector(s.regs, ISR);
    if (vector == 0) return;
    clear_vector(s.regs, ISR, vector);
    level_pins(s, vector);
    update(s);
    if (has_vector(s.regs, TMR, vector) && !Svr(s.regs[SVR]).get(Svr::SUPPRESS_EOI_BROADCAST)) out.eoi = vector;
}

uint8_t Lapic::cr8() const { return static_cast<uint8_t>(task_priority_.load(std::memory_order_relaxed) >> 4); }

void Lapic::set_cr8(uint8_t priority) {
    auto s = state_.lock();
    s->regs[TPR] = static_cast<uint32_t>(priority & 0xf) << 4;
    update(*s);
}

// ---- lifecycle -----------------------------------------------------------------------------------------------------

/// Table 11-1 and 11.4.7.1: all but the ID and IA32_APIC_BASE.
void Lapic::reset_registers(State& s) {
    s.regs.fill(0);
    s.regs[VERSION] = kLapicVersion;
    s.regs[DFR] = 0xffffffff;
    s.regs[SVR] = 0xff;
    for (unsigned reg = LVT_TIMER; reg <= LVT_ERROR; ++reg) s.regs[reg] = Lvt::MASK.mask;
    // Firmware leaves the boot processor in virtual wire mode (MultiProcessor Specification 3.6.2.2); kernels booted
    // without firmware expect the same.
    if (is_bsp()) s.regs[LVT_LINT0] = static_cast<uint32_t>(DeliveryMode::ExtInt) << 8;
    s.pending_errors = 0;
    s.tsc_deadline = 0;
    external_message_.store(false);
    stop_timer(s);
    publish_address(s);
    update(s);
}

void Lapic::reset() {
    auto s = state_.lock();
    s->base = ApicBase(0xfee00000);
    s->base.set(ApicBase::EN, true);
    s->base.set(ApicBase::BSP, is_bsp());
    sipi_vector_.store(0);
    reset_registers(*s);
}

void Lapic::init_reset() {
    auto s = state_.lock();
    reset_registers(*s);
}

void Lapic::set_tsc_offset(uint64_t offset) {
    auto s = state_.lock();
    s->tsc_offset = offset;
    if (timer_mode(*s) == LapicTimerMode::TscDeadline) arm_tsc_deadline(*s);
}

void Lapic::resume() {
    auto s = state_.lock();
    rearm(*s);
    update(*s);
}

cpu::LapicState Lapic::extract(const State& s) const {
    cpu::LapicState out;
    out.regs = s.regs;
    out.regs[ID] = id_register(s);
    out.regs[CURRENT_COUNT] = current_count(s);
    out.apic_base = s.base.raw;
    out.tsc_deadline = s.tsc_deadline;
    out.sipi_vector = sipi_vector_.load();
    return out;
}

cpu::LapicState Lapic::lapic_state() const {
    auto s = state_.lock();
    return extract(*s);
}

Result<> Lapic::check(const cpu::LapicState& in) const {
    bool ok = valid_base(ApicBase(in.apic_base)) && in.regs[TPR] <= 0xff && !(in.regs[SVR] & ~kSvrWritable);
    ok = ok && !(in.regs[ICR_LOW] & ~kIcrWritable) && !(in.regs[DIVIDE] & ~0xbu);
    for (unsigned reg = LVT_TIMER; reg <= LVT_ERROR; ++reg)
        ok = ok && !(in.regs[reg] & ~(lvt_writable(reg) | kLvtStatus));
    for (const unsigned set : {ISR, IRR}) ok = ok && !(in.regs[set] & 0xffff);  // no vectors below 16
    if (!ok) return fail(ErrorKind::Corrupt, "local APIC {}: saved registers are out of range", wiring_.apic_id);
    State probe;
    probe.base = ApicBase(in.apic_base);
    if (mode(probe) != Mode::Disabled && in.regs[ID] != id_register(probe))
        return fail(ErrorKind::Corrupt, "local APIC {}: saved state is of another APIC ({:#x})", wiring_.apic_id,
                    in.regs[ID]);
    return {};
}

void Lapic::adopt(State& s, const cpu::LapicState& in) {
    stop_timer(s);
    s.regs = in.regs;
    s.regs[VERSION] = kLapicVersion;
    s.base = ApicBase(in.apic_base);
    s.tsc_deadline = in.tsc_deadline;
    sipi_vector_.store(in.sipi_vector);
    if (in.regs[CURRENT_COUNT]) start_count(s, in.regs[CURRENT_COUNT]);
    rearm(s);
    publish_address(s);
    update(s);
}

Result<> Lapic::set_lapic_state(const cpu::LapicState& in) {
    YADO_TRY(check(in));
    auto s = state_.lock();
    adopt(*s, in);
    return {};
}

Result<state::Record> Lapic::save() const {
    auto s = state_.lock();
    const cpu::LapicState out = extract(*s);
    pb::Lapic m;
    m.mutable_registers()->Add(out.regs.begin(), out.regs.end());
    m.set_apic_base(out.apic_base);
    m.set_tsc_deadline(out.tsc_deadline);
    m.set_sipi_vector(out.sipi_vector);
    m.set_pending_errors(s->pending_errors);
    m.set_lint0(s->lint[0]);
    m.set_lint1(s->lint[1]);
    m.set_external_message(external_message_.load());
    return state::make_record(*this, m);
}

Result<> Lapic::load(const state::Record& record) {
    pb::Lapic m;
    YADO_TRY(state::parse_record(record, m));
    cpu::LapicState in;
    if (m.registers_size() != static_cast<int>(in.regs.size()) || m.sipi_vector() > 0xff || m.pending_errors() > 0xff)
        return fail(ErrorKind::Corrupt, "saved state of {}: a register is out of range", record.name);
    std::copy(m.registers().begin(), m.registers().end(), in.regs.begin());
    in.apic_base = m.apic_base();
    in.tsc_deadline = m.tsc_deadline();
    in.sipi_vector = static_cast<uint8_t>(m.sipi_vector());
    YADO_TRY(check(in));
    auto s = state_.lock();
    s->pending_errors = m.pending_errors();
    s->lint[0] = m.lint0();
    s->lint[1] = m.lint1();
    external_message_.store(m.external_message());
    adopt(*s, in);
    return {};
}

}  // namespace yado::machine
