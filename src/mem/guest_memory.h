// Guest RAM as an extent map and the one bounded door to it.
//
// An extent maps guest-physical [start, start+size) to [offset, ...) of a file (a memfd by default), mapped into this
// process once. Every access from a guest-given address is checked here; every write marks the dirty log and tells
// the code watchers (an engine that cached decoded or translated code of that page). No raw pointer into guest RAM is
// kept across a return to an event loop; engines' lookup tables are the exception and are told when extents change.
//
// Threads: the extent map changes only while no vCPU and no device runs (or inside a rendezvous); all else any thread.
#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/units.h"

namespace yado::mem {

/// A checked, non-empty guest-physical range inside one extent. Only GuestMemory makes one.
class GuestRange {
  public:
    GuestPhysAddr start() const { return start_; }
    Bytes size() const { return size_; }

  private:
    friend class GuestMemory;
    GuestRange(GuestPhysAddr start, Bytes size, std::byte* host) : start_(start), size_(size), host_(host) {}
    GuestPhysAddr start_;
    Bytes size_;
    std::byte* host_;
};

enum class Access : uint8_t { ReadWrite, ReadOnly };  ///< ReadOnly: ROM to the guest; the VMM may still load it

/// What an engine implements to hear of writes to pages that it marked as holding code.
class CodeWatcher {
  public:
    virtual ~CodeWatcher() = default;
    /// Bytes in [addr, addr+size) (one page) are about to be seen as changed. Any thread; must not block.
    virtual void code_written(GuestPhysAddr addr, Bytes size) = 0;
};

class GuestMemory {
  public:
    struct Extent {
        GuestPhysAddr start;
        Bytes size;
        Access access = Access::ReadWrite;
        int fd = -1;            ///< owned by GuestMemory's backing list
        Bytes offset;           ///< into fd
        std::byte* host = nullptr;
    };

    GuestMemory();
    ~GuestMemory();
    GuestMemory(const GuestMemory&) = delete;

    /// Adds zero-filled RAM backed by a new memfd. start and size are page-aligned, size > 0, no overlap.
    /// Errors: OutOfRange (misaligned, overlap, beyond 2^52), Failed (host refuses the memory).
    Result<> add_ram(GuestPhysAddr start, Bytes size, Access access = Access::ReadWrite);

    std::span<const Extent> extents() const { return extents_; }
    /// All RAM that the guest may write.
    Bytes ram_size() const;

    /// Copies out of or into RAM; the range may span extents that touch. Errors: OutOfRange (nothing was copied).
    Result<> read(GuestPhysAddr addr, std::span<std::byte> out) const;
    Result<> write(GuestPhysAddr addr, std::span<const std::byte> in);
    /// As write, but reaches ReadOnly extents too: for loaders and firmware only, never for a guest's address.
    Result<> load_rom(GuestPhysAddr addr, std::span<const std::byte> in);

    template <typename T>
    Result<T> load(GuestPhysAddr addr) const {
        T value;
        YADO_TRY(read(addr, std::as_writable_bytes(std::span(&value, 1))));
        return value;
    }
    template <typename T>
    Result<> store(GuestPhysAddr addr, const T& value) {
        return write(addr, std::as_bytes(std::span(&value, 1)));
    }

    /// A range that a device will read or write in place (DMA). Errors: OutOfRange (empty, outside RAM, spans extents,
    /// or not writable where `writable` is asked for).
    enum class Intent : uint8_t { Read, Write };
    Result<GuestRange> range(GuestPhysAddr addr, Bytes size, Intent intent) const;
    /// The bytes of a range, valid until the caller returns to its event loop, or, for I/O in flight, until it completes.
    std::span<std::byte> bytes(const GuestRange& range) const { return {range.host_, range.size_.value()}; }
    /// Says that a device wrote a range in place: marks it dirty, tells code watchers.
    void wrote(const GuestRange& range) { note_write(range.start_, range.size_); }

    /// Gives the whole pages of a range back to the host; they read as zeroes from then on. A hint: a host that cannot
    /// keeps them as they are.
    void discard(const GuestRange& range);

    /// Engines only: the host address of the page that holds addr, or nullptr outside RAM.
    std::byte* host_page(GuestPhysAddr addr, Access* access = nullptr) const;
    /// Returns the atomic of a naturally aligned T in RAM, for ring indices shared with the guest.
    /// Errors: OutOfRange (outside RAM or misaligned).
    template <typename T>
    Result<std::atomic_ref<T>> atomic(GuestPhysAddr addr) {
        if (addr.value() % sizeof(T)) return fail(ErrorKind::OutOfRange, "address {:#x} is not aligned", addr.value());
        const GuestRange r = YADO_TRY(range(addr, Bytes(sizeof(T)), Intent::Write));
        return std::atomic_ref<T>(*reinterpret_cast<T*>(r.host_));
    }

    /// Dirty log: one bit a page of RAM, set by every write once enabled. Engines report their own writes by
    /// mark_dirty. harvest returns the pages set since the last harvest (page frame numbers) and clears them.
    void set_dirty_log(bool enabled);
    bool dirty_log() const { return dirty_log_.load(std::memory_order_relaxed); }
    void mark_dirty(GuestPhysAddr addr, Bytes size);
    std::vector<uint64_t> harvest_dirty();

    /// Code pages. An engine marks a page before it decodes from it; a later write through this door calls the
    /// watchers. The mark stays until cleared. Any thread.
    void add_watcher(CodeWatcher* watcher);
    void remove_watcher(CodeWatcher* watcher);
    void mark_code(GuestPhysAddr addr);
    void clear_code(GuestPhysAddr addr);
    bool holds_code(GuestPhysAddr addr) const;
    /// Reports a write made past this door (an engine's own store to a code page, DMA in place).
    void note_write(GuestPhysAddr addr, Bytes size);

  private:
    struct PageFlags;
    const Extent* find(GuestPhysAddr addr) const;
    template <typename F>
    Result<> for_each_piece(GuestPhysAddr addr, Bytes size, F&& f) const;
    std::atomic<uint8_t>* flags_of(GuestPhysAddr addr) const;

    std::vector<Extent> extents_;  // sorted by start, disjoint
    std::vector<Fd> backing_;
    std::vector<std::unique_ptr<PageFlags>> flags_;  // parallel to extents_
    std::vector<CodeWatcher*> watchers_;
    std::atomic<bool> dirty_log_{false};
};

}  // namespace yado::mem
