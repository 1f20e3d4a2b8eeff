#include "storage/live/throttle.h"

#include <algorithm>

namespace yado::storage {
namespace {

/// What `units` cost at so many a second.
Nanoseconds cost(uint64_t units, uint64_t per_second) {
    if (per_second == 0) return Nanoseconds(0);
    return Nanoseconds(static_cast<int64_t>(static_cast<double>(units) * 1e9 / static_cast<double>(per_second)));
}

}  // namespace

Throttle::Throttle(io::TimerQueue& timers, Limits limits)
    : timers_(timers), limits_(limits), operations_paid_(timers.clock().now() - limits.burst), bytes_paid_(operations_paid_),
      timer_(timers.make_timer([this] { let_through(); })) {}

Throttle::~Throttle() { YADO_CHECK(waiting_.empty()); }

io::Task<> Throttle::admit(Bytes length) {
    if (idle()) co_return;
    const Nanoseconds now = timers_.clock().now();
    if (waiting_.empty() && due() <= now) {
        charge(length, now);
        co_return;
    }
    Waiting self{length, {}};
    waiting_.push_back(&self);
    ++counters_.delayed;
    if (waiting_.size() == 1) arm();
    co_await self.turn;
    counters_.waited += timers_.clock().now() - now;
}

void Throttle::charge(Bytes length, Nanoseconds now) {
    const Nanoseconds oldest = now - std::max(limits_.burst, kLeastBurst);
    operations_paid_ = std::max(operations_paid_, oldest) + cost(1, limits_.operations);
    bytes_paid_ = std::max(bytes_paid_, oldest) + cost(length.value(), limits_.bytes.value());
}

void Throttle::change(Limits limits) {
    limits_ = limits;
    // A debt made under a lower limit is not to be paid off at the old speed.
    const Nanoseconds now = timers_.clock().now();
    operations_paid_ = std::min(operations_paid_, now);
    bytes_paid_ = std::min(bytes_paid_, now);
    let_through();
}

void Throttle::open() {
    open_ = true;
    let_through();
}

/// Whoever is let through may come back with its next request, or change the limits, before complete() returns.
void Throttle::let_through() {
    while (!waiting_.empty() && (idle() || due() <= timers_.clock().now())) {
        Waiting* first = waiting_.front();
        waiting_.pop_front();
        if (!idle()) charge(first->length, timers_.clock().now());
        first->turn.complete(true);
    }
    if (!waiting_.empty()) arm();
}

void Throttle::arm() { timer_->arm(due()); }

}  // namespace yado::storage
