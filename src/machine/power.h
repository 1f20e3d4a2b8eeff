// What devices ask of the whole machine. Callbacks run on the thread that touched the device (a vCPU's, or an
// executor's), with no device lock held; they must not block and must not destroy anything: post and return.
#pragma once

#include <cstdint>
#include <functional>
#include <type_traits>

namespace yado::machine {

/// What a guest reports through pvpanic (QEMU docs/specs/pvpanic): it panicked, or panicked and a crash kernel took
/// over.
enum class PanicEvent : uint8_t { Panicked, CrashLoaded };

/// An empty function means that nobody cares.
struct PowerEvents {
    std::function<void()> reset;                     ///< the guest asked for a reset (0xCF9, 8042, port 92h)
    std::function<void()> power_off;                 ///< the guest entered S5
    std::function<void(PanicEvent)> panic;           ///< pvpanic
    std::function<void(uint32_t value)> debug_exit;  ///< isa-debug-exit: the value written
};

/// Calls what is there.
template <typename... Args>
void notify(const std::function<void(Args...)>& f, std::type_identity_t<Args>... args) {
    if (f) f(args...);
}

}  // namespace yado::machine
