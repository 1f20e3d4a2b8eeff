// Direct kernel boot: recognizes the kernel's format, loads it, lays out what its boot protocol asks for, and gives the
// state in which the boot processor enters it.
//
//   bzImage     Linux boot protocol >= 2.12, 64-bit entry (Linux Documentation/arch/x86/boot.rst, "64-bit boot protocol")
//   ELF + PVH   XEN_ELFNOTE_PHYS32_ENTRY (Xen docs/misc/pvh.pandoc)
//   multiboot   Multiboot 1 (0.6.96), ELF or address fields
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "cpu/state.h"
#include "machine/layout.h"
#include "mem/guest_memory.h"

namespace yado::machine::boot {

struct KernelSpec {
    std::string name;                              ///< as the user gave it, for errors
    std::span<const std::byte> kernel;
    std::string initrd_name;
    std::span<const std::byte> initrd;             ///< empty: none
    std::string command_line;
    GuestPhysAddr rsdp;                            ///< where acpi/ put it
};

enum class Protocol : uint8_t { Linux64, Pvh, Multiboot };
struct Entry {
    Protocol protocol;
    cpu::CpuState state;
};

/// Loads into RAM that `layout` populated. Errors: Corrupt (truncated, contradictory), Failed (no entry that we can
/// use, does not fit); nothing depends on what was written when it fails.
Result<Entry> load(mem::GuestMemory& memory, const Layout& layout, const KernelSpec& spec);

}  // namespace yado::machine::boot
