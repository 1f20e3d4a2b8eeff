// PCI Local Bus Specification 3.0, section 6.1 (type 0 header) and 6.8.2 (MSI-X); PCI-to-PCI Bridge Architecture 1.2, 3.2
// (type 1 header).
#pragma once

#include <cstdint>

#include "base/register.h"

namespace yado::pci {

inline constexpr uint16_t kVendorId = 0x00, kDeviceId = 0x02, kCommand = 0x04, kStatus = 0x06, kRevision = 0x08,
                          kClassCode = 0x09, kCacheLine = 0x0c, kHeaderType = 0x0e, kBar0 = 0x10,
                          kSubsystemVendor = 0x2c, kSubsystemId = 0x2e, kCapabilityPointer = 0x34,
                          kInterruptLine = 0x3c, kInterruptPin = 0x3d;
inline constexpr uint16_t kFirstCapability = 0x40, kConventionalSize = 0x100, kExpressSize = 0x1000;

struct CommandRegister : Register<CommandRegister, uint16_t> {  // 6.2.2
    static constexpr Field<CommandRegister, bool, 0> IO_SPACE{};
    static constexpr Field<CommandRegister, bool, 1> MEMORY_SPACE{};
    static constexpr Field<CommandRegister, bool, 2> BUS_MASTER{};
    static constexpr Field<CommandRegister, bool, 10> INTERRUPT_DISABLE{};
    using Register::Register;
};
inline constexpr uint16_t kCommandWritable = 0x0547;  // I/O, memory, master, parity, SERR#, INTx disable

inline constexpr uint16_t kStatusInterrupt = 1 << 3, kStatusCapabilities = 1 << 4;  // 6.2.3

// Type 1 header (bridges).
inline constexpr uint8_t kBridgeHeader = 1;
inline constexpr uint16_t kPrimaryBus = 0x18, kSecondaryBus = 0x19, kSubordinateBus = 0x1a, kMemoryBase = 0x20, kMemoryLimit = 0x22,
                          kPrefetchBase = 0x24, kPrefetchLimit = 0x26, kPrefetchBaseUpper = 0x28, kPrefetchLimitUpper = 0x2c,
                          kBridgeControl = 0x3e;
inline constexpr uint16_t kWindow64 = 1;  // in base and limit: the upper 32 bits are there
struct BridgeControl : Register<BridgeControl, uint16_t> {  // 3.2.5.18
    static constexpr Field<BridgeControl, bool, 6> SECONDARY_BUS_RESET{};
    using Register::Register;
};

enum class CapabilityId : uint8_t { Vendor = 0x09, Express = 0x10, Msix = 0x11 };

inline constexpr uint16_t kMsixControl = 2;  // offset inside the capability, 6.8.2.3
struct MsixControl : Register<MsixControl, uint16_t> {
    static constexpr Field<MsixControl, bool, 14> FUNCTION_MASK{};
    static constexpr Field<MsixControl, bool, 15> ENABLE{};
    using Register::Register;
};

}  // namespace yado::pci
