// ELF kernels, 32 and 64 bit (System V gABI chapters 4 and 5); the PVH note (Xen docs/misc/pvh.pandoc).
#include <elf.h>

#include <algorithm>

#include "machine/boot/parts.h"

namespace yado::machine::boot {

namespace {

constexpr uint32_t kXenElfnotePhys32Entry = 18;  // xen/include/public/elfnote.h
constexpr uint16_t kMaxProgramHeaders = 256;

struct Segment {
    uint32_t type;
    uint64_t offset, paddr, filesz, memsz, align;
};

struct Headers {
    uint64_t entry;
    std::vector<Segment> segments;
};

template <typename Ehdr, typename Phdr>
Result<Headers> read_headers(std::span<const std::byte> file) {
    const auto eh = YADO_TRY(read_at<Ehdr>(file, 0, "ELF header"));
    if (eh.e_machine != EM_X86_64 && eh.e_machine != EM_386) return fail(ErrorKind::Failed, "ELF for another machine ({})", eh.e_machine);
    if (eh.e_type != ET_EXEC && eh.e_type != ET_DYN) return fail(ErrorKind::Failed, "ELF, but not an executable");
    if (eh.e_phnum == 0 || eh.e_phnum > kMaxProgramHeaders || eh.e_phentsize != sizeof(Phdr))
        return fail(ErrorKind::Corrupt, "ELF with {} program headers of {} bytes", eh.e_phnum, eh.e_phentsize);
    Headers headers{eh.e_entry, {}};
    for (uint16_t n = 0; n < eh.e_phnum; ++n) {
        uint64_t at = 0;
        if (__builtin_add_overflow(eh.e_phoff, n * sizeof(Phdr), &at)) return fail(ErrorKind::Corrupt, "ELF program header table out of range");
        const auto ph = YADO_TRY(read_at<Phdr>(file, at, "ELF program header"));
        headers.segments.push_back({ph.p_type, ph.p_offset, ph.p_paddr, ph.p_filesz, ph.p_memsz, ph.p_align});
    }
    return headers;
}

Result<Headers> headers_of(std::span<const std::byte> file) {
    if (file.size() > EI_CLASS && std::to_integer<int>(file[EI_CLASS]) == ELFCLASS64)
        return read_headers<Elf64_Ehdr, Elf64_Phdr>(file);
    return read_headers<Elf32_Ehdr, Elf32_Phdr>(file);
}

/// A segment's bytes in the file. Errors: Corrupt.
Result<std::span<const std::byte>> bytes_of(std::span<const std::byte> file, const Segment& s) {
    if (s.offset > file.size() || s.filesz > file.size() - s.offset)
        return fail(ErrorKind::Corrupt, "truncated: an ELF segment at {:#x}, {} bytes, lies beyond its {} bytes", s.offset, s.filesz, file.size());
    return file.subspan(s.offset, s.filesz);
}

Result<std::optional<uint32_t>> find_pvh_note(std::span<const std::byte> notes, uint64_t align) {
    const uint64_t step = align == 8 ? 8 : 4;
    const auto up = [step](uint64_t n) { return (n + step - 1) & ~(step - 1); };
    uint64_t at = 0;
    while (at + sizeof(Elf64_Nhdr) <= notes.size()) {
        const auto note = YADO_TRY(read_at<Elf64_Nhdr>(notes, at, "ELF note"));
        const uint64_t name = at + sizeof note;
        const uint64_t desc = name + up(note.n_namesz);
        if (note.n_namesz == 4 && note.n_type == kXenElfnotePhys32Entry && note.n_descsz >= 4) {
            const auto owner = YADO_TRY(read_at<std::array<char, 4>>(notes, name, "ELF note name"));
            if (std::memcmp(owner.data(), "Xen", 4) == 0) return YADO_TRY(read_at<uint32_t>(notes, desc, "PVH entry note"));
        }
        at = desc + up(note.n_descsz);  // grows by at least the header: the loop ends
    }
    return std::nullopt;
}

}  // namespace

bool is_elf(std::span<const std::byte> file) {
    return file.size() >= SELFMAG && std::memcmp(file.data(), ELFMAG, SELFMAG) == 0;
}

Result<ElfInfo> inspect_elf(std::span<const std::byte> file) {
    const Headers headers = YADO_TRY(headers_of(file));
    ElfInfo info{headers.entry, std::nullopt};
    for (const Segment& s : headers.segments)
        if (s.type == PT_NOTE && !info.pvh_entry) info.pvh_entry = YADO_TRY(find_pvh_note(YADO_TRY(bytes_of(file, s)), s.align));
    return info;
}

Result<GuestPhysAddr> load_elf(mem::GuestMemory& memory, const Layout& layout, std::span<const std::byte> file) {
    const Headers headers = YADO_TRY(headers_of(file));
    std::vector<Segment> loads;
    for (const Segment& s : headers.segments)
        if (s.type == PT_LOAD && s.memsz > 0) loads.push_back(s);
    if (loads.empty()) return fail(ErrorKind::Corrupt, "ELF without a loadable segment");
    for (const Segment& s : loads) {
        YADO_TRY(bytes_of(file, s));
        if (s.filesz > s.memsz) return fail(ErrorKind::Corrupt, "ELF segment at {:#x} is larger in the file than in memory", s.paddr);
        YADO_TRY(check_load_range(layout, s.paddr, s.memsz, "ELF segment"));
    }
    std::ranges::sort(loads, {}, &Segment::paddr);
    for (size_t n = 1; n < loads.size(); ++n)
        if (loads[n - 1].paddr + loads[n - 1].memsz > loads[n].paddr)
            return fail(ErrorKind::Corrupt, "ELF segments overlap at {:#x}", loads[n].paddr);
    for (const Segment& s : loads) {
        YADO_TRY(memory.write(GuestPhysAddr(s.paddr), YADO_TRY(bytes_of(file, s))));
        YADO_TRY(put_zeroes(memory, s.paddr + s.filesz, s.memsz - s.filesz));
    }
    return GuestPhysAddr(loads.back().paddr + loads.back().memsz);
}

}  // namespace yado::machine::boot
