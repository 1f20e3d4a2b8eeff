#include "machine/timer/hpet.h"

#include "base/bytes.h"
#include "machine/periodic.h"
#include "machine/timer/timer.pb.h"

namespace yado::machine {

namespace {

bool periodic(HpetTimerConfig config, uint64_t period) { return config.get(HpetTimerConfig::TYPE) && period; }

uint64_t width_mask(HpetTimerConfig config) { return config.get(HpetTimerConfig::MODE32) ? 0xffffffff : ~0ull; }

constexpr uint64_t capabilities() {
    HpetCapabilities c;
    c.set(HpetCapabilities::REV_ID, 1);
    c.set(HpetCapabilities::NUM_TIM_CAP, kHpetTimers - 1);
    c.set(HpetCapabilities::COUNT_SIZE_CAP, true);
    c.set(HpetCapabilities::LEG_RT_CAP, true);
    c.set(HpetCapabilities::VENDOR_ID, 0x8086);
    c.set(HpetCapabilities::COUNTER_CLK_PERIOD, kHpetPeriodFs);
    return c.raw;
}

}  // namespace

Hpet::Hpet(Wiring wiring) : wiring_(wiring) {
    for (unsigned n = 0; n < kHpetTimers; ++n) timers_[n] = wiring_.timers.make_timer([this, n] { on_timer(n); });
    reset();
}

void Hpet::reset() {
    auto s = state_.lock();
    for (Channel& channel : s->channels) lower(channel);
    for (auto& timer : timers_) timer->cancel();
    *s = State{};
    wiring_.irq0.select(LegacyRoute::Source::Legacy);
    wiring_.irq8.select(LegacyRoute::Source::Legacy);
}

uint64_t Hpet::counter(const State& s) const {
    if (!s.config.get(HpetConfig::ENABLE_CNF)) return s.halted_counter;
    return s.halted_counter + ticks_at(wiring_.timers.clock().now() - s.started, kHpetHz);
}

/// Where timer n interrupts (2.3.5, LEG_RT_CNF; 2.3.8, INT_ROUTE_CNF); nullptr: nowhere.
bus::IrqLine* Hpet::route(const State& s, unsigned n) {
    if (s.config.get(HpetConfig::LEG_RT_CNF) && n == 0) return &wiring_.irq0.hpet_input();
    if (s.config.get(HpetConfig::LEG_RT_CNF) && n == 1) return &wiring_.irq8.hpet_input();
    const unsigned pin = s.channels[n].config.get(HpetTimerConfig::INT_ROUTE);
    return pin < wiring_.pins.size() && (kHpetRoutes >> pin & 1) ? wiring_.pins[pin] : nullptr;
}

// ---- comparators ---------------------------------------------------------------------------------------------------

/// Arms timer n for its next match. passed_now: the comparator's present value has just matched, wait a whole round.
void Hpet::schedule(State& s, unsigned n, bool passed_now) {
    Channel& c = s.channels[n];
    c.armed = false;
    if (!s.config.get(HpetConfig::ENABLE_CNF)) return timers_[n]->cancel();
    const uint64_t mask = width_mask(c.config);
    uint64_t left = (c.comparator - counter(s)) & mask;
    if (left == 0 && passed_now) left = mask;
    // A comparator far behind the 64-bit counter is not reached again: a year off is never.
    constexpr uint64_t kNever = kHpetHz * 86'400 * 365;
    if (left > kNever) return timers_[n]->cancel();
    c.fires = wiring_.timers.clock().now() + time_of_tick(left, kHpetHz);
    c.armed = true;
    if (silent(c)) return timers_[n]->cancel();
    timers_[n]->arm(c.fires);
}

void Hpet::schedule_all(State& s) {
    for (unsigned n = 0; n < kHpetTimers; ++n) schedule(s, n);
}

/// Nobody can tell when it matches: it does not interrupt, nor set a status bit. A kernel that is done with a periodic timer
/// leaves it so, and the host is not to be woken for it: its comparator is worked out when somebody looks.
bool Hpet::silent(const Channel& c) { return !c.config.get(HpetTimerConfig::INT_ENB) && !c.config.get(HpetTimerConfig::INT_TYPE); }

bool Hpet::due(const Channel& c) const { return c.armed && wiring_.timers.clock().now() >= c.fires; }

/// A periodic comparator moves on by its period (2.3.9.2.2), past what the host was late for.
uint64_t Hpet::next_match(const State& s, const Channel& c) const {
    const uint64_t mask = width_mask(c.config);
    const uint64_t late = (counter(s) - c.comparator) & mask;
    const uint64_t shortest = ticks_at(kShortestInterval, kHpetHz);
    const uint64_t skip = late + (c.period < shortest ? shortest : 0);
    return (c.comparator + (skip / c.period + 1) * c.period) & mask;
}

/// As it reads.
uint64_t Hpet::comparator(const State& s, const Channel& c) const {
    return silent(c) && due(c) && periodic(c.config, c.period) ? next_match(s, c) : c.comparator;
}

/// Brings silent comparators up to now, before anything changes.
void Hpet::settle(State& s) {
    for (unsigned n = 0; n < kHpetTimers; ++n)
        if (silent(s.channels[n]) && due(s.channels[n])) expire(s, n);
}

void Hpet::on_timer(unsigned n) {
    auto s = state_.lock();
    if (due(s->channels[n])) expire(*s, n);
}

void Hpet::expire(State& s, unsigned n) {
    Channel& c = s.channels[n];
    c.armed = false;
    interrupt(s, n);
    const bool again = periodic(c.config, c.period);
    if (again) c.comparator = next_match(s, c);
    if (again || c.config.get(HpetTimerConfig::MODE32)) schedule(s, n, true);
}

void Hpet::interrupt(State& s, unsigned n) {
    Channel& c = s.channels[n];
    const bool level = c.config.get(HpetTimerConfig::INT_TYPE);
    if (level) s.status |= 1u << n;  // 2.3.6: set whether or not the interrupt is enabled
    bus::IrqLine* line = c.config.get(HpetTimerConfig::INT_ENB) ? route(s, n) : nullptr;
    if (!line) return;
    if (!level) return line->pulse();
    c.driven = line;
    line->set(true);
}

void Hpet::lower(Channel& c) {
    if (bus::IrqLine* line = std::exchange(c.driven, nullptr)) line->set(false);
}

// ---- registers -----------------------------------------------------------------------------------------------------

void Hpet::write_config(State& s, uint64_t value) {
    HpetConfig next;
    next.set(HpetConfig::ENABLE_CNF, HpetConfig(value).get(HpetConfig::ENABLE_CNF));
    next.set(HpetConfig::LEG_RT_CNF, HpetConfig(value).get(HpetConfig::LEG_RT_CNF));
    const uint64_t now = counter(s);
    s.halted_counter = now;
    s.started = wiring_.timers.clock().now();
    const bool legacy_changes = next.get(HpetConfig::LEG_RT_CNF) != s.config.get(HpetConfig::LEG_RT_CNF);
    s.config = next;
    schedule_all(s);
    if (!legacy_changes) return;
    for (unsigned n = 0; n < 2; ++n) lower(s.channels[n]);
    const auto source = next.get(HpetConfig::LEG_RT_CNF) ? LegacyRoute::Source::Hpet : LegacyRoute::Source::Legacy;
    wiring_.irq0.select(source);
    wiring_.irq8.select(source);
}

void Hpet::write_status(State& s, uint64_t value) {
    for (unsigned n = 0; n < kHpetTimers; ++n)
        if ((value & s.status) >> n & 1) lower(s.channels[n]);
    s.status &= ~value;
}

void Hpet::write_timer_config(State& s, unsigned n, uint64_t value) {
    Channel& c = s.channels[n];
    c.config.raw = (value & kHpetTimerWritable) | kHpetTimerFixed;
    const bool level = c.config.get(HpetTimerConfig::INT_TYPE) && c.config.get(HpetTimerConfig::INT_ENB);
    lower(c);
    if (!level) s.status &= ~(1ull << n);
    if (level && (s.status >> n & 1)) interrupt(s, n);
    if (c.config.get(HpetTimerConfig::MODE32)) {
        c.comparator &= 0xffffffff;
        c.period &= 0xffffffff;
    }
    schedule(s, n);
}

/// 2.3.9.2.2: a periodic timer's comparator is written directly only after VAL_SET; the period always.
void Hpet::write_comparator(State& s, unsigned n, uint64_t value) {
    Channel& c = s.channels[n];
    value &= width_mask(c.config);
    const bool periodic = c.config.get(HpetTimerConfig::TYPE);
    if (!periodic || c.config.get(HpetTimerConfig::VAL_SET)) c.comparator = value;
    if (periodic) c.period = value;
    c.config.set(HpetTimerConfig::VAL_SET, false);
    schedule(s, n);
}

uint64_t Hpet::read_register(const State& s, uint64_t at) const {
    switch (at) {
        case kHpetCapabilities: return capabilities();
        case kHpetConfig: return s.config.raw;
        case kHpetStatus: return s.status;
        case kHpetCounter: return counter(s);
        default: break;
    }
    const uint64_t n = (at - kHpetFirstTimer) / kHpetTimerStride;
    if (at < kHpetFirstTimer || n >= kHpetTimers) return 0;
    switch (at % kHpetTimerStride) {
        case 0x00: return s.channels[n].config.raw & ~HpetTimerConfig::VAL_SET.mask;
        case 0x08: return comparator(s, s.channels[n]);
        default: return 0;
    }
}

/// What the half of a register that is not being written holds: a periodic timer's comparator writes set the period.
uint64_t Hpet::read_for_merge(const State& s, uint64_t at) const {
    const uint64_t n = (at - kHpetFirstTimer) / kHpetTimerStride;
    const bool comparator = at >= kHpetFirstTimer && n < kHpetTimers && at % kHpetTimerStride == 0x08;
    if (!comparator || !s.channels[n].config.get(HpetTimerConfig::TYPE)) return read_register(s, at);
    return s.channels[n].config.get(HpetTimerConfig::VAL_SET) ? 0 : s.channels[n].period;
}

void Hpet::write_register(State& s, uint64_t at, uint64_t value) {
    switch (at) {
        case kHpetConfig: return write_config(s, value);
        case kHpetStatus: return write_status(s, value);
        case kHpetCounter:
            if (s.config.get(HpetConfig::ENABLE_CNF)) return;  // 2.3.7: only while halted
            s.halted_counter = value;
            return;
        default: break;
    }
    const uint64_t n = (at - kHpetFirstTimer) / kHpetTimerStride;
    if (at < kHpetFirstTimer || n >= kHpetTimers) return;
    if (at % kHpetTimerStride == 0x00) write_timer_config(s, static_cast<unsigned>(n), value);
    if (at % kHpetTimerStride == 0x08) write_comparator(s, static_cast<unsigned>(n), value);
}

uint64_t Hpet::read(uint64_t offset, unsigned size) {
    auto s = state_.lock();
    const unsigned shift = static_cast<unsigned>(offset & 7) * 8;
    return read_register(*s, offset & ~7ull) >> shift & mask_of_size(size);
}

/// 2.3.2: registers are written whole or by 32-bit halves; other sizes and misaligned accesses do nothing.
void Hpet::write(uint64_t offset, unsigned size, uint64_t value) {
    if ((size != 4 && size != 8) || offset % size) return;
    auto s = state_.lock();
    settle(*s);
    const uint64_t at = offset & ~7ull;
    if (size == 4) {
        const unsigned shift = offset & 4 ? 32 : 0;
        // The other half is as it was; a status bit written as 0 stays, so there it is zero.
        const uint64_t others = at == kHpetStatus ? 0 : read_for_merge(*s, at);
        value = (others & ~(0xffffffffull << shift)) | (value & 0xffffffff) << shift;
    }
    write_register(*s, at, value);
}

// ---- saved state ---------------------------------------------------------------------------------------------------

Result<state::Record> Hpet::save() const {
    auto s = state_.lock();
    pb::Hpet m;
    m.set_enabled(s->config.get(HpetConfig::ENABLE_CNF));
    m.set_legacy(s->config.get(HpetConfig::LEG_RT_CNF));
    m.set_status(s->status);
    m.set_halted_counter(s->halted_counter);
    m.set_started(s->started.count());
    for (const Channel& c : s->channels) {
        pb::HpetTimer& t = *m.add_timers();
        t.set_config(c.config.raw);
        t.set_comparator(comparator(*s, c));
        t.set_period(c.period);
    }
    return state::make_record(*this, m);
}

Result<> Hpet::load(const state::Record& record) {
    pb::Hpet m;
    YADO_TRY(state::parse_record(record, m));
    const Nanoseconds now = wiring_.timers.clock().now();
    bool ok = m.status() < 1u << kHpetTimers && m.timers_size() == kHpetTimers && m.started() >= 0;
    for (const pb::HpetTimer& t : m.timers()) ok = ok && !(t.config() & ~(kHpetTimerWritable | kHpetTimerFixed));
    if (!ok) return fail(ErrorKind::Corrupt, "saved state of {}: a register is out of range", record.name);
    auto s = state_.lock();
    for (Channel& c : s->channels) lower(c);
    s->config = HpetConfig();
    s->config.set(HpetConfig::ENABLE_CNF, m.enabled());
    s->config.set(HpetConfig::LEG_RT_CNF, m.legacy());
    s->status = m.status();
    s->halted_counter = m.halted_counter();
    s->started = std::min(Nanoseconds(m.started()), now);
    const auto source = m.legacy() ? LegacyRoute::Source::Hpet : LegacyRoute::Source::Legacy;
    wiring_.irq0.select(source);
    wiring_.irq8.select(source);
    for (unsigned n = 0; n < kHpetTimers; ++n) {
        const pb::HpetTimer& t = m.timers(static_cast<int>(n));
        Channel& c = s->channels[n];
        c = Channel{};
        c.config.raw = (t.config() & kHpetTimerWritable) | kHpetTimerFixed;
        c.comparator = t.comparator() & width_mask(c.config);
        c.period = t.period() & width_mask(c.config);
        if (s->status >> n & 1) interrupt(*s, n);
        schedule(*s, n);
    }
    return {};
}

}  // namespace yado::machine
