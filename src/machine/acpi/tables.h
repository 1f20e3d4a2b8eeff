// The ACPI tables of the machine, made by our own code: RSDP, XSDT, FADT, FACS, DSDT, MADT, MCFG, HPET (ACPI 6.5, chapter 5).
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/error.h"
#include "base/units.h"
#include "mem/guest_memory.h"

namespace yado::machine::acpi {

// Where the ICH9-like power management block sits (ACPI 6.5, 4.8.3); lpc/ implements it.
inline constexpr Port kPmBase{0x600};
inline constexpr uint16_t kPm1aEvent = 0x600, kPm1aControl = 0x604, kPmTimer = 0x608, kGpe0 = 0x620;
inline constexpr uint8_t kGpe0Length = 16;
inline constexpr uint8_t kSciIrq = 9;
/// SLP_TYP that means S5 in PM1a_CNT, as \_S5 says.
inline constexpr uint8_t kSleepTypeS5 = 0;
inline constexpr uint8_t kCenturyByte = 0x32;  ///< CMOS index (FADT CENTURY)
/// Slot s, pin p (0 = INTA) is wired to this IOAPIC pin: \_SB.PCI0._PRT says so, the PCI host does so.
constexpr unsigned pci_gsi(unsigned slot, unsigned pin) { return 16 + (slot + pin) % 8; }

struct MachineDescription {
    uint32_t vcpus = 1;
    unsigned physical_address_bits = 46;  ///< of the guest's processors: the 64-bit PCI window is where they reach it
    bool hotplug_ports = false;           ///< there are PCI Express slots that cards come and go in
    bool pvpanic = true;
    bool serial1 = true;
};

/// All tables as they lie in guest memory, keyed by signature ("DSDT"), for tests and `iasl`.
struct Tables {
    GuestPhysAddr rsdp;
    std::map<std::string, std::string> by_signature;
};

/// Lays the tables out from kAcpiStart and writes them. Errors: Failed (more vCPUs than the tables' area describes).
Result<Tables> install(mem::GuestMemory& memory, const MachineDescription& machine);

}  // namespace yado::machine::acpi
