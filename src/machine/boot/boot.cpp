#include "machine/boot/boot.h"

#include <algorithm>
#include <array>

#include "machine/boot/parts.h"

namespace yado::machine::boot {

Result<GuestPhysAddr> place_high(const Layout& layout, Bytes size, uint64_t limit, GuestPhysAddr floor, std::string_view what) {
    const uint64_t top = page_down(std::min(layout.low_end().value(), limit));
    if (size.value() > top || page_down(top - size.value()) < floor.value())
        return fail(ErrorKind::Failed, "{}: {} MiB does not fit into the guest's memory beside the kernel; give more --memory",
                    what, (size.value() + (1 << 20) - 1) >> 20);
    return GuestPhysAddr(page_down(top - size.value()));
}

Result<> put_command_line(mem::GuestMemory& memory, const std::string& line, uint64_t max) {
    if (line.size() > max || line.size() >= kCommandLineMax)
        return fail(ErrorKind::Usage, "kernel command line: {} characters, the kernel takes {}", line.size(),
                    std::min(max, kCommandLineMax - 1));
    return memory.write(kCommandLineAddress, std::as_bytes(std::span(line.c_str(), line.size() + 1)));
}

Result<> put_zeroes(mem::GuestMemory& memory, uint64_t start, uint64_t size) {
    static constexpr std::array<std::byte, kPageSize> kZeroes{};
    for (uint64_t done = 0; done < size;) {
        const uint64_t n = std::min<uint64_t>(size - done, kZeroes.size());
        YADO_TRY(memory.write(GuestPhysAddr(start + done), std::span(kZeroes).first(n)));
        done += n;
    }
    return {};
}

Result<> check_load_range(const Layout& layout, uint64_t start, uint64_t size, std::string_view what) {
    uint64_t end = 0;
    const bool wraps = __builtin_add_overflow(start, size, &end);
    const bool high = !wraps && start >= kOneMiB.value() && end <= layout.low_end().value();
    const bool low = !wraps && start >= kCommandLineAddress.value() + kCommandLineMax && end <= kEbdaStart.value();
    if (high || low) return {};
    return fail(ErrorKind::Failed, "{} wants {:#x}, {} bytes, which is not free guest memory; give more --memory?", what, start, size);
}

cpu::CpuState flat_protected_mode(uint32_t entry, uint32_t rbx) {
    cpu::CpuState s = cpu::reset_state();
    const cpu::Segment data{.selector = 0x18, .attr = 0xc093, .limit = 0xffffffff, .base = 0};
    s.seg.fill(data);
    s.seg[cpu::CS] = {.selector = 0x10, .attr = 0xc09b, .limit = 0xffffffff, .base = 0};
    s.tr = {.selector = 0, .attr = 0x8b, .limit = 0x67, .base = 0};
    s.cr0 = cpu::cr0::PE | cpu::cr0::ET;
    s.rip = entry;
    s.gpr[cpu::RBX] = rbx;
    return s;
}

namespace {

Result<Entry> dispatch(mem::GuestMemory& memory, const Layout& layout, const KernelSpec& spec) {
    constexpr size_t kHdrSOffset = 0x202;
    if (is_elf(spec.kernel)) {
        const ElfInfo info = YADO_TRY(inspect_elf(spec.kernel));
        if (info.pvh_entry) return load_pvh(memory, layout, spec, *info.pvh_entry);
    } else if (spec.kernel.size() > kHdrSOffset + 4 && std::memcmp(spec.kernel.data() + kHdrSOffset, "HdrS", 4) == 0) {
        return load_bzimage(memory, layout, spec);
    }
    if (const auto header = find_multiboot(spec.kernel)) return load_multiboot(memory, layout, spec, *header);
    if (is_elf(spec.kernel))
        return fail(ErrorKind::Failed, "an ELF file without a PVH entry note or a multiboot header; give a bzImage or a kernel built with CONFIG_PVH");
    return fail(ErrorKind::Failed, "not a kernel: no bzImage, no ELF with a PVH note, no multiboot header");
}

}  // namespace

Result<Entry> load(mem::GuestMemory& memory, const Layout& layout, const KernelSpec& spec) {
    Result<Entry> entry = dispatch(memory, layout, spec);
    if (!entry) return std::unexpected(entry.error().within(fmt::format("kernel {}", spec.name)));
    return entry;
}

}  // namespace yado::machine::boot
