// What a vCPU's thread spends its time on, by the TSC read at every turn to something else. Only for those who ask for it
// (VcpuWiring::timed): each turn costs a RDTSC.
// Thread: the vCPU's own; read() any.
#pragma once

#include <array>

#include "base/clock.h"
#include "base/counter.h"
#include "cpu/stats.h"
#include "cpu/vcpu.h"

namespace yado::cpu_interp {

/// Outside: not in run() or park(), held by the run control.
enum class Doing : uint8_t { Outside, Interpreter, Translated, Translation, TlbMiss, Devices, Idle };
inline constexpr unsigned kDoings = 7;

class TimeSplit {
  public:
    TimeSplit();
    /// Returns what it was before.
    Doing change(Doing to) {
        const uint64_t now = __builtin_ia32_rdtsc();
        const auto from = static_cast<Doing>(doing_.load(std::memory_order_relaxed));
        const uint64_t since = since_.load(std::memory_order_relaxed);
        since_.store(kChanging, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_release);  // acquired in read()
        spent_[static_cast<unsigned>(from)].add(now - since);
        doing_.store(static_cast<uint8_t>(to), std::memory_order_relaxed);
        since_.store(now, std::memory_order_release);
        return from;
    }
    /// Nanoseconds by what it did, what runs up to now.
    cpu::StatGroup read() const;

  private:
    static constexpr uint64_t kChanging = 0;
    std::array<Counter, kDoings> spent_;  ///< TSC ticks
    std::atomic<uint64_t> since_;
    std::atomic<uint8_t> doing_{0};
};

/// For the life of this, time goes to something else. `split` may be nullptr.
class Spending {
  public:
    Spending(TimeSplit* split, Doing doing) : split_(split) {
        if (split_) before_ = split_->change(doing);
    }
    ~Spending() {
        if (split_) split_->change(before_);
    }
    Spending(const Spending&) = delete;

  private:
    TimeSplit* split_;
    Doing before_{};
};

/// Devices whose time is split off.
class TimedDevices final : public cpu::DeviceAccess {
  public:
    TimedDevices(cpu::DeviceAccess& devices, TimeSplit& split) : devices_(devices), split_(split) {}
    uint64_t port_read(Port port, unsigned size) override;
    void port_write(Port port, unsigned size, uint64_t value) override;
    uint64_t mmio_read(GuestPhysAddr address, unsigned size) override;
    void mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) override;

  private:
    cpu::DeviceAccess& devices_;
    TimeSplit& split_;
};

}  // namespace yado::cpu_interp
