#include "cpu/host_tsc.h"

#include <cpuid.h>
#include <x86intrin.h>

#include <ctime>

namespace yado::cpu {

namespace {

/// CPUID.15H: TSC = crystal * EBX / EAX (SDM vol. 3, 18.7.3); 40000010H.EAX: kHz (VMware's and KVM's timing leaf).
uint64_t announced_hz() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(0x15, &a, &b, &c, &d) && a && b && c) return static_cast<uint64_t>(c) * b / a;
    __cpuid(1, a, b, c, d);
    constexpr unsigned kHypervisor = 1u << 31;
    if (!(c & kHypervisor)) return 0;
    __cpuid(0x40000000, a, b, c, d);
    if (a < 0x40000010) return 0;
    __cpuid(0x40000010, a, b, c, d);
    return static_cast<uint64_t>(a) * 1000;
}

struct Reading {
    int64_t ns;
    uint64_t tsc;
};

/// The tightest of a few bracketed readings, so that a preemption between clock and TSC does not count.
Reading read_both() {
    Reading best{};
    uint64_t narrowest = ~0ull;
    for (int n = 0; n < 8; ++n) {
        timespec t{};
        const uint64_t before = __rdtsc();
        clock_gettime(CLOCK_MONOTONIC_RAW, &t);
        const uint64_t after = __rdtsc();
        if (after - before < narrowest) {
            narrowest = after - before;
            best = {t.tv_sec * 1'000'000'000ll + t.tv_nsec, before + (after - before) / 2};
        }
    }
    return best;
}

uint64_t measured_hz() {
    const Reading start = read_both();
    const timespec wait{0, 4'000'000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, nullptr);
    const Reading end = read_both();
    return static_cast<uint64_t>(static_cast<unsigned __int128>(end.tsc - start.tsc) * 1'000'000'000u / static_cast<uint64_t>(end.ns - start.ns));
}

}  // namespace

uint64_t host_tsc_hz() {
    static const uint64_t hz = [] {
        const uint64_t announced = announced_hz();
        return announced ? announced : measured_hz();
    }();
    return hz;
}

}  // namespace yado::cpu
