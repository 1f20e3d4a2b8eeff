// A halted vCPU's sleep on its request word: until a signal, or until its timer is due.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>

#include "cpu/local_apic.h"

namespace yado::cpu_interp {

constexpr uint32_t bit(cpu::Signal s) { return static_cast<uint32_t>(s); }

/// What ends a halt.
inline constexpr uint32_t kWakingSignals = bit(cpu::Signal::Interrupt) | bit(cpu::Signal::Nmi) | bit(cpu::Signal::Init) |
                                           bit(cpu::Signal::Sipi) | bit(cpu::Signal::Kick);

/// Returns when one of kWakingSignals is there, which send() has set. The vCPU's thread; apic may be nullptr.
void park(std::atomic<uint32_t>& requests, cpu::LocalApic* apic);

/// Sets bits and wakes a parked vCPU if they end a halt. Any thread, any lock; one system call at most, and that only for
/// the first signal to a vCPU that sleeps.
void send(std::atomic<uint32_t>& requests, uint32_t bits);

}  // namespace yado::cpu_interp
