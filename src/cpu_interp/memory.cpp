// The software TLB's slow side: misses, page crossing, MMIO, ROM, code pages, dirty log, data breakpoints.
//
//   load()/store() miss -> access(): translate every page of the access (fill the TLB where hits may be served without us),
//   tell watchers of code pages, then copy. Nothing is written before all of it may be.
//
// A `write` tag is entered only for writable RAM that holds no code, is marked in the dirty log and whose PTE is dirty.
// Pages with an armed data breakpoint or watchpoint and the xAPIC's page are never entered.
#include <algorithm>

#include "cpu/local_apic.h"
#include "cpu_interp/external_debug.h"
#include "cpu_interp/fpu/fpu.h"
#include "cpu_interp/system/access.h"
#include "cpu_interp/system/system.h"

namespace yado::cpu_interp {

namespace {

/// One page's part of an access, translated.
struct Piece {
    uint64_t linear;
    unsigned size;
    uint64_t gpa;
    std::byte* host;  ///< of the first byte; nullptr: a device
    bool rom;
    bool code;
};

bool is_apic_page(Core& c, uint64_t gpa) {
    if (!c.wiring.apic) return false;
    const auto page = c.wiring.apic->mmio_page();
    return page && page->value() == page_down(gpa);
}

/// DR7's LEN field as bytes: 1, 2, 8, 4 (SDM vol. 3, 17.2.4).
constexpr unsigned kBreakLength[4] = {1, 2, 8, 4};

/// Calls f(n, rw) for every enabled breakpoint that overlaps [linear, linear + size).
template <typename F>
void for_each_breakpoint(const Core& c, uint64_t linear, unsigned size, F&& f) {
    for (unsigned n = 0; n < 4; ++n) {
        if (!(c.dr7 >> (2 * n) & 3)) continue;
        const unsigned rw = c.dr7 >> (16 + 4 * n) & 3;
        const uint64_t length = kBreakLength[c.dr7 >> (18 + 4 * n) & 3];
        const uint64_t start = c.dr[n] & ~(length - 1);
        if (start - linear < size || linear - start < length) f(n, rw);  // modulo 2^64
    }
}

void note_data_breakpoints(Core& c, uint64_t linear, unsigned size, Acc acc) {
    for_each_breakpoint(c, linear, size, [&](unsigned n, unsigned rw) {
        if (rw == 3 || (rw == 1 && acc == Acc::Write)) c.debug_hits |= 1u << n;
    });
}

/// By the guest's debug registers, or by a debugger outside.
bool page_is_watched(const Core& c, uint64_t linear) {
    bool found = c.debug && c.debug->watches_page(linear);
    if (c.system->data_armed) for_each_breakpoint(c, page_down(linear), kPageSize, [&](unsigned, unsigned rw) { found |= rw & 1; });
    return found;
}

/// Takes another page's place only if it `must`: the one table learns from accesses to the other what costs it nothing.
void enter_tag(Core& c, unsigned table, uint64_t linear, const Piece& p, uint64_t meta, bool must) {
    const unsigned index = Tlb::index_of(linear);
    TlbEntry& e = c.tlb.entry[table][index];
    if (!must && e.tag != page_down(linear) && e.tag != TlbEntry::no_tag(index)) return;
    e = {page_down(linear), page_down(reinterpret_cast<uint64_t>(p.host))};
    c.system->tlb_meta[table][index] = meta;
    c.system->used[table][index / 64] |= 1ull << (index % 64);
}

void fill(Core& c, uint64_t linear, Acc acc, Mmu rights, const Walk& w, const Piece& p) {
    SystemState& s = *c.system;
    if (s.alignment_check && rights == Mmu::User) return;
    if (page_is_watched(c, linear)) return;
    if (w.large) s.large_regions[linear >> 63] |= 1ull << (linear >> 30 & 63);
    const uint64_t meta = page_down(w.gpa) | (w.global ? kMetaGlobal : 0) | (w.large ? kMetaLarge : 0);
    const bool observed = c.observer && !c.observer->write_tags;
    const bool writable = w.writable && !p.rom && !p.code && !observed;
    enter_tag(c, Tlb::table_of(rights, Acc::Read), linear, p, meta, acc != Acc::Write);
    if (writable) enter_tag(c, Tlb::table_of(rights, Acc::Write), linear, p, meta, acc == Acc::Write);
    else if (TlbEntry& e = c.tlb.slot(rights, Acc::Write, linear); e.tag == page_down(linear)) e.tag = TlbEntry::no_tag(Tlb::index_of(linear));
}

[[noreturn]] void raise_page_fault(Core& c, const Insn* i, uint64_t linear, uint32_t error) {
    ++c.counters.page_faults;
    c.cr2 = linear;
    c.raise(i, Vec::PF, error);
}

/// What a walk found, entered into the TLB where hits may be served without us.
Piece piece_of(Core& c, uint64_t linear, unsigned size, Acc acc, Mmu rights, Walk w) {
    Piece p{linear, size, w.gpa, nullptr, false, false};
    mem::Access kind{};
    std::byte* page = is_apic_page(c, w.gpa) ? nullptr : c.wiring.memory.host_page(GuestPhysAddr(w.gpa), &kind);
    if (!page) return p;
    p.host = page + (w.gpa & kPageMask);
    p.rom = kind == mem::Access::ReadOnly;
    p.code = c.wiring.memory.holds_code(GuestPhysAddr(w.gpa));
    if (c.wiring.memory.dirty_log()) {
        if (acc == Acc::Write && !p.rom) c.wiring.memory.mark_dirty(GuestPhysAddr(w.gpa), Bytes(size));
        if (acc != Acc::Write) w.writable = false;  // its first write has to be seen
    }
    fill(c, linear, acc, rights, w, p);
    return p;
}

Piece translate(Core& c, const Insn* i, uint64_t linear, unsigned size, Acc acc, Mmu rights) {
    const Walk w = walk(c, linear, acc, rights);
    if (w.fault) raise_page_fault(c, i, linear, w.error);
    return piece_of(c, linear, size, acc, rights, w);
}

uint64_t device_read(Core& c, uint64_t gpa, unsigned size) {
    if (!is_apic_page(c, gpa)) return c.wiring.devices.mmio_read(GuestPhysAddr(gpa), size);
    const uint32_t offset = gpa & kPageMask;
    if (size < 8) return c.wiring.apic->mmio_read(offset, size);
    return c.wiring.apic->mmio_read(offset, 4) | static_cast<uint64_t>(c.wiring.apic->mmio_read(offset + 4, 4)) << 32;
}

void device_write(Core& c, uint64_t gpa, unsigned size, uint64_t value) {
    if (!is_apic_page(c, gpa)) return c.wiring.devices.mmio_write(GuestPhysAddr(gpa), size, value);
    const uint32_t offset = gpa & kPageMask;
    c.wiring.apic->mmio_write(offset, std::min(size, 4u), static_cast<uint32_t>(value));
    if (size == 8) c.wiring.apic->mmio_write(offset + 4, 4, static_cast<uint32_t>(value >> 32));
}

void device_access(Core& c, const Piece& p, std::byte* data, Acc acc) {
    fpu_leave(*c.fpu);  // devices compute with the host's own MXCSR
    for (unsigned done = 0; done < p.size;) {
        const unsigned size = std::min(8u, std::bit_floor(p.size - done));
        uint64_t value = 0;
        if (acc == Acc::Write) {
            std::memcpy(&value, data + done, size);
            device_write(c, p.gpa + done, size, value);
        } else {
            value = device_read(c, p.gpa + done, size);
            std::memcpy(data + done, &value, size);
        }
        done += size;
    }
}

/// As one access where the size is a power of two: the vCPUs' plain loads and stores are single-copy atomic when aligned.
void copy_bytes(void* to, const void* from, unsigned size) {
    switch (size) {
    case 1: std::memcpy(to, from, 1); break;
    case 2: std::memcpy(to, from, 2); break;
    case 4: std::memcpy(to, from, 4); break;
    case 8: std::memcpy(to, from, 8); break;
    default: std::memcpy(to, from, size);
    }
}

void transfer(Core& c, const Piece& p, std::byte* data, Acc acc) {
    if (!p.host) return device_access(c, p, data, acc);
    if (acc != Acc::Write) return copy_bytes(data, p.host, p.size);
    if (p.rom) return;
    if (c.observer) c.observer->storing(p.linear, p.host, p.size);
    copy_bytes(p.host, data, p.size);
    if (p.code) c.wiring.memory.note_write(GuestPhysAddr(p.gpa), Bytes(p.size));
}

void require_canonical(Core& c, const Insn* i, uint64_t linear, unsigned size) {
    if (!canonical(linear) || !canonical(linear + size - 1)) [[unlikely]]
        c.raise(i, i && i->mem && i->seg == cpu::SS ? Vec::SS : Vec::GP, 0);
}

/// SDM vol. 3, table 6-7: what #AC asks of an operand; 1 where it asks nothing.
unsigned natural_alignment(unsigned size) {
    if (size == 10) return 8;
    return std::has_single_bit(size) && size <= 8 ? size : 1;
}

/// SDM vol. 3, 6.15, interrupt 17.
void check_alignment(Core& c, const Insn* i, uint64_t linear, unsigned size, Mmu rights) {
    if (!c.system->alignment_check || rights != Mmu::User || !(linear & (natural_alignment(size) - 1))) [[likely]] return;
    if (long_mode(c)) require_canonical(c, i, linear, size);
    c.raise(i, Vec::AC, 0);
}

/// Translates the one or two pages of an access; returns how many.
unsigned split(Core& c, const Insn* i, uint64_t linear, unsigned size, Acc acc, Mmu rights, Piece* pieces) {
    const bool long_linear = long_mode(c);
    if (!long_linear) linear = static_cast<uint32_t>(linear);
    require_canonical(c, i, linear, size);
    const unsigned first = std::min<uint64_t>(size, kPageSize - (linear & kPageMask));
    pieces[0] = translate(c, i, linear, first, acc, rights);
    if (first == size) return 1;
    uint64_t second = linear + first;
    if (!long_linear) second = static_cast<uint32_t>(second);
    pieces[1] = translate(c, i, second, size - first, acc, rights);
    return 2;
}

/// MOVS from a device: its store, if it went to the running block, would begin it anew, and the device be read twice.
bool must_read_alone(const Insn* i, const Piece* pieces, unsigned count) {
    const bool device = !pieces[0].host || (count == 2 && !pieces[1].host);
    return device && i && i->map == Map::One && (i->opcode & ~1) == 0xa4;
}

}  // namespace

void access(Core& c, const Insn* i, uint64_t linear, void* data, unsigned size, Acc acc, Mmu rights) {
    if (const TlbEntry& e = c.tlb.slot(rights, acc, linear); e.hit(linear, size)) {
        void* host = e.at(linear);
        return acc == Acc::Write ? copy_bytes(host, data, size) : copy_bytes(data, host, size);
    }
    check_alignment(c, i, linear, size, rights);
    Piece pieces[2];
    const unsigned count = split(c, i, linear, size, acc, rights, pieces);
    if (acc == Acc::Write)
        for (unsigned n = 0; n < count; ++n)
            if (pieces[n].code && !pieces[n].rom) c.code_store(i, pieces[n].gpa, pieces[n].size);
    if (acc == Acc::Read && must_read_alone(i, pieces, count)) c.run_alone(i);
    if (c.debug) c.watched_access(i, linear, size, acc);
    if (c.system->data_armed) note_data_breakpoints(c, linear, size, acc);
    auto* bytes = static_cast<std::byte*>(data);
    transfer(c, pieces[0], bytes, acc);
    if (count == 2) transfer(c, pieces[1], bytes + pieces[0].size, acc);
}

TlbFill Core::tlb_fill(uint64_t linear, unsigned size, Acc acc) {
    const bool one_page = (linear & kPageMask) + size <= kPageSize;
    if (!one_page || !long_mode(*this) || !canonical(linear) || system->alignment_check || system->data_armed) return TlbFill::Refused;
    const Walk w = walk(*this, linear, acc, mmu);
    if (w.fault) {
        ++counters.page_faults;
        cr2 = linear;
        caught = {Vec::PF, true, w.error};
        faulted = true;
        return TlbFill::Fault;
    }
    piece_of(*this, linear, size, acc, mmu, w);
    return tlb_entry(acc, linear).hit(linear, 1) ? TlbFill::Filled : TlbFill::Refused;
}

void Core::load_slow(const Insn* i, uint64_t linear, void* out, unsigned size) {
    access(*this, i, linear, out, size, Acc::Read, mmu);
}

void Core::store_slow(const Insn* i, uint64_t linear, const void* in, unsigned size) {
    access(*this, i, linear, const_cast<void*>(in), size, Acc::Write, mmu);
}

void Core::access_system(const Insn* i, uint64_t linear, void* data, unsigned size, Acc acc) {
    access(*this, i, linear, data, size, acc, Mmu::Supervisor);
}

void* Core::rmw_pointer_slow(const Insn* i, uint64_t linear, unsigned size) {
    if (system->alignment_check && mmu == Mmu::User && linear & (size - 1)) return nullptr;  // the load raises #AC
    Piece pieces[2];
    if (split(*this, i, linear, size, Acc::Write, mmu, pieces) == 2) return nullptr;
    const Piece& p = pieces[0];
    if (!p.host || p.rom || p.code || page_is_watched(*this, linear)) return nullptr;
    if (observer) observer->storing(linear, p.host, size);
    return p.host;
}

void Core::probe_write(const Insn* i, uint64_t linear, unsigned size) {
    check_alignment(*this, i, linear, size, mmu);
    Piece pieces[2];
    const unsigned count = split(*this, i, linear, size, Acc::Write, mmu, pieces);
    for (unsigned n = 0; n < count; ++n)  // the store to come must not be the first to throw RetryAlone
        if (pieces[n].code && !pieces[n].rom) code_store(i, pieces[n].gpa, pieces[n].size);
}

std::optional<Core::CodePage> Core::fetch_quietly(uint64_t linear, uint32_t* error) {
    SystemState& s = *system;
    const Mmu rights = cpl == 3 ? Mmu::User : Mmu::Supervisor;
    const uint64_t tag = page_down(linear) | (rights == Mmu::User);
    FetchEntry& e = s.fetch[linear >> 12 & (kFetchSize - 1)];
    if (e.tag == tag && e.generation == (e.global ? s.global_generation : s.generation)) return CodePage{e.host, e.gpa};

    const Walk w = walk(*this, linear, Acc::Fetch, rights);
    *error = w.error;
    if (w.fault) return std::nullopt;
    const GuestPhysAddr page(page_down(w.gpa));
    const auto* host = is_apic_page(*this, w.gpa) ? nullptr : wiring.memory.host_page(page);
    e = {tag, reinterpret_cast<const uint8_t*>(host), page.value(), w.global ? s.global_generation : s.generation, w.global};
    if (w.large) s.large_regions[linear >> 63] |= 1ull << (linear >> 30 & 63);
    return CodePage{e.host, e.gpa};
}

Core::CodePage Core::fetch_page(uint64_t linear) {
    if (!long_mode(*this)) linear = static_cast<uint32_t>(linear);
    if (!canonical(linear)) raise(nullptr, Vec::GP, 0);
    uint32_t error = 0;
    const auto page = fetch_quietly(linear, &error);
    if (!page) raise_page_fault(*this, nullptr, linear, error);
    return *page;
}

}  // namespace yado::cpu_interp
