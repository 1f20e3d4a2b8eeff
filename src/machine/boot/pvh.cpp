// ELF kernels with a PVH entry (Xen docs/misc/pvh.pandoc; struct hvm_start_info of xen/include/public/arch-x86/hvm/start_info.h).
#include "machine/boot/parts.h"

namespace yado::machine::boot {

namespace {

constexpr uint32_t kStartMagic = 0x336ec578;

struct StartInfo {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
    uint32_t memmap_entries, reserved;
};
struct Module {
    uint64_t paddr, size, cmdline_paddr, reserved;
};
struct MemMapEntry {
    uint64_t addr, size;
    uint32_t type, reserved;
};
constexpr uint64_t kModuleOffset = 0x100;  // in the start info page

}  // namespace

Result<Entry> load_pvh(mem::GuestMemory& memory, const Layout& layout, const KernelSpec& spec, uint32_t entry) {
    const GuestPhysAddr end = YADO_TRY(load_elf(memory, layout, spec.kernel));
    YADO_TRY(put_command_line(memory, spec.command_line, kCommandLineMax - 1));
    StartInfo info{.magic = kStartMagic, .version = 1, .cmdline_paddr = kCommandLineAddress.value(), .rsdp_paddr = spec.rsdp.value(),
                   .memmap_paddr = kMemoryMapAddress.value()};
    std::vector<MemMapEntry> map;
    for (const MapEntry& e : layout.map()) map.push_back({e.start.value(), e.size.value(), static_cast<uint32_t>(e.type), 0});
    info.memmap_entries = static_cast<uint32_t>(map.size());
    YADO_TRY(memory.write(kMemoryMapAddress, std::as_bytes(std::span(map))));
    if (!spec.initrd.empty()) {
        const auto at = YADO_TRY(place_high(layout, Bytes(spec.initrd.size()), layout.low_end().value(), end, fmt::format("initrd {}", spec.initrd_name)));
        YADO_TRY(memory.write(at, spec.initrd));
        info.nr_modules = 1;
        info.modlist_paddr = kStartInfoAddress.value() + kModuleOffset;
        YADO_TRY(memory.store(GuestPhysAddr(info.modlist_paddr), Module{at.value(), spec.initrd.size(), 0, 0}));
    }
    YADO_TRY(memory.store(kStartInfoAddress, info));
    return Entry{Protocol::Pvh, flat_protected_mode(entry, static_cast<uint32_t>(kStartInfoAddress.value()))};
}

}  // namespace yado::machine::boot
