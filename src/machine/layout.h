// The guest's physical memory map: laid out here and nowhere else.
//
//   0 .. A0000              RAM (first page: real-mode IVT and BIOS data area; 7000 up to 9FC00: boot structures)
//   A0000 .. C0000          nothing (VGA's hole)
//   C0000 .. 100000         RAM that the guest is not told of, but for E0000 on, reserved: the ACPI tables
//   100000 .. low end       RAM, low end at most 2 GiB
//   B0000000 .. C0000000    ECAM
//   C0000000 .. FEC00000    32-bit PCI window
//   FEC00000, FED00000, FEE00000   IOAPIC, HPET, local APICs
//   100000000 ..            the rest of RAM
//   pci_window64() ..       64-bit PCI window, above all RAM
#pragma once

#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "mem/guest_memory.h"

namespace yado::machine {

inline constexpr Bytes kLowRamMax = 2_GiB;
inline constexpr GuestPhysAddr kLegacyHoleStart{0xa0000}, kLegacyRomStart{0xc0000}, kAcpiStart{0xe0000}, kOneMiB{0x100000};
inline constexpr Bytes kAcpiSize = 128_KiB;
inline constexpr GuestPhysAddr kEbdaStart{0x9fc00};
inline constexpr GuestPhysAddr kEcamStart{0xb0000000};
inline constexpr Bytes kEcamSize = 256_MiB;
inline constexpr GuestPhysAddr kPciWindow32{0xc0000000};
inline constexpr Bytes kPciWindow32Size{0xfec00000 - 0xc0000000};
inline constexpr GuestPhysAddr kIoapicAddress{0xfec00000}, kHpetAddress{0xfed00000}, kLapicAddress{0xfee00000};
inline constexpr GuestPhysAddr kHighRamStart{0x100000000};
/// The 64-bit PCI window: what the processor can address decides where it is (46 bits: from 16 TiB, 4 TiB).
constexpr GuestPhysAddr pci_window64(unsigned physical_address_bits) { return GuestPhysAddr(1ull << (physical_address_bits - 2)); }
constexpr Bytes pci_window64_size(unsigned physical_address_bits) { return Bytes(1ull << (physical_address_bits - 4)); }

/// ACPI address range types (ACPI 6.5, table 15.2), as e820 and PVH spell them.
enum class RangeType : uint32_t { Ram = 1, Reserved = 2, Acpi = 3 };
struct MapEntry {
    GuestPhysAddr start;
    Bytes size;
    RangeType type;
};

class Layout {
  public:
    /// `ram` is a multiple of 4 KiB, at least 4 MiB and below the 64-bit PCI window. Errors: Usage.
    static Result<Layout> create(Bytes ram, unsigned physical_address_bits = 46);

    Bytes ram() const { return ram_; }
    /// End of the RAM below 4 GiB.
    GuestPhysAddr low_end() const { return low_end_; }
    Bytes high_ram() const { return high_; }
    /// What the guest is told (e820, PVH memory map), ascending.
    std::vector<MapEntry> map() const;
    /// Adds the RAM to `memory`.
    Result<> populate(mem::GuestMemory& memory) const;

  private:
    Bytes ram_;
    GuestPhysAddr low_end_;
    Bytes high_;
};

}  // namespace yado::machine
