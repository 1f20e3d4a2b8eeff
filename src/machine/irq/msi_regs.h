// Message address and data (Intel SDM vol. 3, 11.11.1 and 11.11.2).
#pragma once

#include "bus/irq.h"
#include "machine/irq/ioapic_regs.h"

namespace yado::machine {

struct MsiAddress : Register<MsiAddress, uint32_t> {
    using Register::Register;
    static constexpr Field<MsiAddress, DestinationMode, 2> DESTINATION_MODE{};
    static constexpr Field<MsiAddress, bool, 3> REDIRECTION_HINT{};
    static constexpr Field<MsiAddress, uint8_t, 5, 7> DESTINATION_EXTENDED{};  // KVM_FEATURE_MSI_EXT_DEST_ID
    static constexpr Field<MsiAddress, uint8_t, 12, 8> DESTINATION{};
    static constexpr Field<MsiAddress, uint16_t, 20, 12> BASE{};
};
inline constexpr uint16_t kMsiBase = 0xfee;

struct MsiData : Register<MsiData, uint32_t> {
    using Register::Register;
    static constexpr Field<MsiData, uint8_t, 0, 8> VECTOR{};
    static constexpr Field<MsiData, DeliveryMode, 8, 3> DELIVERY_MODE{};
    static constexpr Field<MsiData, bool, 14> LEVEL_ASSERT{};
    static constexpr Field<MsiData, TriggerMode, 15> TRIGGER_MODE{};
};

}  // namespace yado::machine
