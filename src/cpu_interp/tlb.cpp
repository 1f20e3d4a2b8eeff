// Invalidation and address spaces (SDM vol. 3, 4.10).
//
// The TLB holds the current PCID's entries and global ones. When CR3 selects another PCID, the entries of the old one are
// parked in an AddressSpace and come back when CR3 selects it again without asking for a flush. Instruction-fetch entries
// and jump-cache entries stay where they are: they carry the generation of the space that they were made in. Supervisor
// code has a generation of its own (kernel_epoch), since a kernel's text is global.
#include <algorithm>

#include "cpu_interp/system/access.h"
#include "cpu_interp/system/system.h"

namespace yado::cpu_interp {

namespace {

void drop(TlbEntry& e, uint64_t index) { e.tag = TlbEntry::no_tag(index); }

constexpr bool is_for_writes(unsigned table) { return table & 1; }

/// Calls f(table, index) for every entry of a table that may be valid; f returns true to drop it.
template <typename F>
void sweep_table(Core& c, unsigned table, F&& f) {
    for (unsigned word = 0; word < kTlbSize / 64; ++word) {
        uint64_t& used = c.system->used[table][word];
        for (uint64_t left = used; left; left &= left - 1) {
            const unsigned bit = std::countr_zero(left);
            const unsigned index = word * 64 + bit;
            if (!f(table, index)) continue;
            drop(c.tlb.entry[table][index], index);
            used &= ~(1ull << bit);
        }
    }
}
template <typename F>
void sweep(Core& c, F&& f) {
    for (unsigned table = 0; table < kTlbTables; ++table) sweep_table(c, table, f);
}
template <typename F>
void sweep_writes(Core& c, F&& f) {
    for (unsigned table = 0; table < kTlbTables; ++table)
        if (is_for_writes(table)) sweep_table(c, table, f);
}

/// What was fetched by linear address in this address space, in user mode, is void.
void new_generation(Core& c) {
    c.system->generation = ++c.system->last_generation;
    c.system->user_code = {};
    c.context = 0;  // the run loop computes it anew
}
void new_kernel_epoch(Core& c) {
    ++c.system->kernel_epoch;
    c.system->kernel_code = {};
    c.system->nonglobal_kernel_code = c.system->low_kernel_code = false;
    c.context = 0;
}

void forget(AddressSpace& a) {
    a.generation = 0;
    a.entries.clear();
}

/// Moves the entries that are not global out of the TLB.
void park(Core& c, AddressSpace& a, unsigned pcid) {
    SystemState& s = *c.system;
    forget(a);
    a.pcid = pcid;
    a.generation = s.generation;
    a.user_code = s.user_code;
    a.last_used = ++s.switches;
    sweep(c, [&](unsigned table, unsigned index) {
        const uint64_t meta = s.tlb_meta[table][index];
        if (meta & kMetaGlobal) return false;
        a.entries.push_back({static_cast<uint16_t>(table), static_cast<uint16_t>(index), c.tlb.entry[table][index], meta});
        return true;
    });
}

void bring_back(Core& c, AddressSpace& a) {
    SystemState& s = *c.system;
    for (const ParkedEntry& p : a.entries) {
        c.tlb.entry[p.table][p.index] = p.entry;
        s.tlb_meta[p.table][p.index] = p.meta;
        s.used[p.table][p.index / 64] |= 1ull << (p.index % 64);
    }
    s.generation = a.generation;
    s.user_code = a.user_code;
    c.context = 0;
    forget(a);
}

AddressSpace* find_space(SystemState& s, unsigned pcid) {
    const auto at = std::ranges::find_if(s.spaces, [&](const AddressSpace& a) { return a.generation != 0 && a.pcid == pcid; });
    return at == s.spaces.end() ? nullptr : &*at;
}

AddressSpace& oldest_space(SystemState& s) {
    return *std::ranges::min_element(s.spaces, {}, [](const AddressSpace& a) { return a.generation == 0 ? 0 : a.last_used; });
}

}  // namespace

void Core::switch_pcid(unsigned from, unsigned to, TlbKeep keep) {
    SystemState& s = *system;
    if (s.nonglobal_kernel_code) new_kernel_epoch(*this);
    if (from == to) {
        if (keep == TlbKeep::No) tlb_flush_nonglobal();
        return;
    }
    AddressSpace* known = find_space(s, to);
    if (known && keep == TlbKeep::No) {
        forget(*known);
        known = nullptr;
    }
    if (!known) {
        ++counters.spaces_new;
        park(*this, oldest_space(s), from);
        return new_generation(*this);
    }
    ++counters.spaces_kept;
    AddressSpace back = std::move(*known);
    forget(*known);
    park(*this, *known, from);
    bring_back(*this, back);
}

void Core::tlb_forget_pcid(unsigned pcid) {
    if (AddressSpace* a = find_space(*system, pcid)) forget(*a);
}

void Core::tlb_forget_other_pcids() {
    for (AddressSpace& a : system->spaces) forget(a);
}

void Core::tlb_flush_all() {
    ++counters.tlb_flushes;
    sweep(*this, [](unsigned, unsigned) { return true; });
    tlb_forget_other_pcids();
    system->large_regions[0] = system->large_regions[1] = 0;
    ++system->global_generation;
    new_generation(*this);
    new_kernel_epoch(*this);
}

void Core::tlb_flush_nonglobal() {
    if (!(cr4 & cpu::cr4::PGE)) return tlb_flush_all();
    ++counters.tlb_flushes;
    sweep(*this, [&](unsigned table, unsigned index) { return !(system->tlb_meta[table][index] & kMetaGlobal); });
    new_generation(*this);
    if (system->nonglobal_kernel_code) new_kernel_epoch(*this);
}

void Core::fetch_flush_page(uint64_t linear) {
    if (system->user_code.test(linear)) new_generation(*this);
    if (system->kernel_code.test(linear)) new_kernel_epoch(*this);
}

void Core::tlb_flush_page(uint64_t linear) {
    if (!long_mode(*this)) linear = static_cast<uint32_t>(linear);
    const unsigned index = Tlb::index_of(linear);
    for (auto& table : tlb.entry)
        if (TlbEntry& e = table[index]; e.tag == page_down(linear)) drop(e, index);
    FetchEntry& e = system->fetch[linear >> 12 & (kFetchSize - 1)];
    if (page_down(e.tag) == page_down(linear)) e.tag = ~0ull;
    fetch_flush_page(linear);
    if (!(system->large_regions[linear >> 63] >> (linear >> 30 & 63) & 1)) return;
    // Other 4 KiB pieces of a large page: all of this GiB's are dropped.
    sweep(*this, [&](unsigned table, unsigned n) { return system->tlb_meta[table][n] & kMetaLarge && (tlb.entry[table][n].tag ^ linear) >> 30 == 0; });
    ++system->global_generation;
    new_generation(*this);
    if (linear >> 63 || system->low_kernel_code) new_kernel_epoch(*this);
}

void Core::tlb_drop_write(uint64_t gpa_page) {
    const auto is_the_page = [&](uint64_t meta) { return page_down(meta) == page_down(gpa_page); };
    sweep_writes(*this, [&](unsigned table, unsigned index) { return is_the_page(system->tlb_meta[table][index]); });
    for (AddressSpace& a : system->spaces) std::erase_if(a.entries, [&](const ParkedEntry& p) { return is_for_writes(p.table) && is_the_page(p.meta); });
}

void tlb_drop_all_writes(Core& c) {
    sweep_writes(c, [](unsigned, unsigned) { return true; });
    for (AddressSpace& a : c.system->spaces) std::erase_if(a.entries, [](const ParkedEntry& p) { return is_for_writes(p.table); });
}

}  // namespace yado::cpu_interp
