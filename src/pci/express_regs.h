// The PCI Express capability structure, PCI Express Base 5.0, 7.5.3. Offsets are inside the capability.
#pragma once

#include <cstdint>

#include "base/register.h"

namespace yado::pci {

/// Device/Port Type (7.5.3.2).
enum class ExpressType : uint8_t { Endpoint = 0, RootPort = 4, IntegratedEndpoint = 9 };

inline constexpr uint16_t kExpressCapabilities = 0x02, kDeviceCapabilities = 0x04, kDeviceControl = 0x08, kLinkCapabilities = 0x0c,
                          kLinkControl = 0x10, kLinkStatus = 0x12, kSlotCapabilities = 0x14, kSlotControl = 0x18, kSlotStatus = 0x1a,
                          kRootControl = 0x1c, kLinkControl2 = 0x30;
inline constexpr unsigned kExpressBody = 0x3a;  // version 2, without id and next

struct LinkControl : Register<LinkControl, uint16_t> {  // 7.5.3.7
    static constexpr Field<LinkControl, bool, 4> LINK_DISABLE{};
    using Register::Register;
};
inline constexpr uint16_t kLinkControlWritable = 0x00db, kLinkActive = 1 << 13;   // Data Link Layer Link Active (7.5.3.8)
inline constexpr uint16_t kSpeed2_5 = 1, kWidth1 = 1 << 4;                        // in link capabilities and status

/// An indicator's state (7.5.3.10).
enum class Indicator : uint8_t { Reserved = 0, On = 1, Blink = 2, Off = 3 };
struct SlotControl : Register<SlotControl, uint16_t> {  // 7.5.3.10
    static constexpr Field<SlotControl, bool, 4> COMMAND_COMPLETED_ENABLE{};
    static constexpr Field<SlotControl, bool, 5> HOT_PLUG_INTERRUPT_ENABLE{};
    static constexpr Field<SlotControl, Indicator, 6, 2> ATTENTION_INDICATOR{};
    static constexpr Field<SlotControl, Indicator, 8, 2> POWER_INDICATOR{};
    static constexpr Field<SlotControl, bool, 10> POWER_OFF{};
    static constexpr Field<SlotControl, bool, 12> LINK_CHANGED_ENABLE{};
    using Register::Register;
};
inline constexpr uint16_t kSlotControlWritable = 0x17fb;  // no retention latch, no interlock
inline constexpr uint16_t kSlotEvents = 0x1f;             // the enable bits 4:0 of control are the event bits 4:0 of status

// Slot status (7.5.3.11).
inline constexpr uint16_t kAttentionPressed = 1 << 0, kPresenceChanged = 1 << 3, kCommandCompleted = 1 << 4, kPresence = 1 << 6,
                          kLinkChanged = 1 << 8;
inline constexpr uint16_t kSlotStatusEvents = kAttentionPressed | kPresenceChanged | kCommandCompleted | kLinkChanged;

// Slot capabilities (7.5.3.9).
inline constexpr uint32_t kHasAttentionButton = 1 << 0, kHasPowerController = 1 << 1, kHasAttentionIndicator = 1 << 3, kHasPowerIndicator = 1 << 4,
                          kHotPlugSurprise = 1 << 5, kHotPlugCapable = 1 << 6;
inline constexpr unsigned kSlotNumberShift = 19, kMaxSlotNumber = 0x1fff;

}  // namespace yado::pci
