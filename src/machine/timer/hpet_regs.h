// IA-PC HPET specification 1.0a, section 2.3.
#pragma once

#include "base/register.h"

namespace yado::machine {

inline constexpr uint64_t kHpetHz = 100'000'000;
inline constexpr uint64_t kHpetPeriodFs = 10'000'000;  ///< femtoseconds a tick
inline constexpr unsigned kHpetTimers = 3;
/// IOAPIC pins that every timer may be routed to: 2, 8 and the upper PCI ones.
inline constexpr uint32_t kHpetRoutes = 0x00f00104;

/// Offsets of the 64-bit registers (2.3.3); timer n's are at 0x100 + 0x20 n.
inline constexpr uint64_t kHpetCapabilities = 0x00, kHpetConfig = 0x10, kHpetStatus = 0x20, kHpetCounter = 0xf0,
                          kHpetFirstTimer = 0x100, kHpetTimerStride = 0x20;

struct HpetCapabilities : Register<HpetCapabilities, uint64_t> {  // 2.3.4
    using Register::Register;
    static constexpr Field<HpetCapabilities, uint8_t, 0, 8> REV_ID{};
    static constexpr Field<HpetCapabilities, uint8_t, 8, 5> NUM_TIM_CAP{};
    static constexpr Field<HpetCapabilities, bool, 13> COUNT_SIZE_CAP{};
    static constexpr Field<HpetCapabilities, bool, 15> LEG_RT_CAP{};
    static constexpr Field<HpetCapabilities, uint16_t, 16, 16> VENDOR_ID{};
    static constexpr Field<HpetCapabilities, uint32_t, 32, 32> COUNTER_CLK_PERIOD{};
};

struct HpetConfig : Register<HpetConfig, uint64_t> {  // 2.3.5
    using Register::Register;
    static constexpr Field<HpetConfig, bool, 0> ENABLE_CNF{};
    static constexpr Field<HpetConfig, bool, 1> LEG_RT_CNF{};
};

struct HpetTimerConfig : Register<HpetTimerConfig, uint64_t> {  // 2.3.8
    using Register::Register;
    static constexpr Field<HpetTimerConfig, bool, 1> INT_TYPE{};  // level
    static constexpr Field<HpetTimerConfig, bool, 2> INT_ENB{};
    static constexpr Field<HpetTimerConfig, bool, 3> TYPE{};  // periodic
    static constexpr Field<HpetTimerConfig, bool, 4> PER_INT_CAP{};
    static constexpr Field<HpetTimerConfig, bool, 5> SIZE_CAP{};
    static constexpr Field<HpetTimerConfig, bool, 6> VAL_SET{};
    static constexpr Field<HpetTimerConfig, bool, 8> MODE32{};
    static constexpr Field<HpetTimerConfig, uint8_t, 9, 5> INT_ROUTE{};
    static constexpr Field<HpetTimerConfig, uint32_t, 32, 32> INT_ROUTE_CAP{};
};
inline constexpr uint64_t kHpetTimerWritable = 0x3f4e;  ///< no FSB delivery
inline constexpr uint64_t kHpetTimerFixed = static_cast<uint64_t>(kHpetRoutes) << 32 | 1u << 5 | 1u << 4;

}  // namespace yado::machine
