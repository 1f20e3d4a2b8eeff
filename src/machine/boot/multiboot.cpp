// Multiboot Specification 0.6.96: header (3.1), machine state (3.2), information structure (3.3).
#include <algorithm>

#include "machine/boot/parts.h"

namespace yado::machine::boot {

namespace {

constexpr uint32_t kHeaderMagic = 0x1badb002, kBootMagic = 0x2badb002;
constexpr uint32_t kPageAlign = 1, kMemoryInfo = 2, kVideoMode = 4, kAddressFields = 1u << 16;
constexpr uint32_t kMandatory = 0xffff;
constexpr uint64_t kSearchWindow = 8192;

struct Header {
    uint32_t magic, flags, checksum;
};
struct AddressFields {
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};
struct Info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length, mmap_addr, drives_length,
        drives_addr, config_table, boot_loader_name, apm_table;
};
constexpr uint32_t kInfoMemory = 1, kInfoCmdline = 4, kInfoModules = 8, kInfoMmap = 64, kInfoLoaderName = 512;
struct [[gnu::packed]] MmapEntry {
    uint32_t size;
    uint64_t addr, length;
    uint32_t type;
};
struct Module {
    uint32_t start, end, string, reserved;
};
constexpr uint64_t kModuleOffset = 0x100, kNameOffset = 0x200;  // in the start info page

struct Loaded {
    uint32_t entry;
    GuestPhysAddr end;
};

/// The kernel brings its own addresses (header flag 16) instead of ELF segments.
Result<Loaded> load_by_addresses(mem::GuestMemory& memory, const Layout& layout, std::span<const std::byte> file, uint32_t header_offset) {
    const auto a = YADO_TRY(read_at<AddressFields>(file, header_offset + sizeof(Header), "multiboot address fields"));
    if (a.load_addr > a.header_addr || a.header_addr - a.load_addr > header_offset)
        return fail(ErrorKind::Corrupt, "multiboot load address {:#x} contradicts its header address {:#x}", a.load_addr, a.header_addr);
    const uint64_t start = header_offset - (a.header_addr - a.load_addr);
    const uint64_t size = a.load_end_addr ? uint64_t{a.load_end_addr} - a.load_addr : file.size() - start;
    if ((a.load_end_addr && a.load_end_addr < a.load_addr) || size == 0 || size > file.size() - start)
        return fail(ErrorKind::Corrupt, "multiboot load range {:#x} to {:#x} is not in the file", a.load_addr, a.load_end_addr);
    const uint64_t end = std::max<uint64_t>(a.load_addr + size, a.bss_end_addr);
    YADO_TRY(check_load_range(layout, a.load_addr, end - a.load_addr, "the kernel"));
    if (a.entry_addr < a.load_addr || a.entry_addr >= end)
        return fail(ErrorKind::Corrupt, "multiboot entry {:#x} lies outside the kernel", a.entry_addr);
    YADO_TRY(memory.write(GuestPhysAddr(a.load_addr), file.subspan(start, size)));
    YADO_TRY(put_zeroes(memory, a.load_addr + size, end - a.load_addr - size));
    return Loaded{a.entry_addr, GuestPhysAddr(end)};
}

Result<Loaded> load_image(mem::GuestMemory& memory, const Layout& layout, std::span<const std::byte> file, uint32_t header_offset, uint32_t flags) {
    if (flags & kAddressFields) return load_by_addresses(memory, layout, file, header_offset);
    if (!is_elf(file)) return fail(ErrorKind::Failed, "multiboot kernel that is neither ELF nor has address fields");
    const ElfInfo info = YADO_TRY(inspect_elf(file));
    const GuestPhysAddr end = YADO_TRY(load_elf(memory, layout, file));
    return Loaded{static_cast<uint32_t>(info.entry), end};
}

Result<uint32_t> put_memory_map(mem::GuestMemory& memory, const Layout& layout) {
    std::vector<MmapEntry> map;
    for (const MapEntry& e : layout.map())
        map.push_back({sizeof(MmapEntry) - 4, e.start.value(), e.size.value(), static_cast<uint32_t>(e.type)});
    YADO_TRY(memory.write(kMemoryMapAddress, std::as_bytes(std::span(map))));
    return static_cast<uint32_t>(map.size() * sizeof(MmapEntry));
}

}  // namespace

std::optional<uint32_t> find_multiboot(std::span<const std::byte> file) {
    const uint64_t end = std::min<uint64_t>(file.size(), kSearchWindow);
    for (uint64_t at = 0; at + sizeof(Header) <= end; at += 4) {
        Header h;
        std::memcpy(&h, file.data() + at, sizeof h);
        if (h.magic == kHeaderMagic && h.magic + h.flags + h.checksum == 0) return static_cast<uint32_t>(at);
    }
    return std::nullopt;
}

Result<Entry> load_multiboot(mem::GuestMemory& memory, const Layout& layout, const KernelSpec& spec, uint32_t header_offset) {
    const auto h = YADO_TRY(read_at<Header>(spec.kernel, header_offset, "multiboot header"));
    if (const uint32_t unknown = h.flags & kMandatory & ~(kPageAlign | kMemoryInfo))
        return fail(ErrorKind::Failed, "multiboot kernel asks for {} (flags {:#x})", unknown & kVideoMode ? "a video mode" : "unknown features", unknown);
    const Loaded loaded = YADO_TRY(load_image(memory, layout, spec.kernel, header_offset, h.flags));
    YADO_TRY(put_command_line(memory, spec.command_line, kCommandLineMax - 1));

    Info info{};
    info.flags = kInfoMemory | kInfoCmdline | kInfoMmap | kInfoLoaderName;
    info.mem_lower = static_cast<uint32_t>(kEbdaStart.value() >> 10);
    info.mem_upper = static_cast<uint32_t>((layout.low_end() - kOneMiB).value() >> 10);
    info.cmdline = static_cast<uint32_t>(kCommandLineAddress.value());
    info.mmap_addr = static_cast<uint32_t>(kMemoryMapAddress.value());
    info.mmap_length = YADO_TRY(put_memory_map(memory, layout));
    info.boot_loader_name = static_cast<uint32_t>(kStartInfoAddress.value() + kNameOffset);
    YADO_TRY(memory.write(GuestPhysAddr(info.boot_loader_name), std::as_bytes(std::span("yado"))));
    if (!spec.initrd.empty()) {
        const auto at = YADO_TRY(place_high(layout, Bytes(spec.initrd.size()), layout.low_end().value(), loaded.end, fmt::format("initrd {}", spec.initrd_name)));
        YADO_TRY(memory.write(at, spec.initrd));
        info.flags |= kInfoModules;
        info.mods_count = 1;
        info.mods_addr = static_cast<uint32_t>(kStartInfoAddress.value() + kModuleOffset);
        YADO_TRY(memory.store(GuestPhysAddr(info.mods_addr),
                              Module{static_cast<uint32_t>(at.value()), static_cast<uint32_t>(at.value() + spec.initrd.size()), info.cmdline, 0}));
    }
    YADO_TRY(memory.store(kStartInfoAddress, info));
    Entry entry{Protocol::Multiboot, flat_protected_mode(loaded.entry, static_cast<uint32_t>(kStartInfoAddress.value()))};
    entry.state.gpr[cpu::RAX] = kBootMagic;
    return entry;
}

}  // namespace yado::machine::boot
