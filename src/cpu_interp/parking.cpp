#include "cpu_interp/parking.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>

#include "cpu_interp/core.h"

namespace yado::cpu_interp {

namespace {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t) && std::atomic<uint32_t>::is_always_lock_free);

/// Until the word changes or CLOCK_MONOTONIC is at `until`; may return early.
void sleep(std::atomic<uint32_t>& word, uint32_t expected, std::optional<std::chrono::nanoseconds> until) {
    timespec at{};
    if (until) at = {until->count() / 1'000'000'000, until->count() % 1'000'000'000};
    syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected, until ? &at : nullptr, nullptr, FUTEX_BITSET_MATCH_ANY);
}

}  // namespace

void park(std::atomic<uint32_t>& requests, cpu::LocalApic* apic) {
    while (!(requests.load() & kWakingSignals)) {
        const auto until = apic ? apic->begin_wait() : std::nullopt;
        const uint32_t before = requests.fetch_or(Core::kReqParked) | Core::kReqParked;
        if (!(before & kWakingSignals)) sleep(requests, before, until);
        requests.fetch_and(~Core::kReqParked);
        if (until) apic->end_wait();
    }
}

void send(std::atomic<uint32_t>& requests, uint32_t bits) {
    const uint32_t before = requests.fetch_or(bits);
    if (!(bits & kWakingSignals) || !(before & Core::kReqParked) || before & kWakingSignals) return;
    syscall(SYS_futex, &requests, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace yado::cpu_interp
