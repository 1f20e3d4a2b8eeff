// The APIC timer (11.5.4): one-shot, periodic, TSC-deadline. A tick of the undivided clock is one nanosecond.
#include "machine/irq/lapic.h"
#include "machine/periodic.h"

namespace yado::machine {

using namespace lapic_reg;

static_assert(kLapicTimerHz == 1'000'000'000, "counts below are nanoseconds");

LapicTimerMode Lapic::timer_mode(const State& s) { return Lvt(s.regs[LVT_TIMER]).get(Lvt::TIMER_MODE); }

Nanoseconds Lapic::timer_tick(const State& s) const { return Nanoseconds(timer_divider(s.regs[DIVIDE])); }

uint32_t Lapic::current_count(const State& s) const {
    if (!s.deadline) return 0;
    const Nanoseconds tick = timer_tick(s);
    Nanoseconds left = *s.deadline - wiring_.timers.clock().now();
    if (left <= Nanoseconds(0)) {  // the callback is about to come
        if (timer_mode(s) != LapicTimerMode::Periodic || s.regs[INITIAL_COUNT] == 0) return 0;
        const Nanoseconds period = tick * s.regs[INITIAL_COUNT];
        left = period - (-left) % period;
    }
    return static_cast<uint32_t>((left + tick - Nanoseconds(1)) / tick);
}

void Lapic::stop_timer(State& s) {
    s.deadline.reset();
    timer_->cancel();
}

void Lapic::start_count(State& s, uint32_t count) {
    if (count == 0 || timer_mode(s) == LapicTimerMode::TscDeadline) return stop_timer(s);
    s.deadline = wiring_.timers.clock().now() + timer_tick(s) * count;
    timer_->arm(*s.deadline);
}

void Lapic::set_divider(State& s, uint32_t value) {
    const uint32_t left = current_count(s);
    s.regs[DIVIDE] = value & 0xb;
    if (s.deadline) start_count(s, left);
}

void Lapic::arm_tsc_deadline(State& s) {
    timer_->cancel();
    if (s.tsc_deadline == 0) return;
    const uint64_t guest_tsc = wiring_.host_tsc() + s.tsc_offset;
    if (guest_tsc >= s.tsc_deadline) {
        s.tsc_deadline = 0;  // 11.5.4.1: the MSR is cleared when the timer fires
        return local_interrupt(s, LVT_TIMER);
    }
    const auto left = static_cast<unsigned __int128>(s.tsc_deadline - guest_tsc) * 1'000'000'000u /
                      std::max<uint64_t>(wiring_.tsc_hz, 1);
    constexpr unsigned __int128 kFarAway = 1ull << 55;  // a year: on_timer() looks again
    timer_->arm(wiring_.timers.clock().now() + Nanoseconds(static_cast<int64_t>(std::min(left, kFarAway)) + 1));
}

/// Arms the timer for whatever the registers ask.
void Lapic::rearm(State& s) {
    if (timer_mode(s) == LapicTimerMode::TscDeadline)
        arm_tsc_deadline(s);
    else if (s.deadline)
        timer_->arm(*s.deadline);
}

void Lapic::on_timer() {
    auto s = state_.lock();
    if (timer_mode(*s) == LapicTimerMode::TscDeadline) return arm_tsc_deadline(*s);
    const Nanoseconds now = wiring_.timers.clock().now();
    if (!s->deadline || now < *s->deadline) return;  // stopped or restarted meanwhile
    if (timer_mode(*s) == LapicTimerMode::Periodic && s->regs[INITIAL_COUNT]) {
        s->deadline = next_period(*s->deadline, timer_tick(*s) * s->regs[INITIAL_COUNT], now);
        timer_->arm(*s->deadline);
    } else {
        s->deadline.reset();
    }
    local_interrupt(*s, LVT_TIMER);
}

void Lapic::end_wait() {
    {
        auto s = state_.lock();
        const bool counting = timer_mode(*s) != LapicTimerMode::TscDeadline && s->deadline;
        if (counting && wiring_.timers.clock().now() < *s->deadline) return timer_->arm(*s->deadline);
    }
    on_timer();
}

}  // namespace yado::machine
