#include "machine/timer/pit_channel.h"

#include <algorithm>
#include <utility>

namespace yado::machine {

namespace {

uint32_t from_bcd(uint16_t v) {
    return (v & 0xf) + (v >> 4 & 0xf) * 10u + (v >> 8 & 0xf) * 100u + (v >> 12 & 0xf) * 1000u;
}
uint16_t to_bcd(uint32_t v) {
    return static_cast<uint16_t>(v % 10 | (v / 10 % 10) << 4 | (v / 100 % 10) << 8 | (v / 1000 % 10) << 12);
}

}  // namespace

bool PitChannel::running() const {
    if (!s.loaded || (s.low_written && s.mode == 0)) return false;  // mode 0: the first byte stops counting
    return waits_for_trigger() ? s.triggered : s.gate;
}

uint64_t PitChannel::elapsed(uint64_t now) const {
    if (!running()) return s.elapsed;
    return now > s.start ? now - s.start : 0;
}

void PitChannel::set_control(PitControl control, uint64_t now) {
    const bool gate = s.gate;
    s = State{};
    s.gate = gate;
    const uint8_t mode = control.get(PitControl::MODE);
    s.mode = mode > 5 ? mode - 4 : mode;  // 6 and 7 are 2 and 3
    s.bcd = control.get(PitControl::BCD);
    s.access = control.get(PitControl::RW);
    s.start = now;
}

void PitChannel::load(uint16_t raw, uint64_t now) {
    const uint32_t modulus = s.bcd ? 10'000 : 0x10000;
    const uint32_t value = s.bcd ? from_bcd(raw) % modulus : raw;
    const bool was_loaded = s.loaded;
    s.reload = value ? value : modulus;
    s.loaded = true;
    // Modes 1 and 5 take the new count at the next trigger; modes 2 and 3 in truth at the end of the period.
    if (waits_for_trigger() && was_loaded) return;
    s.start = now;
    s.elapsed = 0;
}

void PitChannel::write(uint8_t value, uint64_t now) {
    switch (s.access) {
        case PitAccess::Low: return load(value, now);
        case PitAccess::High: return load(static_cast<uint16_t>(value << 8), now);
        case PitAccess::Latch:
        case PitAccess::LowHigh: break;
    }
    if (!s.low_written) {
        s.elapsed = elapsed(now);
        s.low_byte = value;
        s.low_written = true;
        return;
    }
    s.low_written = false;
    load(static_cast<uint16_t>(value << 8 | s.low_byte), now);
}

/// The counting element ("Mode Definitions").
uint16_t PitChannel::count(uint64_t now) const {
    const uint64_t d = elapsed(now);
    const uint32_t modulus = s.bcd ? 10'000 : 0x10000;
    uint32_t value = 0;
    switch (s.mode) {
        case 2: value = s.reload - static_cast<uint32_t>(d % s.reload); break;
        case 3: {  // counts by two, twice a period
            const uint64_t in = d % s.reload;
            const uint64_t half = (s.reload + 1) / 2;
            value = (s.reload & ~1u) - static_cast<uint32_t>(2 * (in < half ? in : in - half));
            break;
        }
        default: value = static_cast<uint32_t>((s.reload + modulus - d % modulus) % modulus);
    }
    value %= modulus;
    return s.bcd ? to_bcd(value) : static_cast<uint16_t>(value);
}

bool PitChannel::output(uint64_t now) const {
    const uint64_t d = elapsed(now);
    switch (s.mode) {
        case 0: return s.loaded && !s.low_written && d >= s.reload;
        case 1: return !s.triggered || d >= s.reload;
        case 2: return !running() || d % s.reload != s.reload - 1;
        case 3: return !running() || d % s.reload < (s.reload + 1) / 2;
        default: return !s.loaded || (s.mode == 5 && !s.triggered) || d != s.reload;  // 4, 5: a strobe of one tick
    }
}

std::optional<uint64_t> PitChannel::next_rise(uint64_t now) const {
    if (!running()) return std::nullopt;
    const uint64_t d = elapsed(now);
    switch (s.mode) {
        case 0:
        case 1: return d < s.reload ? std::optional(s.start + s.reload) : std::nullopt;
        case 2:
        case 3: return s.start + (d / s.reload + 1) * s.reload;
        default: return d <= s.reload ? std::optional(s.start + s.reload + 1) : std::nullopt;
    }
}

void PitChannel::set_gate(bool gate, uint64_t now) {
    if (gate == s.gate) return;
    const uint64_t counted = elapsed(now);
    s.gate = gate;
    const bool restarts = s.mode != 0 && s.mode != 4;  // a rising edge starts modes 1, 2, 3 and 5 anew
    if (gate && waits_for_trigger()) s.triggered = s.loaded;
    if (!gate && waits_for_trigger()) return;
    s.elapsed = gate && restarts ? 0 : counted;
    s.start = now - std::min(now, s.elapsed);
}

void PitChannel::latch_count(uint64_t now) {
    if (s.latched_bytes) return;  // "Counter Latch Command": the first one holds until it is read
    s.latched = count(now);
    s.latched_bytes = s.access == PitAccess::LowHigh ? 2 : 1;
}

void PitChannel::latch_status(uint64_t now) {
    if (s.status_latched) return;
    PitStatus status;
    status.set(PitStatus::CONTROL, static_cast<uint8_t>(s.bcd | s.mode << 1 | static_cast<uint8_t>(s.access) << 4));
    status.set(PitStatus::NULL_COUNT, !s.loaded || s.low_written);
    status.set(PitStatus::OUTPUT, output(now));
    s.status = status.raw;
    s.status_latched = true;
}

uint8_t PitChannel::read(uint64_t now) {
    if (s.status_latched) {
        s.status_latched = false;
        return s.status;
    }
    const uint16_t value = s.latched_bytes ? s.latched : count(now);
    bool high = s.access == PitAccess::High;
    if (s.access == PitAccess::LowHigh) high = std::exchange(s.high_read_next, !s.high_read_next);
    if (s.latched_bytes) --s.latched_bytes;
    return static_cast<uint8_t>(high ? value >> 8 : value);
}

}  // namespace yado::machine
