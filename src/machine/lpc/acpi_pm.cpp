#include "machine/lpc/acpi_pm.h"

#include "base/bytes.h"
#include "machine/lpc/lpc.pb.h"
#include "machine/power.h"

namespace yado::machine {

namespace {

uint8_t byte_of(uint64_t value, unsigned index) { return static_cast<uint8_t>(value >> (8 * index)); }

template <typename T>
void put_byte(T& value, unsigned index, uint8_t byte) {
    value = static_cast<T>((value & ~(T(0xff) << (8 * index))) | T(byte) << (8 * index));
}

/// A byte of a write-one-to-clear register.
template <typename T>
void clear_byte(T& value, unsigned index, uint8_t byte) {
    value = static_cast<T>(value & ~(T(byte) << (8 * index)));
}

}  // namespace

AcpiPm::AcpiPm(Wiring wiring) : wiring_(std::move(wiring)), pm_timer_(wiring_.timer_width) {
    timer_ = wiring_.timers.make_timer([this] { on_timer(); });
    reset();
}

void AcpiPm::reset() {
    auto s = state_.lock();
    *s = State{};
    s->control.set(Pm1Control::SCI_EN, true);  // in ACPI mode from the start; port B2h can leave it
    s->carries = pm_timer_.carries(wiring_.timers.clock().now());
    update(*s);
}

/// TMR_STS (ACPI 6.5, 4.8.3.3): the timer's top bit changed since the last look.
void AcpiPm::catch_up(State& s) {
    const uint64_t carries = pm_timer_.carries(wiring_.timers.clock().now());
    if (carries != s.carries) s.status |= kPm1Timer;
    s.carries = carries;
}

void AcpiPm::update(State& s) {
    const bool event = (s.status & s.enable & kPm1EnableBits) || (s.gpe_status & s.gpe_enable);
    wiring_.sci.set(event && s.control.get(Pm1Control::SCI_EN));
    if (s.enable & ~s.status & kPm1Timer)
        timer_->arm(pm_timer_.next_carry(wiring_.timers.clock().now()));
    else
        timer_->cancel();
}

void AcpiPm::on_timer() {
    auto s = state_.lock();
    catch_up(*s);
    update(*s);
}

void AcpiPm::press_power_button() {
    auto s = state_.lock();
    s->status |= kPm1PowerButton;
    update(*s);
}

void AcpiPm::raise_gpe(unsigned n) {
    if (n >= 64) return;
    auto s = state_.lock();
    s->gpe_status |= 1ull << n;
    update(*s);
}

uint64_t AcpiPm::Ports::read(uint64_t offset, unsigned size) {
    if (offset < kPmTimer || offset >= kPmTimer + 4) return pm_.byte_ports_.read(offset, size);
    const uint64_t value = pm_.pm_timer_.value(pm_.wiring_.timers.clock().now());
    return value >> (8 * (offset - kPmTimer)) & mask_of_size(size);
}

uint8_t AcpiPm::read(unsigned offset) {
    auto s = state_.lock();
    if (offset < kPm1Enable) {
        catch_up(*s);
        return byte_of(s->status, offset);
    }
    if (offset < kPm1Control) return byte_of(s->enable, offset - kPm1Enable);
    if (offset < kPm1Control + 2) return byte_of(s->control.raw, offset - kPm1Control);
    if (offset >= kGpe0Status && offset < kGpe0Enable) return byte_of(s->gpe_status, offset - kGpe0Status);
    if (offset >= kGpe0Enable && offset < kSmiEnable) return byte_of(s->gpe_enable, offset - kGpe0Enable);
    if (offset >= kSmiEnable && offset < kSmiEnable + 4) return byte_of(s->smi_enable, offset - kSmiEnable);
    return 0;
}

/// True if the write powers the machine off.
bool AcpiPm::write_control(State& s, unsigned index, uint8_t value) {
    Pm1Control next = s.control;
    put_byte(next.raw, index, value);
    const bool sleep = next.get(Pm1Control::SLP_EN);
    next.raw &= kPm1ControlWritable;
    s.control = next;
    return sleep && next.get(Pm1Control::SLP_TYP) == wiring_.sleep_type_s5;
}

void AcpiPm::write(unsigned offset, uint8_t value) {
    bool power_off = false;
    {
        auto s = state_.lock();
        if (offset < kPm1Enable) {
            catch_up(*s);
            clear_byte(s->status, offset, value);
        } else if (offset < kPm1Control) {
            catch_up(*s);
            put_byte(s->enable, offset - kPm1Enable, value);
            s->enable &= kPm1EnableBits;
        } else if (offset < kPm1Control + 2) {
            power_off = write_control(*s, offset - kPm1Control, value);
        } else if (offset >= kGpe0Status && offset < kGpe0Enable) {
            clear_byte(s->gpe_status, offset - kGpe0Status, value);
        } else if (offset >= kGpe0Enable && offset < kSmiEnable) {
            put_byte(s->gpe_enable, offset - kGpe0Enable, value);
        } else if (offset >= kSmiEnable && offset < kSmiEnable + 4) {
            put_byte(s->smi_enable, offset - kSmiEnable, value);  // kept; there is no SMM
        }
        update(*s);
    }
    if (power_off) notify(wiring_.power_off);
}

uint8_t AcpiPm::read_smi(unsigned offset) {
    auto s = state_.lock();
    return offset & 1 ? s->apm_status : 0;
}

void AcpiPm::write_smi(unsigned offset, uint8_t value) {
    auto s = state_.lock();
    if (offset & 1)
        s->apm_status = value;
    else if (value == kAcpiEnable || value == kAcpiDisable)
        s->control.set(Pm1Control::SCI_EN, value == kAcpiEnable);
    update(*s);
}

Result<state::Record> AcpiPm::save() const {
    auto s = state_.lock();
    pb::AcpiPm m;
    m.set_pm1_status(s->status);
    m.set_pm1_enable(s->enable);
    m.set_pm1_control(s->control.raw);
    m.set_gpe0_status(s->gpe_status);
    m.set_gpe0_enable(s->gpe_enable);
    m.set_smi_enable(s->smi_enable);
    m.set_carries(s->carries);
    m.set_apm_status(s->apm_status);
    return state::make_record(*this, m);
}

Result<> AcpiPm::load(const state::Record& record) {
    pb::AcpiPm m;
    YADO_TRY(state::parse_record(record, m));
    const bool unknown = (m.pm1_status() & ~kPm1StatusBits) || (m.pm1_enable() & ~kPm1EnableBits) ||
                         (m.pm1_control() & ~kPm1ControlWritable) || m.apm_status() > 0xff;
    if (unknown) return fail(ErrorKind::Corrupt, "saved state of {}: a register is out of range", record.name);
    auto s = state_.lock();
    s->status = static_cast<uint16_t>(m.pm1_status());
    s->enable = static_cast<uint16_t>(m.pm1_enable());
    s->control = Pm1Control(static_cast<uint16_t>(m.pm1_control()));
    s->gpe_status = m.gpe0_status();
    s->gpe_enable = m.gpe0_enable();
    s->smi_enable = m.smi_enable();
    s->carries = m.carries();
    s->apm_status = static_cast<uint8_t>(m.apm_status());
    update(*s);
    return {};
}

}  // namespace yado::machine
