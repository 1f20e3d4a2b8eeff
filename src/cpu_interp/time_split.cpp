#include "cpu_interp/time_split.h"

#include "cpu/host_tsc.h"

namespace yado::cpu_interp {

namespace {
constexpr const char* kNames[kDoings] = {"outside", "interpreter", "translated", "translation", "tlb_misses", "devices", "idle"};

uint64_t nanoseconds(uint64_t ticks) { return static_cast<uint64_t>(static_cast<unsigned __int128>(ticks) * 1'000'000'000 / cpu::host_tsc_hz()); }
}  // namespace

TimeSplit::TimeSplit() : since_(__builtin_ia32_rdtsc()) { (void)cpu::host_tsc_hz(); }

cpu::StatGroup TimeSplit::read() const {
    std::array<uint64_t, kDoings> ticks;
    uint64_t since = 0;
    unsigned now_doing = 0;
    do {  // again if the thread turned to something else meanwhile
        since = since_.load(std::memory_order_acquire);
        now_doing = doing_.load(std::memory_order_relaxed);
        for (unsigned n = 0; n < kDoings; ++n) ticks[n] = spent_[n].get();
        std::atomic_thread_fence(std::memory_order_acquire);
    } while (since == kChanging || since != since_.load(std::memory_order_relaxed));
    ticks[now_doing] += __builtin_ia32_rdtsc() - since;
    cpu::StatGroup group{"time", cpu::StatKind::Parts, "ns", {}};
    for (unsigned n = 0; n < kDoings; ++n) group.values[kNames[n]] = nanoseconds(ticks[n]);
    return group;
}

uint64_t TimedDevices::port_read(Port port, unsigned size) {
    const Spending spending(&split_, Doing::Devices);
    return devices_.port_read(port, size);
}
void TimedDevices::port_write(Port port, unsigned size, uint64_t value) {
    const Spending spending(&split_, Doing::Devices);
    devices_.port_write(port, size, value);
}
uint64_t TimedDevices::mmio_read(GuestPhysAddr address, unsigned size) {
    const Spending spending(&split_, Doing::Devices);
    return devices_.mmio_read(address, size);
}
void TimedDevices::mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) {
    const Spending spending(&split_, Doing::Devices);
    devices_.mmio_write(address, size, value);
}

}  // namespace yado::cpu_interp
