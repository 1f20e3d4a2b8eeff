// Local APIC registers (Intel SDM vol. 3, 11.4.1, table 11-1; x2APIC: 11.12.1.2, table 11-6).
#pragma once

#include "base/register.h"
#include "machine/irq/ioapic_regs.h"

namespace yado::machine {

/// Register numbers: the xAPIC offset / 16, and the x2APIC MSR - 800H.
namespace lapic_reg {
inline constexpr unsigned ID = 0x02, VERSION = 0x03, TPR = 0x08, PPR = 0x0a, EOI = 0x0b, LDR = 0x0d, DFR = 0x0e,
                          SVR = 0x0f, ISR = 0x10, TMR = 0x18, IRR = 0x20, ESR = 0x28, ICR_LOW = 0x30, ICR_HIGH = 0x31,
                          LVT_TIMER = 0x32, LVT_THERMAL = 0x33, LVT_PERFORMANCE = 0x34, LVT_LINT0 = 0x35,
                          LVT_LINT1 = 0x36, LVT_ERROR = 0x37, INITIAL_COUNT = 0x38, CURRENT_COUNT = 0x39, DIVIDE = 0x3e,
                          SELF_IPI = 0x3f;
}
inline constexpr uint32_t kMsrApicBase = 0x1b, kMsrTscDeadline = 0x6e0, kMsrX2ApicFirst = 0x800;

/// Version 14H, LVT entries 0 to 5, EOI-broadcast suppression (11.4.8).
inline constexpr uint32_t kLapicVersion = 0x01050014;

struct Svr : Register<Svr, uint32_t> {  // 11.9
    using Register::Register;
    static constexpr Field<Svr, uint8_t, 0, 8> VECTOR{};
    static constexpr Field<Svr, bool, 8> ENABLED{};
    static constexpr Field<Svr, bool, 12> SUPPRESS_EOI_BROADCAST{};
};
inline constexpr uint32_t kSvrWritable = 0x11ff;

enum class LapicTimerMode : uint8_t { OneShot = 0, Periodic = 1, TscDeadline = 2, Reserved = 3 };

struct Lvt : Register<Lvt, uint32_t> {  // 11.5.1
    using Register::Register;
    static constexpr Field<Lvt, uint8_t, 0, 8> VECTOR{};
    static constexpr Field<Lvt, DeliveryMode, 8, 3> DELIVERY_MODE{};
    static constexpr Field<Lvt, bool, 14> REMOTE_IRR{};
    static constexpr Field<Lvt, TriggerMode, 15> TRIGGER_MODE{};
    static constexpr Field<Lvt, bool, 16> MASK{};
    static constexpr Field<Lvt, LapicTimerMode, 17, 2> TIMER_MODE{};
};
/// Writable bits of the entry; bits 12 and 14 are status, the others reserved.
constexpr uint32_t lvt_writable(unsigned reg) {
    switch (reg) {
        case lapic_reg::LVT_TIMER: return 0x700ff;
        case lapic_reg::LVT_LINT0:
        case lapic_reg::LVT_LINT1: return 0x1a7ff;
        case lapic_reg::LVT_ERROR: return 0x100ff;
        default: return 0x107ff;  // thermal, performance
    }
}
inline constexpr uint32_t kLvtStatus = 1u << 12 | 1u << 14;
constexpr bool is_lvt(unsigned reg) { return reg >= lapic_reg::LVT_TIMER && reg <= lapic_reg::LVT_ERROR; }

enum class Shorthand : uint8_t { None = 0, Self = 1, AllIncludingSelf = 2, AllExcludingSelf = 3 };

struct IcrLow : Register<IcrLow, uint32_t> {  // 11.6.1
    using Register::Register;
    static constexpr Field<IcrLow, uint8_t, 0, 8> VECTOR{};
    static constexpr Field<IcrLow, DeliveryMode, 8, 3> DELIVERY_MODE{};
    static constexpr Field<IcrLow, DestinationMode, 11> DESTINATION_MODE{};
    static constexpr Field<IcrLow, bool, 14> LEVEL{};
    static constexpr Field<IcrLow, TriggerMode, 15> TRIGGER_MODE{};
    static constexpr Field<IcrLow, Shorthand, 18, 2> SHORTHAND{};
};
inline constexpr uint32_t kIcrWritable = 0xccfff & ~(1u << 12);
inline constexpr uint32_t kIcrReserved = 0xfff00000 | 3u << 16 | 1u << 13;  ///< x2APIC: #GP (11.12.9)

/// Error status bits (11.5.3).
inline constexpr uint32_t kEsrSendIllegalVector = 1u << 5, kEsrReceiveIllegalVector = 1u << 6,
                          kEsrIllegalRegister = 1u << 7;

struct ApicBase : Register<ApicBase, uint64_t> {  // 11.4.4, 11.12.1
    using Register::Register;
    static constexpr Field<ApicBase, bool, 8> BSP{};
    static constexpr Field<ApicBase, bool, 10> EXTD{};
    static constexpr Field<ApicBase, bool, 11> EN{};
};
inline constexpr uint64_t kApicBaseFlags = 1u << 8 | 1u << 10 | 1u << 11;

/// 11.5.4: bits 3, 1, 0 of the divide configuration: 2, 4, ..., 128, 1.
constexpr uint32_t timer_divider(uint32_t divide_configuration) {
    const unsigned code = (divide_configuration & 3) | (divide_configuration >> 1 & 4);
    return 1u << ((code + 1) & 7);
}

}  // namespace yado::machine
