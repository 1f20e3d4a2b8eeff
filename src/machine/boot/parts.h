// What the three boot protocols share.
#pragma once

#include <cstring>

#include "machine/boot/boot.h"

namespace yado::machine::boot {

// Boot structures, in RAM below 640 KiB that every protocol leaves to us.
inline constexpr GuestPhysAddr kGdtAddress{0x6000};
inline constexpr GuestPhysAddr kStartInfoAddress{0x7000};     // boot_params, hvm_start_info or multiboot info: one page
inline constexpr GuestPhysAddr kMemoryMapAddress{0x8000};     // PVH and multiboot: memory map, module list
inline constexpr GuestPhysAddr kPageTableAddress{0x9000};     // six pages
inline constexpr GuestPhysAddr kCommandLineAddress{0x20000};
inline constexpr uint64_t kCommandLineMax = 65'536;

/// Bounds-checked reads of a structure out of a file.
template <typename T>
Result<T> read_at(std::span<const std::byte> file, uint64_t offset, std::string_view what) {
    if (offset > file.size() || sizeof(T) > file.size() - offset)
        return fail(ErrorKind::Corrupt, "truncated: {} at {:#x} lies beyond its {} bytes", what, offset, file.size());
    T value;
    std::memcpy(&value, file.data() + offset, sizeof(T));
    return value;
}

/// Where in low RAM [size] fits, as high as possible below `limit`, page-aligned, not below `floor`.
Result<GuestPhysAddr> place_high(const Layout& layout, Bytes size, uint64_t limit, GuestPhysAddr floor, std::string_view what);

/// Copies the command line with its NUL. Errors: Usage when longer than `max` (without NUL).
Result<> put_command_line(mem::GuestMemory& memory, const std::string& line, uint64_t max);

/// Zeroes what a kernel wants zeroed: RAM keeps its contents over a reset.
Result<> put_zeroes(mem::GuestMemory& memory, uint64_t start, uint64_t size);

/// True where [start, start+size) is RAM above 1 MiB or in the free part below it, and clear of our boot structures.
Result<> check_load_range(const Layout& layout, uint64_t start, uint64_t size, std::string_view what);

/// Flat 32-bit protected mode without paging: what PVH and multiboot enter with.
cpu::CpuState flat_protected_mode(uint32_t entry, uint32_t rbx);

Result<Entry> load_bzimage(mem::GuestMemory& memory, const Layout& layout, const KernelSpec& spec);
Result<Entry> load_pvh(mem::GuestMemory& memory, const Layout& layout, const KernelSpec& spec, uint32_t entry);
Result<Entry> load_multiboot(mem::GuestMemory& memory, const Layout& layout, const KernelSpec& spec, uint32_t header_offset);

/// ELF (elf.cpp): loads every PT_LOAD to its p_paddr. Returns the end of the highest segment.
struct ElfInfo {
    uint64_t entry = 0;
    std::optional<uint32_t> pvh_entry;
};
bool is_elf(std::span<const std::byte> file);
Result<ElfInfo> inspect_elf(std::span<const std::byte> file);
Result<GuestPhysAddr> load_elf(mem::GuestMemory& memory, const Layout& layout, std::span<const std::byte> file);
/// Offset of a Multiboot 1 header in the first 8 KiB, if there is one (Multiboot 0.6.96, 3.1).
std::optional<uint32_t> find_multiboot(std::span<const std::byte> file);

}  // namespace yado::machine::boot
