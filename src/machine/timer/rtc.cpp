#include "machine/timer/rtc.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "machine/periodic.h"
#include "machine/timer/timer.pb.h"

namespace yado::machine {

using namespace rtc_reg;

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kDay = 86'400;
/// "Update Cycle": UIP is up 244 us before the registers change.
constexpr int64_t kUipLead = 244'000;
constexpr int64_t kLatest = 6'000'000'000;  // the year 2160: nanoseconds must fit 64 bits
constexpr uint8_t kHour12Pm = 0x80;

constexpr bool is_time(unsigned reg) {
    return reg == SECONDS || reg == MINUTES || reg == HOURS || (reg >= DAY_OF_WEEK && reg <= YEAR) || reg == CENTURY;
}

/// The calendar of a number of seconds since 1970.
struct Calendar {
    int64_t second, minute, hour, day, month, year, weekday;  // weekday: 1 is Sunday

    static Calendar of(int64_t seconds) {
        using namespace std::chrono;
        const auto days = sys_days(std::chrono::days(seconds / kDay));
        const year_month_day date(days);
        const int64_t in_day = seconds % kDay;
        return {in_day % 60,      in_day / 60 % 60, in_day / 3600, unsigned(date.day()), unsigned(date.month()),
                int(date.year()), weekday_of(days)};
    }
    static int64_t weekday_of(std::chrono::sys_days days) { return std::chrono::weekday(days).c_encoding() + 1; }
    /// Impossible dates go on to the next month, as the chip's would not: nobody may rely on either.
    int64_t seconds() const {
        using namespace std::chrono;
        const auto date =
            std::chrono::year(static_cast<int>(year)) / std::chrono::month(static_cast<unsigned>(month)) / 1;
        const int64_t days = sys_days(date).time_since_epoch().count() + day - 1;
        return std::clamp<int64_t>(days * kDay + hour * 3600 + minute * 60 + second, 0, kLatest);
    }
};

}  // namespace

Rtc::Rtc(Wiring wiring) : wiring_(wiring) {
    timer_ = wiring_.timers.make_timer([this] { on_timer(); });
    reset();
}

/// The battery keeps time and RAM over a reset; RESET clears PIE, AIE, UIE and the flags.
void Rtc::reset() {
    auto s = state_.lock();
    const int64_t now = time(*s);
    s->cmos[A] = 0x26;  // 32.768 kHz, 1024 Hz: what firmware sets
    s->cmos[B] = 0x02;  // 24 hours, BCD
    s->cmos[C] = 0;
    s->cmos[D] = kRtcValidRamAndTime;
    s->index = 0;
    s->nmi_masked = false;
    if (s->frozen) set_time(*s, now);
    s->frozen = 0;
    restart(*s);
}

bool Rtc::nmi_masked() const { return state_.lock()->nmi_masked; }

void Rtc::set_cmos(unsigned index, uint8_t value) {
    if (index <= D || index > 127 || index == CENTURY) return;
    state_.lock()->cmos[index] = value;
}

// ---- the clock -----------------------------------------------------------------------------------------------------

int64_t Rtc::time(const State& s) const {
    if (s.held()) return s.frozen;
    return std::clamp<int64_t>(wiring_.timers.clock().wall().count() + s.offset, 0, kLatest * kSecond);
}

void Rtc::set_time(State& s, int64_t time) {
    if (s.held()) s.frozen = time;
    s.offset = time - wiring_.timers.clock().wall().count();
}

uint8_t Rtc::encode(const State& s, unsigned value) const {
    return static_cast<uint8_t>(s.b().get(RtcB::BINARY) ? value : value / 10 % 10 << 4 | value % 10);
}

unsigned Rtc::decode(const State& s, uint8_t value) const {
    return s.b().get(RtcB::BINARY) ? value : (value >> 4) * 10u + (value & 0xf);
}

uint8_t Rtc::read_time(const State& s, unsigned reg) const {
    const Calendar now = Calendar::of(time(s) / kSecond);
    switch (reg) {
        case SECONDS: return encode(s, static_cast<unsigned>(now.second));
        case MINUTES: return encode(s, static_cast<unsigned>(now.minute));
        case DAY_OF_WEEK: return encode(s, static_cast<unsigned>(now.weekday));
        case DAY_OF_MONTH: return encode(s, static_cast<unsigned>(now.day));
        case MONTH: return encode(s, static_cast<unsigned>(now.month));
        case YEAR: return encode(s, static_cast<unsigned>(now.year % 100));
        case CENTURY: return encode(s, static_cast<unsigned>(now.year / 100));
        default: break;
    }
    const auto hour = static_cast<unsigned>(now.hour);
    if (s.b().get(RtcB::HOURS24)) return encode(s, hour);
    return static_cast<uint8_t>(encode(s, hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? kHour12Pm : 0));
}

void Rtc::write_time(State& s, unsigned reg, uint8_t value) {
    const int64_t now = time(s);
    Calendar c = Calendar::of(now / kSecond);
    const bool pm = !s.b().get(RtcB::HOURS24) && (value & kHour12Pm);
    const unsigned v = decode(s, reg == HOURS && !s.b().get(RtcB::HOURS24) ? value & 0x7f : value);
    switch (reg) {
        case SECONDS: c.second = std::min(v, 59u); break;
        case MINUTES: c.minute = std::min(v, 59u); break;
        case HOURS: c.hour = s.b().get(RtcB::HOURS24) ? std::min(v, 23u) : v % 12 + (pm ? 12 : 0); break;
        case DAY_OF_MONTH: c.day = std::clamp(v, 1u, 31u); break;
        case MONTH: c.month = std::clamp(v, 1u, 12u); break;
        case YEAR: c.year = c.year / 100 * 100 + std::min(v, 99u); break;
        case CENTURY: c.year = std::clamp(v, 19u, 99u) * 100 + c.year % 100; break;
        default: return;  // the day of the week follows from the date
    }
    set_time(s, c.seconds() * kSecond + now % kSecond);
}

// ---- interrupts ----------------------------------------------------------------------------------------------------

/// Periodic interrupt period in ns; 0: none ("Register A", rate selection for a 32.768 kHz time base).
int64_t Rtc::period(const State& s) const {
    unsigned rate = s.a().get(RtcA::RS);
    if (rate == 0 || divider_in_reset(s.a())) return 0;
    if (rate <= 2) rate += 7;
    return kSecond * (1 << (rate - 1)) / 32'768;
}

/// The first second after `after` that the alarm matches; a byte of 11xxxxxx matches always.
int64_t Rtc::next_alarm(const State& s, int64_t after) const {
    const auto matches = [&](unsigned reg, int64_t v) {
        const uint8_t alarm = s.cmos[reg];
        if ((alarm & 0xc0) == 0xc0) return true;
        if (reg != HOURS_ALARM || s.b().get(RtcB::HOURS24)) return decode(s, alarm) == v;
        return decode(s, alarm & 0x7f) % 12 + (alarm & kHour12Pm ? 12 : 0) == v;
    };
    int64_t t = after + 1;
    const int64_t end = after + kDay;
    while (t <= end) {  // at most 24 + 60 + 60 steps and a few more
        if (!matches(HOURS_ALARM, t / 3600 % 24))
            t = (t / 3600 + 1) * 3600;
        else if (!matches(MINUTES_ALARM, t / 60 % 60))
            t = (t / 60 + 1) * 60;
        else if (!matches(SECONDS_ALARM, t % 60))
            ++t;
        else
            return t;
    }
    return std::numeric_limits<int64_t>::max() / kSecond;  // an impossible alarm
}

/// Sets the flags in C for everything that happened since the last look.
void Rtc::catch_up(State& s) {
    if (!s.held()) {
        const int64_t second = time(s) / kSecond;
        if (second > s.last_update) {
            s.cmos[C] |= kRtcUpdate;
            if (next_alarm(s, s.last_update) <= second) s.cmos[C] |= kRtcAlarm;
        }
        s.last_update = second;
    }
    if (const int64_t p = period(s)) {
        const int64_t tick = wiring_.timers.clock().now().count() / p;
        if (tick > s.last_periodic) s.cmos[C] |= kRtcPeriodic;
        s.last_periodic = tick;
    }
    drive(s);
}

void Rtc::drive(State& s) {
    const bool irq = s.cmos[B] & s.cmos[C] & kRtcSources;
    s.cmos[C] = static_cast<uint8_t>((s.cmos[C] & kRtcSources) | (irq ? kRtcIrq : 0));
    wiring_.irq.set(irq);
}

/// Arms the timer for the next event whose interrupt is enabled and whose flag is not already up.
void Rtc::schedule(State& s) {
    const auto wanted = static_cast<uint8_t>(s.cmos[B] & ~s.cmos[C] & kRtcSources);
    const int64_t now = wiring_.timers.clock().now().count();
    int64_t at = std::numeric_limits<int64_t>::max();
    if (!s.held() && (wanted & kRtcUpdate)) at = now + kSecond - time(s) % kSecond;
    if (!s.held() && (wanted & kRtcAlarm)) {
        const int64_t left = next_alarm(s, s.last_update) - time(s) / kSecond;
        if (left <= kDay) at = std::min(at, now + left * kSecond - time(s) % kSecond);
    }
    if (const int64_t p = period(s); p && (wanted & kRtcPeriodic))
        at = std::min(at, next_period(Nanoseconds(s.last_periodic * p), Nanoseconds(p), Nanoseconds(now)).count());
    if (at == std::numeric_limits<int64_t>::max()) return timer_->cancel();
    s.fires = Nanoseconds(at);
    timer_->arm(s.fires);
}

void Rtc::on_timer() {
    auto s = state_.lock();
    if (wiring_.timers.clock().now() < s->fires) return;
    catch_up(*s);
    schedule(*s);
}

/// Forgets events of the past: the clock or a rate has just been set.
void Rtc::restart(State& s) {
    s.last_update = time(s) / kSecond;
    if (const int64_t p = period(s)) s.last_periodic = wiring_.timers.clock().now().count() / p;
    drive(s);
    schedule(s);
}

// ---- registers -----------------------------------------------------------------------------------------------------

uint8_t Rtc::read(unsigned offset) {
    if (!(offset & 1)) return 0xff;  // the index cannot be read
    auto s = state_.lock();
    return read_cmos(*s);
}

void Rtc::write(unsigned offset, uint8_t value) {
    auto s = state_.lock();
    if (offset & 1) return write_cmos(*s, value);
    s->index = value & 0x7f;
    s->nmi_masked = value & 0x80;
}

uint8_t Rtc::read_cmos(State& s) {
    if (is_time(s.index)) return read_time(s, s.index);
    catch_up(s);
    if (s.index == A) {
        RtcA a = s.a();
        a.set(RtcA::UIP, !s.held() && time(s) % kSecond >= kSecond - kUipLead);
        return a.raw;
    }
    const uint8_t value = s.cmos[s.index];
    if (s.index == C) {
        s.cmos[C] = 0;
        drive(s);
        schedule(s);
    }
    return value;
}

void Rtc::write_control(State& s, unsigned reg, uint8_t value) {
    const int64_t now = time(s);
    const bool held = s.held();
    s.cmos[reg] = reg == A ? value & 0x7f : value;
    if (s.held() && !held) s.frozen = now;
    if (!s.held() && held) set_time(s, std::exchange(s.frozen, 0));
    if (s.b().get(RtcB::SET)) s.cmos[B] = static_cast<uint8_t>(s.cmos[B] & ~kRtcUpdate);  // SET clears UIE
    if (reg == A || held != s.held()) return restart(s);
    drive(s);
    schedule(s);
}

void Rtc::write_cmos(State& s, uint8_t value) {
    catch_up(s);
    if (s.index == A || s.index == B) return write_control(s, s.index, value);
    if (s.index == C || s.index == D) return;
    if (is_time(s.index)) {
        write_time(s, s.index, value);
        return restart(s);
    }
    s.cmos[s.index] = value;
    if (s.index <= HOURS_ALARM) schedule(s);
}

// ---- saved state ---------------------------------------------------------------------------------------------------

Result<state::Record> Rtc::save() const {
    auto s = state_.lock();
    pb::Rtc m;
    m.set_cmos(s->cmos.data(), s->cmos.size());
    m.set_index(s->index);
    m.set_nmi_masked(s->nmi_masked);
    m.set_offset(s->offset);
    m.set_frozen(s->frozen);
    m.set_last_update(s->last_update);
    m.set_last_periodic(s->last_periodic);
    return state::make_record(*this, m);
}

Result<> Rtc::load(const state::Record& record) {
    pb::Rtc m;
    YADO_TRY(state::parse_record(record, m));
    constexpr int64_t kMaxOffset = 7'000'000'000 * kSecond;
    const bool times =
        m.offset() > -kMaxOffset && m.offset() < kMaxOffset && m.frozen() >= 0 && m.frozen() <= kLatest * kSecond;
    if (m.cmos().size() != 128 || m.index() > 127 || !times)
        return fail(ErrorKind::Corrupt, "saved state of {}: a register is out of range", record.name);
    auto s = state_.lock();
    std::copy(m.cmos().begin(), m.cmos().end(), s->cmos.begin());
    s->cmos[A] &= 0x7f;
    s->index = static_cast<uint8_t>(m.index());
    s->nmi_masked = m.nmi_masked();
    s->offset = m.offset();
    s->frozen = m.frozen();
    s->last_update = std::clamp<int64_t>(m.last_update(), 0, time(*s) / kSecond);
    if (const int64_t p = period(*s))
        s->last_periodic = std::clamp<int64_t>(m.last_periodic(), 0, wiring_.timers.clock().now().count() / p);
    catch_up(*s);
    schedule(*s);
    return {};
}

}  // namespace yado::machine
