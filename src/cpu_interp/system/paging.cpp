// Page walks (SDM vol. 3, chapter 4): 32-bit, PAE and 4-level paging.
//
//   walk() -> walk_once(): reads one entry a level, checks reserved bits and rights; then sets A and D by compare-exchange
//   and starts over if an entry changed meanwhile. Tables outside RAM read as all ones, as an unclaimed bus does.
#include <algorithm>
#include <atomic>

#include "cpu_interp/system/access.h"
#include "cpu_interp/system/system.h"

namespace yado::cpu_interp {

namespace {

constexpr uint64_t kPresent = 1, kWritable = 2, kUser = 4, kAccessed = 0x20, kDirty = 0x40, kPageSizeBit = 0x80,
                   kGlobal = 0x100, kNoExecute = 1ull << 63, kFrame = 0x000f'ffff'ffff'f000;

/// One paging mode as numbers.
struct Geometry {
    unsigned levels;
    unsigned index_bits;
    unsigned entry_size;
};
constexpr Geometry kLegacy{2, 10, 4}, kPae{2, 9, 8}, kFourLevel{4, 9, 8};

struct Entry {
    uint64_t gpa = 0;
    std::byte* host = nullptr;  ///< nullptr: not in RAM, or ROM: accessed and dirty bits cannot be kept
    uint64_t value = ~0ull;
};

Entry read_entry(Core& c, uint64_t gpa, unsigned size) {
    Entry e{gpa};
    mem::Access kind{};
    std::byte* page = c.wiring.memory.host_page(GuestPhysAddr(gpa), &kind);
    if (!page) return e;
    std::byte* at = page + (gpa & kPageMask);
    e.value = size == 8 ? std::atomic_ref(*reinterpret_cast<uint64_t*>(at)).load(std::memory_order_acquire)
                        : std::atomic_ref(*reinterpret_cast<uint32_t*>(at)).load(std::memory_order_acquire);
    if (kind == mem::Access::ReadWrite) e.host = at;
    return e;
}

/// Sets bits in an entry that still is what was read; false: it changed.
bool set_bits(Core& c, const Entry& e, uint64_t bits, unsigned size) {
    if (!e.host || (e.value & bits) == bits) return true;
    bool done;
    if (size == 8) {
        uint64_t expected = e.value;
        done = std::atomic_ref(*reinterpret_cast<uint64_t*>(e.host)).compare_exchange_strong(expected, expected | bits);
    } else {
        uint32_t expected = static_cast<uint32_t>(e.value);
        done = std::atomic_ref(*reinterpret_cast<uint32_t*>(e.host))
                   .compare_exchange_strong(expected, expected | static_cast<uint32_t>(bits));
    }
    if (done) c.wiring.memory.note_write(GuestPhysAddr(e.gpa), Bytes(size));
    return done;
}

/// Reserved bits of an entry (SDM vol. 3, tables 4-4 to 4-6, 4-8 to 4-11, 4-15 to 4-20).
uint64_t reserved_bits(const Core& c, const Geometry& g, unsigned level, bool large) {
    if (g.entry_size == 4) return large ? 1u << 21 : 0;
    uint64_t mask = c.system->physical_reserved;
    if (!(c.efer & cpu::efer::NXE)) mask |= kNoExecute;
    if (g.levels == 2) mask |= 0x7ff0'0000'0000'0000;
    if (level == 4 || (level == 3 && !c.system->gbyte_pages)) mask |= kPageSizeBit;
    if (large) mask |= level == 2 ? 0x1f'e000 : 0x3fff'e000;
    return mask;
}

bool is_large(const Core& c, const Geometry& g, unsigned level, uint64_t entry) {
    if (!(entry & kPageSizeBit)) return false;
    if (level == 3) return c.system->gbyte_pages;
    return level == 2 && (g.entry_size == 8 || c.cr4 & cpu::cr4::PSE);
}

uint64_t large_base(const Geometry& g, unsigned shift, uint64_t entry) {
    if (g.entry_size == 4) return (entry & 0xffc0'0000) | (entry >> 13 & 0xff) << 32;  // PSE-36
    return entry & kFrame & ~((1ull << shift) - 1);
}

/// Rights of a translation (SDM vol. 3, 4.6); `all` is the AND of R/W and U/S over the levels.
bool allowed(const Core& c, uint64_t all, bool no_execute, Acc acc, Mmu rights) {
    const bool user_page = all & kUser;
    if (rights == Mmu::User) {
        if (!user_page) return false;
        if (acc == Acc::Write) return all & kWritable;
        return acc != Acc::Fetch || !no_execute;
    }
    if (acc == Acc::Fetch) return !no_execute && !(user_page && c.cr4 & cpu::cr4::SMEP);
    if (user_page && rights == Mmu::Supervisor && c.cr4 & cpu::cr4::SMAP) return false;
    return acc == Acc::Read || all & kWritable || !(c.cr0 & cpu::cr0::WP);
}

Walk fault(const Core& c, Acc acc, Mmu rights, uint32_t error) {
    if (acc == Acc::Write) error |= pf::W;
    if (rights == Mmu::User) error |= pf::U;
    const bool nx = c.efer & cpu::efer::NXE && c.cr4 & cpu::cr4::PAE;
    if (acc == Acc::Fetch && (nx || c.cr4 & cpu::cr4::SMEP)) error |= pf::ID;
    Walk w;
    w.fault = true;
    w.error = error;
    return w;
}

/// True: w is the answer. False: an entry changed under the walk.
bool walk_once(Core& c, uint64_t linear, Acc acc, Mmu rights, Walk& w) {
    const bool pae = c.cr4 & cpu::cr4::PAE;
    const Geometry& g = long_mode(c) ? kFourLevel : pae ? kPae : kLegacy;
    uint64_t table = g.levels == 4 ? c.cr3 & kFrame : c.cr3 & 0xffff'f000;
    if (g.levels == 2 && pae) {
        const uint64_t pdpte = c.system->pdpte[linear >> 30 & 3];
        if (!(pdpte & kPresent)) return w = fault(c, acc, rights, 0), true;
        table = pdpte & kFrame;
    }
    Entry path[4];
    uint64_t all = kWritable | kUser;
    bool no_execute = false;
    for (unsigned level = g.levels;; --level) {
        const unsigned shift = 12 + g.index_bits * (level - 1);
        const uint64_t index = linear >> shift & ((1u << g.index_bits) - 1);
        Entry& e = path[level - 1] = read_entry(c, table + index * g.entry_size, g.entry_size);
        if (!(e.value & kPresent)) return w = fault(c, acc, rights, 0), true;
        const bool large = is_large(c, g, level, e.value);
        if (e.value & reserved_bits(c, g, level, large)) return w = fault(c, acc, rights, pf::P | pf::RSVD), true;
        all &= e.value;
        no_execute |= g.entry_size == 8 && e.value & kNoExecute;
        table = e.value & (g.entry_size == 8 ? kFrame : 0xffff'f000);
        if (level > 1 && !large) continue;

        if (!allowed(c, all, no_execute, acc, rights)) return w = fault(c, acc, rights, pf::P), true;
        for (unsigned upper = g.levels; upper > level; --upper)
            if (!set_bits(c, path[upper - 1], kAccessed, g.entry_size)) return false;
        const uint64_t leaf = kAccessed | (acc == Acc::Write ? kDirty : 0);
        if (!set_bits(c, e, leaf, g.entry_size)) return false;
        const uint64_t base = large ? large_base(g, shift, e.value) : table;
        w.gpa = base | (linear & ((1ull << shift) - 1));
        w.large = large;
        w.global = e.value & kGlobal && c.cr4 & cpu::cr4::PGE;
        const bool dirty = ((e.value | leaf) & kDirty) || !e.host;
        w.writable = dirty && allowed(c, all, no_execute, Acc::Write, rights);
        return true;
    }
}

}  // namespace

Walk walk(Core& c, uint64_t linear, Acc acc, Mmu rights) {
    Walk w;
    if (!(c.cr0 & cpu::cr0::PG)) {
        w.gpa = static_cast<uint32_t>(linear);
        w.writable = true;
        return w;
    }
    ++c.counters.walks;
    // Another vCPU can change an entry in the middle. One that manages so a thousand times gets a spurious page fault.
    for (unsigned attempt = 0; attempt < 1000; ++attempt) {
        if (walk_once(c, linear, acc, rights, w)) return w;
        w = Walk{};
    }
    return fault(c, acc, rights, 0);
}

bool load_pdptes(Core& c, uint64_t cr3, uint64_t* out) {
    uint64_t loaded[4];
    const uint64_t reserved = c.system->physical_reserved | 0xfff0'0000'0000'01e6;
    for (unsigned n = 0; n < 4; ++n) {
        loaded[n] = read_entry(c, (cr3 & 0xffff'ffe0) + 8 * n, 8).value;
        if (loaded[n] & kPresent && loaded[n] & reserved) return false;
    }
    std::copy(loaded, loaded + 4, out);
    return true;
}

}  // namespace yado::cpu_interp
