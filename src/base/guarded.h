// Shared data lives inside its lock. Lock ranks: a thread may only take a lock of a higher rank than any it holds;
// debug and sanitizer builds check it.
//     Guarded<State, LockRank::Device> state_;
//     auto s = state_.lock(); s->irq = true;
#pragma once

#include <cstdint>
#include <mutex>
#include <utility>

namespace yado {

/// Order in which locks may be taken, lowest first. An interrupt travels upwards: device, router, LAPIC, vCPU.
enum class LockRank : uint8_t {
    Control = 10,    ///< run state, control socket
    Bus = 20,        ///< address-space tables (held only to look up or change, never across a handler)
    Device = 30,     ///< a device's registers
    Pci = 40,        ///< configuration space, MSI-X tables
    Interrupt = 50,  ///< PIC, IOAPIC
    Lapic = 60,
    Vcpu = 70,       ///< a vCPU's pending requests
    Sink = 75,       ///< console hub, event log: anybody tells them, they post to executors
    Executor = 80,   ///< an executor's queue: anything may post while it holds its own lock
    Leaf = 90,       ///< logging, counters
};

namespace detail {
void lock_taken(LockRank rank);
void lock_released(LockRank rank);
}  // namespace detail

#if defined(YADO_SANITIZED) || !defined(NDEBUG)
inline constexpr bool kCheckLockRanks = true;
#else
inline constexpr bool kCheckLockRanks = false;
#endif

template <typename T, LockRank Rank = LockRank::Device>
class Guarded {
  public:
    template <typename... Args>
    explicit Guarded(Args&&... args) : value_{std::forward<Args>(args)...} {}
    Guarded(const Guarded&) = delete;

    class Held {
      public:
        explicit Held(Guarded& g) : g_(&g) {
            if constexpr (kCheckLockRanks) detail::lock_taken(Rank);
            g.mutex_.lock();
        }
        Held(const Held&) = delete;
        ~Held() {
            g_->mutex_.unlock();
            if constexpr (kCheckLockRanks) detail::lock_released(Rank);
        }
        T* operator->() { return &g_->value_; }
        T& operator*() { return g_->value_; }

      private:
        Guarded* g_;
    };

    [[nodiscard]] Held lock() { return Held(*this); }
    [[nodiscard]] Held lock() const { return Held(const_cast<Guarded&>(*this)); }

  private:
    std::mutex mutex_;
    T value_;
};

}  // namespace yado
