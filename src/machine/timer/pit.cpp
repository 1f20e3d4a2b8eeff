#include "machine/timer/pit.h"

#include "machine/periodic.h"
#include "machine/timer/timer.pb.h"

namespace yado::machine {

Pit::Pit(Wiring wiring) : wiring_(wiring) {
    timer_ = wiring_.timers.make_timer([this] { on_timer(); });
    reset();
}

void Pit::reset() {
    auto s = state_.lock();
    s->channels.fill(PitChannel{});
    s->channels[2].s.gate = false;
    s->speaker_data = false;
    timer_->cancel();
    wiring_.irq.set(false);
}

/// Arms the timer for channel 0's next rising edge. A faster rate than the host should serve is thinned out.
void Pit::schedule(State& s, uint64_t now) {
    const auto rise = s.channels[0].next_rise(now);
    if (!rise) return timer_->cancel();
    const uint64_t shortest = ticks_at(kShortestInterval, kPitHz);
    const uint64_t period = s.channels[0].period();
    uint64_t at = *rise;
    if (period && period < shortest) at += (shortest + period - 1) / period * period;
    s.fires = time_of_tick(at, kPitHz);
    timer_->arm(s.fires);
}

void Pit::on_timer() {
    auto s = state_.lock();
    if (wiring_.timers.clock().now() < s->fires) return;  // armed anew meanwhile
    const uint64_t now = tick();
    if (!s->channels[0].output(now) && !s->channels[0].period()) return;  // reprogrammed meanwhile
    wiring_.irq.set(false);
    wiring_.irq.set(true);
    schedule(*s, now);
}

uint8_t Pit::read(unsigned offset) {
    const uint64_t now = tick();
    auto s = state_.lock();
    if ((offset & 3) == 3) return 0;  // the control word cannot be read
    return s->channels[offset & 3].read(now);
}

void Pit::write(unsigned offset, uint8_t value) {
    const uint64_t now = tick();
    auto s = state_.lock();
    if ((offset & 3) == 3) return write_control(*s, value, now);
    s->channels[offset & 3].write(value, now);
    if ((offset & 3) != 0) return;
    wiring_.irq.set(s->channels[0].output(now));
    schedule(*s, now);
}

void Pit::write_control(State& s, uint8_t value, uint64_t now) {
    const PitControl control(value);
    const unsigned channel = control.get(PitControl::SELECT);
    if (channel == 3) return read_back(s, value, now);
    if (control.get(PitControl::RW) == PitAccess::Latch) return s.channels[channel].latch_count(now);
    s.channels[channel].set_control(control, now);
    if (channel != 0) return;
    wiring_.irq.set(s.channels[0].output(now));
    schedule(s, now);
}

void Pit::read_back(State& s, uint8_t value, uint64_t now) {
    const PitReadBack command(value);
    for (unsigned i = 0; i < s.channels.size(); ++i) {
        if (!(command.get(PitReadBack::CHANNELS) >> i & 1)) continue;
        if (!command.get(PitReadBack::NO_COUNT)) s.channels[i].latch_count(now);
        if (!command.get(PitReadBack::NO_STATUS)) s.channels[i].latch_status(now);
    }
}

uint8_t Pit::read_control_b(unsigned) {
    const uint64_t now = tick();
    const auto since = wiring_.timers.clock().now();
    auto s = state_.lock();
    SystemControlB b;
    b.set(SystemControlB::GATE2, s->channels[2].gate());
    b.set(SystemControlB::SPEAKER, s->speaker_data);
    b.set(SystemControlB::REFRESH_TOGGLE, since.count() / 15'085 & 1);  // toggles every 15.085 us
    b.set(SystemControlB::OUT2, s->channels[2].output(now));
    return b.raw;
}

void Pit::write_control_b(unsigned, uint8_t value) {
    const uint64_t now = tick();
    auto s = state_.lock();
    const SystemControlB b(value);
    s->channels[2].set_gate(b.get(SystemControlB::GATE2), now);
    s->speaker_data = b.get(SystemControlB::SPEAKER);
}

namespace {

void put(const PitChannel::State& c, pb::PitChannel& m) {
    m.set_mode(c.mode);
    m.set_bcd(c.bcd);
    m.set_access(static_cast<uint32_t>(c.access));
    m.set_reload(c.reload);
    m.set_low_byte(c.low_byte);
    m.set_low_written(c.low_written);
    m.set_high_read_next(c.high_read_next);
    m.set_loaded(c.loaded);
    m.set_triggered(c.triggered);
    m.set_gate(c.gate);
    m.set_start(c.start);
    m.set_elapsed(c.elapsed);
    m.set_latched(c.latched);
    m.set_latched_bytes(c.latched_bytes);
    m.set_status(c.status);
    m.set_status_latched(c.status_latched);
}

std::optional<PitChannel::State> get(const pb::PitChannel& m) {
    const uint32_t modulus = m.bcd() ? 10'000 : 0x10000;
    constexpr uint64_t kMaxTick = 1ull << 48;
    if (m.mode() > 5 || m.access() == 0 || m.access() > 3 || m.reload() == 0 || m.reload() > modulus)
        return std::nullopt;
    if (!all_fit<uint8_t>(m.low_byte(), m.status()) || !all_fit<uint16_t>(m.latched()) || m.latched_bytes() > 2)
        return std::nullopt;
    if (m.start() > kMaxTick || m.elapsed() > kMaxTick) return std::nullopt;
    PitChannel::State c;
    c.mode = static_cast<uint8_t>(m.mode());
    c.bcd = m.bcd();
    c.access = static_cast<PitAccess>(m.access());
    c.reload = m.reload();
    c.low_byte = static_cast<uint8_t>(m.low_byte());
    c.low_written = m.low_written();
    c.high_read_next = m.high_read_next();
    c.loaded = m.loaded();
    c.triggered = m.triggered();
    c.gate = m.gate();
    c.start = m.start();
    c.elapsed = m.elapsed();
    c.latched = static_cast<uint16_t>(m.latched());
    c.latched_bytes = static_cast<uint8_t>(m.latched_bytes());
    c.status = static_cast<uint8_t>(m.status());
    c.status_latched = m.status_latched();
    return c;
}

}  // namespace

Result<state::Record> Pit::save() const {
    auto s = state_.lock();
    pb::Pit m;
    for (const PitChannel& channel : s->channels) put(channel.s, *m.add_channels());
    m.set_speaker_data(s->speaker_data);
    return state::make_record(*this, m);
}

Result<> Pit::load(const state::Record& record) {
    pb::Pit m;
    YADO_TRY(state::parse_record(record, m));
    std::array<PitChannel, 3> channels;
    bool ok = m.channels_size() == 3;
    for (int i = 0; ok && i < 3; ++i) {
        const auto c = get(m.channels(i));
        ok = c.has_value();
        if (ok) channels[static_cast<size_t>(i)].s = *c;
    }
    if (!ok) return fail(ErrorKind::Corrupt, "saved state of {}: a register is out of range", record.name);
    auto s = state_.lock();
    s->channels = channels;
    s->speaker_data = m.speaker_data();
    const uint64_t now = tick();
    wiring_.irq.set(s->channels[0].output(now));
    schedule(*s, now);
    return {};
}

}  // namespace yado::machine
