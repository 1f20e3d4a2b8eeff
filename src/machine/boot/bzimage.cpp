// Linux bzImage by the 64-bit boot protocol (Linux Documentation/arch/x86/boot.rst; zero-page.rst for boot_params).
#include <algorithm>

#include "base/bytes.h"
#include "machine/boot/parts.h"

namespace yado::machine::boot {

namespace {

// struct setup_header from file offset 0x1f1 (boot.rst, "The Real-Mode Kernel Header").
struct [[gnu::packed]] SetupHeader {
    uint8_t setup_sects;
    uint16_t root_flags;
    uint32_t syssize;
    uint16_t ram_size, vid_mode, root_dev, boot_flag, jump;
    uint32_t header;
    uint16_t version;
    uint32_t realmode_swtch;
    uint16_t start_sys_seg, kernel_version;
    uint8_t type_of_loader, loadflags;
    uint16_t setup_move_size;
    uint32_t code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
    uint16_t heap_end_ptr;
    uint8_t ext_loader_ver, ext_loader_type;
    uint32_t cmd_line_ptr, initrd_addr_max, kernel_alignment;
    uint8_t relocatable_kernel, min_alignment;
    uint16_t xloadflags;
    uint32_t cmdline_size, hardware_subarch;
    uint64_t hardware_subarch_data;
    uint32_t payload_offset, payload_length;
    uint64_t setup_data, pref_address;
    uint32_t init_size, handover_offset, kernel_info_offset;
};

constexpr uint64_t kSetupHeaderOffset = 0x1f1;
constexpr uint16_t kBootFlag = 0xaa55, kVersionWith64BitEntry = 0x020c, kXlf64 = 1;
constexpr uint8_t kLoadedHigh = 1, kLoaderUndefined = 0xff;
constexpr uint64_t kEntry64 = 0x200;

// boot_params offsets (zero-page.rst).
constexpr uint64_t kAcpiRsdpAddr = 0x070, kExtRamdiskImage = 0x0c0, kExtRamdiskSize = 0x0c4, kE820Entries = 0x1e8, kE820Table = 0x2d0;
constexpr size_t kE820Max = 128;

struct [[gnu::packed]] E820Entry {
    uint64_t addr, size;
    uint32_t type;
};

Result<SetupHeader> read_setup_header(std::span<const std::byte> kernel) {
    const auto h = YADO_TRY(read_at<SetupHeader>(kernel, kSetupHeaderOffset, "bzImage header"));
    if (h.boot_flag != kBootFlag) return fail(ErrorKind::Corrupt, "bzImage without its boot signature");
    if (h.version < kVersionWith64BitEntry || !(h.xloadflags & kXlf64))
        return fail(ErrorKind::Failed, "bzImage without a 64-bit entry (boot protocol {}.{:02}); a 64-bit kernel of 3.8 or later is needed",
                    h.version >> 8, h.version & 0xff);
    if (!(h.loadflags & kLoadedHigh)) return fail(ErrorKind::Failed, "zImage, not bzImage");
    return h;
}

/// Identity-maps the first 4 GiB with 2 MiB pages: PML4, PDPT, four page directories.
Result<> put_page_tables(mem::GuestMemory& memory) {
    constexpr uint64_t kPresentWrite = 3, kLarge = 0x80;
    const uint64_t base = kPageTableAddress.value();
    YADO_TRY(memory.store<uint64_t>(GuestPhysAddr(base), (base + kPageSize) | kPresentWrite));
    for (uint64_t gib = 0; gib < 4; ++gib) {
        const uint64_t directory = base + (2 + gib) * kPageSize;
        YADO_TRY(memory.store<uint64_t>(GuestPhysAddr(base + kPageSize + 8 * gib), directory | kPresentWrite));
        for (uint64_t n = 0; n < 512; ++n)
            YADO_TRY(memory.store<uint64_t>(GuestPhysAddr(directory + 8 * n), (gib << 30 | n << 21) | kPresentWrite | kLarge));
    }
    return {};
}

/// __BOOT_CS 10h and __BOOT_DS 18h, as the protocol asks.
Result<> put_gdt(mem::GuestMemory& memory) {
    constexpr uint64_t kGdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};
    return memory.write(kGdtAddress, std::as_bytes(std::span(kGdt)));
}

cpu::CpuState long_mode_entry(uint64_t rip) {
    cpu::CpuState s = cpu::reset_state();
    s.seg.fill({.selector = 0x18, .attr = 0xc093, .limit = 0xffffffff, .base = 0});
    s.seg[cpu::CS] = {.selector = 0x10, .attr = 0xa09b, .limit = 0xffffffff, .base = 0};
    s.tr = {.selector = 0, .attr = 0x8b, .limit = 0x67, .base = 0};
    s.gdtr = {.limit = 31, .base = kGdtAddress.value()};
    s.idtr = {.limit = 0, .base = 0};
    s.cr0 = cpu::cr0::PE | cpu::cr0::ET | cpu::cr0::NE | cpu::cr0::PG | cpu::cr0::WP | cpu::cr0::MP;
    s.cr3 = kPageTableAddress.value();
    s.cr4 = cpu::cr4::PAE;
    s.efer = cpu::efer::LME | cpu::efer::LMA;
    s.rip = rip;
    s.gpr[cpu::RSI] = kStartInfoAddress.value();
    return s;
}

Result<> put_e820(std::span<std::byte> params, const Layout& layout) {
    const auto map = layout.map();
    if (map.size() > kE820Max) return fail(ErrorKind::Failed, "memory map of {} ranges", map.size());
    params[kE820Entries] = static_cast<std::byte>(map.size());
    for (size_t n = 0; n < map.size(); ++n)
        store_le(params.data() + kE820Table + n * sizeof(E820Entry),
                 E820Entry{map[n].start.value(), map[n].size.value(), static_cast<uint32_t>(map[n].type)});
    return {};
}

struct Placement {
    GuestPhysAddr kernel;
    Bytes kernel_size;
};

/// Where the protected-mode part goes and that it, and the memory it says it needs to unpack, is there.
Result<Placement> place_kernel(const Layout& layout, const SetupHeader& h, uint64_t body) {
    const uint64_t start = h.relocatable_kernel ? std::max<uint64_t>(h.pref_address, kOneMiB.value()) : h.code32_start;
    const uint64_t need = std::max<uint64_t>(body, h.init_size);
    YADO_TRY(check_load_range(layout, start, need, "the kernel"));
    return Placement{GuestPhysAddr(start), Bytes(need)};
}

}  // namespace

Result<Entry> load_bzimage(mem::GuestMemory& memory, const Layout& layout, const KernelSpec& spec) {
    SetupHeader h = YADO_TRY(read_setup_header(spec.kernel));
    const uint64_t setup_sects = h.setup_sects ? h.setup_sects : 4;  // boot.rst: 0 means 4
    const uint64_t body_offset = (setup_sects + 1) * 512;
    if (body_offset + kEntry64 >= spec.kernel.size())
        return fail(ErrorKind::Corrupt, "truncated: the bzImage ends before its protected-mode part");
    const auto body = spec.kernel.subspan(body_offset);
    // boot.rst: syssize counts 16-byte paragraphs of protected-mode code; a file that ends before is cut off.
    if (static_cast<uint64_t>(h.syssize) * 16 > body.size() + 15)
        return fail(ErrorKind::Corrupt, "truncated: the bzImage has {} bytes of the {} that its header names", body.size(), uint64_t{h.syssize} * 16);
    const Placement place = YADO_TRY(place_kernel(layout, h, body.size()));
    YADO_TRY(memory.write(place.kernel, body));
    YADO_TRY(put_command_line(memory, spec.command_line, h.cmdline_size));

    h.type_of_loader = kLoaderUndefined;
    h.cmd_line_ptr = static_cast<uint32_t>(kCommandLineAddress.value());
    std::vector<std::byte> params(kPageSize);
    if (!spec.initrd.empty()) {
        const uint64_t limit = h.initrd_addr_max ? uint64_t{h.initrd_addr_max} + 1 : layout.low_end().value();
        const auto at = YADO_TRY(place_high(layout, Bytes(spec.initrd.size()), limit, place.kernel + place.kernel_size,
                                            fmt::format("initrd {}", spec.initrd_name)));
        YADO_TRY(memory.write(at, spec.initrd));
        h.ramdisk_image = static_cast<uint32_t>(at.value());
        h.ramdisk_size = static_cast<uint32_t>(spec.initrd.size());
        store_le(params.data() + kExtRamdiskImage, static_cast<uint32_t>(at.value() >> 32));
        store_le(params.data() + kExtRamdiskSize, static_cast<uint32_t>(spec.initrd.size() >> 32));
    }
    std::memcpy(params.data() + kSetupHeaderOffset, &h, sizeof h);
    store_le(params.data() + kAcpiRsdpAddr, spec.rsdp.value());
    YADO_TRY(put_e820(params, layout));
    YADO_TRY(memory.write(kStartInfoAddress, params));
    YADO_TRY(put_page_tables(memory));
    YADO_TRY(put_gdt(memory));
    return Entry{Protocol::Linux64, long_mode_entry(place.kernel.value() + kEntry64)};
}

}  // namespace yado::machine::boot
