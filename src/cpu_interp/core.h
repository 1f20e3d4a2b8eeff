// The interpreter's vCPU: hot state, guest memory access, faults. Every handler works on this.
//
// Thread: the vCPU's own, but for request() and what is marked. Guest faults travel as C++ exceptions inside this module
// only: raise() throws, the run loop catches, delivers, goes on. So a handler must not change state before its last access
// that can fault (or must undo it): compute, store to memory, then write registers.
//
//   run():  poll requests -> find or decode the block at (rip, mode) -> block[0].run(...) -> ... -> back here
//   a handler's load()/store(): TLB hit: host access; miss: memory.cpp walks, fills, or does MMIO, or raises #PF
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <optional>

#include "cpu/state.h"
#include "cpu/vcpu.h"
#include "cpu_interp/counters.h"
#include "cpu_interp/insn.h"
#include "cpu_interp/native_state.h"
#include "mem/guest_memory.h"

namespace yado::cpu_interp {

/// Exception vectors (SDM vol. 3, 6.3.1).
enum class Vec : uint8_t { DE = 0, DB = 1, NMI = 2, BP = 3, OF = 4, BR = 5, UD = 6, NM = 7, DF = 8, TS = 10, NP = 11, SS = 12,
                           GP = 13, PF = 14, MF = 16, AC = 17, MC = 18, XM = 19 };

/// Thrown by Core::raise; caught only in the run loop and in event delivery (double faults).
struct GuestFault {
    Vec vector;
    bool has_error;
    uint32_t error;
};
/// Thrown to leave the current block without having done the instruction: it will be executed alone (a store into the
/// block's own code page).
struct RetryAlone {};

struct Block;       // block.h
class Tier;         // tier.h
class TimeSplit;    // time_split.h

enum class Acc : uint8_t { Read, Write, Fetch };
enum class TlbFill : uint8_t { Filled, Refused, Fault };

/// One TLB entry; its tag is a linear page address, or no_tag(). hit(): the page, the size and page crossing in one compare.
struct TlbEntry {
    /// Names a page that belongs to slot 0, so it never hits in any other slot; slot 0 has a tag of slot 1 (no_tag).
    static constexpr uint64_t kNoTag = 0x0000'8000'0000'0fff;
    static constexpr uint64_t no_tag(uint64_t slot) { return slot == 0 ? kNoTag + 0x1000 : kNoTag; }
    uint64_t tag = kNoTag;
    uint64_t host = 0;  ///< host address of the page's first byte

    bool hit(uint64_t linear, unsigned size) const { return (linear ^ tag) <= 4096 - uint64_t{size}; }
    /// Where `linear` is, after a hit.
    void* at(uint64_t linear) const { return reinterpret_cast<void*>(host + (linear & 4095)); }
};

/// Whose rights an access is checked with: three pairs of TLB tables.
enum class Mmu : uint8_t { Supervisor, User, SupervisorAc };
inline constexpr unsigned kTlbBits = 12;
inline constexpr unsigned kTlbSize = 1u << kTlbBits;
inline constexpr unsigned kTlbTables = 6;
/// Reads and writes have tables of their own: a copy whose source and destination fall into the same slot would otherwise
/// miss at every access.
struct Tlb {
    Tlb() {
        for (auto& table : entry) table[0].tag = TlbEntry::no_tag(0);
    }
    static constexpr unsigned table_of(Mmu rights, Acc acc) { return 2 * static_cast<unsigned>(rights) + (acc == Acc::Write); }
    static constexpr unsigned index_of(uint64_t linear) { return linear >> 12 & (kTlbSize - 1); }
    TlbEntry& slot(Mmu rights, Acc acc, uint64_t linear) { return entry[table_of(rights, acc)][index_of(linear)]; }
    const TlbEntry& slot(Mmu rights, Acc acc, uint64_t linear) const { return entry[table_of(rights, acc)][index_of(linear)]; }

    TlbEntry entry[kTlbTables][kTlbSize];
};

/// Where control goes next by RIP: entries are good while their context is the Core's (chain.h).
struct JumpEntry {
    uint64_t rip = 0;
    uint64_t context = ~uint64_t{0};  ///< no Core has this context
    Block* block = nullptr;
    const void* native = nullptr;  ///< the tier's way in (Tier::untranslated() if there is none)
};
inline constexpr unsigned kJumpCacheSize = 32768;
inline constexpr uint64_t kJumpEpochs = uint64_t{1} << 20;

/// Arithmetic flags as the host's LAHF and SETO give them: bits 15:8 are SF ZF 0 AF 0 PF 1 CF, bit 0 is OF.
namespace hflags {
inline constexpr uint16_t CF = 0x0100, PF = 0x0400, AF = 0x1000, ZF = 0x4000, SF = 0x8000, OF = 0x0001;
}

struct Fpu;         // fpu/fpu.h: x87, XMM, MXCSR, in FXSAVE layout; default-constructible
class BlockCache;   // block_cache.h
class ExternalDebug;  // external_debug.h
class SystemState;  // system/system_state.h: MSRs, kvmclock, ...; constructor SystemState(const cpu::VcpuWiring&)

/// Sees every store to RAM before it is made, for comparing this engine with another. While a Core has one, no TLB entry
/// serves writes unless `write_tags` says so. Thread: the vCPU's own.
class StoreObserver {
  public:
    virtual ~StoreObserver() = default;
    virtual void storing(uint64_t linear, void* host, unsigned size) = 0;
    bool write_tags = false;
};

/// What the vCPUs of one guest share (stop-the-world, code pages, split locks).
class Shared;

class Core {
  public:
    Core(const cpu::VcpuWiring& wiring, Shared& shared);
    ~Core();
    Core(const Core&) = delete;

    // --- hot architectural state ---------------------------------------------------------------------------------
    union {
        uint64_t gpr[18] = {};     ///< [16] is the constant 0; [17] is block_rip, so that RIP-relative needs no test
        struct {
            uint64_t gpr_and_zero[17];
            uint64_t block_rip;    ///< RIP of the running block's first instruction
        };
    };
    uint64_t rip = 0;              ///< valid at block boundaries; inside a block: rip_of(i), next_rip(i)
    uint16_t aflags = 0x0200;      ///< arithmetic flags, hflags layout
    std::atomic<uint32_t> requests{0};  ///< see below
    NativeState native;
    bool faulted = false;          ///< translated code ran into `caught`: the run loop's to deliver
    uint64_t sysflags = 2;         ///< RFLAGS without the arithmetic flags: TF IF DF IOPL NT RF VM AC VIF VIP ID and bit 1
    cpu::Segment seg[6];
    Mmu mmu = Mmu::Supervisor;     ///< kept by update_mode()
    uint8_t cpl = 0;
    CodeMode code_mode = CodeMode::Bits16;
    bool stack64 = false;          ///< stack address size: 64-bit mode
    bool stack32 = false;          ///< SS.B in legacy and compatibility mode
    uint64_t cr0 = 0x60000010, cr2 = 0, cr3 = 0, cr4 = 0, efer = 0, xcr0 = 1;
    uint64_t dr[4] = {}, dr6 = 0xffff0ff0, dr7 = 0x400;
    cpu::Segment ldtr, tr;
    cpu::TableRegister gdtr, idtr;
    bool sti_shadow = false, mov_ss_shadow = false, nmi_blocked = false;
    cpu::Activity activity = cpu::Activity::Running;
    uint64_t icount = 0;           ///< instructions retired
    Tlb tlb;

    /// Instruction i of the running block and what follows it have not retired after all. Nothing for one that runs outside its block.
    void take_back(const Insn* i);

    // --- flags -----------------------------------------------------------------------------------------------------
    /// The whole RFLAGS, and back (only the bits in `changeable` are taken from value; reserved bits stay fixed).
    uint64_t rflags() const;
    void set_rflags(uint64_t value, uint64_t changeable);

    // --- addresses -------------------------------------------------------------------------------------------------
    uint64_t rip_of(const Insn* i) const { return block_rip + i->offset; }
    /// RIP after the instruction, wrapped to 16 or 32 bits outside 64-bit mode.
    uint64_t next_rip(const Insn* i) const {
        const uint64_t n = block_rip + i->offset + i->length;
        return code_mode == CodeMode::Bits64 ? n : code_mode == CodeMode::Bits32 ? static_cast<uint32_t>(n) : static_cast<uint16_t>(n);
    }
    /// Effective address (offset in the segment), wrapped to the address size. RIP-relative: see Insn::flat.
    uint64_t effective(const Insn* i) const {
        uint64_t ea = gpr[i->base] + (gpr[i->index] << i->scale) + static_cast<int64_t>(i->disp);
        if (i->base == kRipReg && !i->flat) [[unlikely]] ea = next_rip(i) + static_cast<int64_t>(i->disp);
        if (i->addrsize == 8) return ea;
        return i->addrsize == 4 ? static_cast<uint32_t>(ea) : static_cast<uint16_t>(ea);
    }
    /// Linear address of the instruction's memory operand of `size` bytes; checks limits and rights outside flat
    /// addressing (raises #GP, #SS). Canonical form is checked by the access itself.
    uint64_t address(const Insn* i, unsigned size, Acc acc) {
        if (i->flat) [[likely]] return gpr[i->base] + (gpr[i->index] << i->scale) + static_cast<int64_t>(i->disp);
        return address_slow(i, size, acc);
    }
    uint64_t address_slow(const Insn* i, unsigned size, Acc acc);
    /// Linear address of seg:ea with all checks of the current mode (system/segment.cpp).
    uint64_t segmented(const Insn* i, unsigned seg, uint64_t ea, unsigned size, Acc acc);

    // --- guest memory (linear addresses, current privilege) -----------------------------------------------------------
    const TlbEntry& tlb_entry(Acc acc, uint64_t linear) const { return tlb.slot(mmu, acc, linear); }
    template <typename T>
    T load(const Insn* i, uint64_t linear) {
        const TlbEntry& e = tlb_entry(Acc::Read, linear);
        if (e.hit(linear, sizeof(T))) [[likely]] {
            T v;
            std::memcpy(&v, e.at(linear), sizeof(T));
            return v;
        }
        return load_cold<T>(i, linear);
    }
    template <typename T>
    [[gnu::noinline, gnu::cold]] T load_cold(const Insn* i, uint64_t linear) {
        T v;
        load_slow(i, linear, &v, sizeof(T));
        return v;
    }
    template <typename T>
    [[gnu::noinline, gnu::cold]] void store_cold(const Insn* i, uint64_t linear, T value) {
        store_slow(i, linear, &value, sizeof(T));
    }
    template <typename T>
    void store(const Insn* i, uint64_t linear, T value) {
        const TlbEntry& e = tlb_entry(Acc::Write, linear);
        if (e.hit(linear, sizeof(T))) [[likely]] {
            std::memcpy(e.at(linear), &value, sizeof(T));
            return;
        }
        store_cold<T>(i, linear, value);
    }
    /// Host pointer to a naturally placed operand that may be read and written, or nullptr (MMIO, crosses a page, code
    /// page: use rmw_slow). Raises #PF if writing is not allowed.
    template <typename T>
    T* rmw_pointer(const Insn* i, uint64_t linear) {
        const TlbEntry& e = tlb_entry(Acc::Write, linear);
        if (e.hit(linear, sizeof(T))) [[likely]] return static_cast<T*>(e.at(linear));
        return static_cast<T*>(rmw_pointer_slow(i, linear, sizeof(T)));
    }
    /// Makes the TLB serve an access of `size` bytes in one page, for translated code. Fault: `faulted` and `caught` are set,
    /// RIP is not; Refused: MMIO, code pages and the like, for the functions below.
    TlbFill tlb_fill(uint64_t linear, unsigned size, Acc acc);
    /// Any size from 1 to 4096; page crossing, MMIO (in pieces of 1, 2, 4, 8), code pages. Nothing is written unless all of
    /// it may be. memory.cpp.
    void load_slow(const Insn* i, uint64_t linear, void* out, unsigned size);
    void store_slow(const Insn* i, uint64_t linear, const void* in, unsigned size);
    void* rmw_pointer_slow(const Insn* i, uint64_t linear, unsigned size);
    /// Called by memory.cpp before a store to a page that holds_code, once for each page of it; after the store it calls
    /// wiring.memory.note_write(), which invalidates in every vCPU. Throws RetryAlone, before anything was stored, if the
    /// running block itself is hit and more of it may follow. Returns at once in single-instruction mode. block_cache.cpp.
    void code_store(const Insn* i, uint64_t gpa, unsigned size);
    /// Throws RetryAlone, so that the instruction begins anew outside its block; nothing if it runs alone already.
    void run_alone(const Insn* i);
    /// Called by memory.cpp before an access that a debugger outside watches (`debug`): notes it for the run loop. Throws
    /// RetryAlone in front of the instruction if more of the running block may follow. external_debug.cpp.
    void watched_access(const Insn* i, uint64_t linear, unsigned size, Acc acc);
    /// Raises what a write of size bytes would raise, writes nothing.
    void probe_write(const Insn* i, uint64_t linear, unsigned size);
    /// Runs f with every other vCPU of the guest stopped: locked accesses that rmw_pointer refuses (split over pages, MMIO).
    void stop_the_world(const std::function<void()>& f);

    /// As load/store but with supervisor rights whatever CPL: descriptor tables, TSS (SDM vol. 3, 4.6.1, implicit).
    template <typename T>
    T load_system(const Insn* i, uint64_t linear) {
        T v;
        access_system(i, linear, &v, sizeof(T), Acc::Read);
        return v;
    }
    template <typename T>
    void store_system(const Insn* i, uint64_t linear, T v) {
        access_system(i, linear, &v, sizeof(T), Acc::Write);
    }
    void access_system(const Insn* i, uint64_t linear, void* data, unsigned size, Acc acc);

    /// One instruction-fetch page: host bytes of the page that holds `linear`, and its guest-physical address.
    /// Raises #PF; #GP if not canonical. host == nullptr: not RAM (fetch by mmio_read, bytewise).
    struct CodePage {
        const uint8_t* host;
        uint64_t gpa;
    };
    CodePage fetch_page(uint64_t linear);
    /// The same for a canonical address; nullopt: page fault, with its error code, that nobody was told of.
    std::optional<CodePage> fetch_quietly(uint64_t linear, uint32_t* error);

    /// The jump cache is void: blocks are gone.
    void forget_jumps();
    /// What code was looked up in that linear page is void.
    void fetch_flush_page(uint64_t linear);

    /// CR3 was loaded with PCIDs on. `keep`: bit 63 asked that the new PCID's entries stay.
    enum class TlbKeep : bool { No, Yes };
    void switch_pcid(unsigned from, unsigned to, TlbKeep keep);
    /// INVPCID for PCIDs that CR3 does not select.
    void tlb_forget_pcid(unsigned pcid);
    void tlb_forget_other_pcids();

    void tlb_flush_all();
    void tlb_flush_nonglobal();
    void tlb_flush_page(uint64_t linear);
    /// Drops write permission for a guest-physical page (it now holds code, or the dirty log restarts).
    void tlb_drop_write(uint64_t gpa_page);

    // --- stack, in the current stack address size (push raises #SS/#PF and leaves RSP as it was) ----------------------
    void push(const Insn* i, unsigned size, uint64_t value);
    uint64_t pop(const Insn* i, unsigned size);

    // --- faults and events (system/) -----------------------------------------------------------------------------------
    [[noreturn]] void raise(const Insn* i, Vec vector);
    [[noreturn]] void raise(const Insn* i, Vec vector, uint32_t error);
    /// Delivers a fault, trap or interrupt through the IVT or IDT at the current rip (already that to be saved).
    /// Handles double and triple faults; false: triple fault (the run loop then shuts down).
    enum class EventKind : uint8_t { Fault, Trap, SoftwareInt, Int3, Into, Icebp, External, Nmi };
    bool deliver(EventKind kind, uint8_t vector, bool has_error, uint32_t error);
    /// Recomputes mmu, cpl, code_mode, stack64, stack32 from segments, CRs, EFER, RFLAGS.AC. Call after changing any.
    void update_mode();
    /// Branch target checks of near transfers: sets rip or raises #GP (canonical, code segment limit).
    void jump_to(const Insn* i, uint64_t target);

    // --- requests from other threads -----------------------------------------------------------------------------------
    /// Bits of cpu::Signal, and our own above, in `requests`; polled at every block boundary. Any thread: request() also wakes.
    static constexpr uint32_t kReqStop = 1u << 16;     ///< a rendezvous wants this vCPU between instructions
    static constexpr uint32_t kReqFlush = 1u << 17;    ///< TLB and decoded blocks are stale (extents changed)
    static constexpr uint32_t kReqDebug = 1u << 18;    ///< a debugger's watchpoint was hit; TF and DR7 need no request
    static constexpr uint32_t kReqStale = 1u << 19;    ///< code pages were written: Shared holds the list
    static constexpr uint32_t kReqMakeRoom = 1u << 21; ///< the tier's memory is full
    static constexpr uint32_t kReqParked = 1u << 22;   ///< the vCPU's thread sleeps (parking.h); never set while it runs
    static constexpr uint32_t kReqFailed = 1u << 20;   ///< the engine gives up: `failure` says why
    void request(uint32_t bits) { requests.fetch_or(bits); }
    /// Ends the guest at the next block boundary: the engine itself is wrong. The first reason counts. The vCPU's thread.
    void fail(std::string reason);

    const cpu::VcpuWiring wiring;
    Shared& shared;
    std::unique_ptr<Fpu> fpu;
    std::unique_ptr<BlockCache> blocks;
    std::unique_ptr<SystemState> system;
    std::unique_ptr<ExternalDebug> debug;  ///< nullptr: no debugger outside wants anything of this vCPU
    const Insn* fault_insn = nullptr;  ///< set by raise(); nullptr: rip is already right
    uint64_t debug_hits = 0;           ///< DR6 bits of data breakpoints hit: the run loop then traps with #DB

    // --- the run loop's (run.cpp, chain.h) ---------------------------------------------------------------------------
    Block* block = nullptr;        ///< the running block
    GuestFault caught{};
    std::unique_ptr<Tier> tier;    ///< nullptr: the interpreter alone
    bool alone = false;                ///< a single instruction runs: code_store need not throw
    bool rep_unfinished = false;       ///< a REP instruction stopped between iterations: rip is its own
    bool nmi_waiting = false;          ///< Signal::Nmi was seen, NMIs are blocked
    uint64_t chain_base = 0;           ///< CS base that the jump cache's entries outside 64-bit mode were made with
    bool interrupt_waiting = false;    ///< Signal::Interrupt was seen, could not be taken yet
    uint64_t context = 0;              ///< what jump-cache entries must match: epoch, generation, mode, rights; 0: no chaining
    uint64_t jump_epoch = 0;           ///< how often all of them were void
    uint32_t pauses = 0;
    Counters counters;
    TimeSplit* time = nullptr;         ///< nullptr: nobody asked
    StoreObserver* observer = nullptr;
    std::string failure;               ///< with kReqFailed, which is never taken back
    JumpEntry jumps[kJumpCacheSize];
};

/// The tail call that makes threaded code.
[[gnu::always_inline]] inline void next(Core& c, const Insn* i) { return i[1].run(c, i + 1); }

}  // namespace yado::cpu_interp
