// The guest TSC is constant and the same on all vCPUs, so one line serves for all time: ns = guest TSC / frequency.
#include "cpu_interp/system/kvmclock.h"

#include <ctime>

#include "cpu_interp/system/system.h"
#include "cpu_interp/system/system_state.h"

namespace yado::cpu_interp {

namespace {

constexpr uint8_t kTscStable = 1;
constexpr uint32_t kFeatureStable = 1u << 24;

struct VcpuTimeInfo {  // struct pvclock_vcpu_time_info
    uint32_t version;
    uint32_t pad0;
    uint64_t tsc_timestamp;
    uint64_t system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t pad[2];
};
static_assert(sizeof(VcpuTimeInfo) == 32);

struct WallClock {  // struct pvclock_wall_clock
    uint32_t version;
    uint32_t sec;
    uint32_t nsec;
};

}  // namespace

ClockScale clock_scale(uint64_t hz) {
    if (hz == 0) hz = 1'000'000'000;
    // 10^9 / hz = mul / 2^32 * 2^shift with mul as large as fits.
    unsigned __int128 factor = (static_cast<unsigned __int128>(1'000'000'000) << 64) / hz;  // 64 fraction bits
    int shift = 32;
    while (factor >> 64) factor >>= 1, ++shift;
    while (!(factor >> 63)) factor <<= 1, --shift;
    return {static_cast<uint32_t>(factor >> 32), static_cast<int8_t>(shift - 32)};
}

uint64_t scale_to_ns(uint64_t tsc, ClockScale s) {
    const uint64_t shifted = s.shift < 0 ? tsc >> -s.shift : tsc << s.shift;
    return static_cast<uint64_t>(static_cast<unsigned __int128>(shifted) * s.mul >> 32);
}

void kvmclock_publish(Core& c) {
    SystemState& s = *c.system;
    if (!(s.kvm_system_time & 1)) return;
    const GuestPhysAddr at(s.kvm_system_time & ~1ull);
    const ClockScale scale = clock_scale(c.wiring.guest_tsc_hz);
    const auto stable = static_cast<uint8_t>(s.kvm_features & kFeatureStable ? kTscStable : 0);
    s.kvm_clock_version += 2;
    VcpuTimeInfo info{s.kvm_clock_version - 1, 0, 0, 0, scale.mul, scale.shift, stable, {}};
    // The version is odd while the rest changes. An address outside RAM is the guest's own loss.
    if (!c.wiring.memory.store(at, info.version) || !c.wiring.memory.store(at, info)) return;
    std::ignore = c.wiring.memory.store(at, s.kvm_clock_version);
}

void kvmclock_write_wall_clock(Core& c, uint64_t address) {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t system = scale_to_ns(guest_tsc(c), clock_scale(c.wiring.guest_tsc_hz));
    const uint64_t boot = static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec) - system;
    const WallClock clock{2, static_cast<uint32_t>(boot / 1'000'000'000), static_cast<uint32_t>(boot % 1'000'000'000)};
    std::ignore = c.wiring.memory.store(GuestPhysAddr(address), clock);
}

}  // namespace yado::cpu_interp
