// From guest offsets to places in the file: the L1 table (in memory) and L2 tables (cached).
//
// Lookups take no lock. Entries change only under the image's lock of their guest clusters, and a table that is shared with
// a snapshot is copied first. What changed is written by Metadata::commit().
#pragma once

#include <functional>
#include <map>

#include "storage/qcow2/refcounts.h"
#include "storage/qcow2/table.h"

namespace yado::storage::qcow2 {

/// Guest bytes that are alike and lie together.
struct Run {
    enum class Kind : uint8_t { Absent, Zero, ZeroAllocated, Data, Compressed };
    Kind kind = Kind::Absent;
    bool copied = false;  ///< Data, ZeroAllocated: nobody else refers to it; it may be written in place
    uint64_t host = 0;    ///< Data: of the first byte; ZeroAllocated: of the first byte
    uint64_t length = 0;
    uint64_t entry = 0;   ///< Compressed: the descriptor of the one cluster
};

class Mapping {
  public:
    Mapping(ImageFile& file, Guard& guard, Refcounts& refcounts, Geometry geometry, uint64_t cache_bytes,
            std::function<io::Task<Result<>>()> commit, std::function<void(uint64_t)> dropped_table);

    io::Task<Result<>> load(const Header& header);
    /// The L2 tables' clusters that an L1 entry names with sense, for the guard.
    void append_tables(std::vector<uint64_t>& clusters) const;
    /// Another L1 table is the active one now (resize); nothing is in flight.
    void replace_l1(std::vector<uint64_t> entries, uint64_t offset);
    const std::vector<uint64_t>& l1() const { return l1_; }

    /// What lies at a guest offset: at most `length` bytes, and never beyond a slice. Errors: Corrupt, Failed.
    io::Task<Result<Run>> lookup(uint64_t offset, uint64_t length);
    /// Entries up to the end of the slice, from a guest cluster on.
    uint64_t left_in_slice(uint64_t cluster) const { return slice_entries() - cluster % slice_entries(); }
    /// Whether there is an L2 table at all. If not nothing is allocated up to the end of its span.
    bool has_table(uint64_t cluster) const { return l1_[cluster / geometry_.l2_entries()] != 0; }

    /// Changes `count` entries of one slice to entry, entry + step, ...; gives the old ones.
    struct Change {
        uint64_t cluster = 0, count = 0, entry = 0, step = 0;
    };
    io::Task<Result<std::vector<uint64_t>>> update(Change change);

    bool dirty() const { return cache_.has_dirty() || !dirty_sectors_.empty(); }
    struct State {
        std::vector<TableCopy> slices, l1_sectors;
        std::vector<uint64_t> numbers;
        bool empty() const { return slices.empty() && l1_sectors.empty(); }
    };
    State take_dirty();
    io::Task<Result<>> write(State& state);
    void settle(const State& state, bool written);
    void forget(uint64_t at) { cache_.forget(at, geometry_.cluster_size()); }

  private:
    uint64_t slice_entries() const { return geometry_.slice_size() / 8; }
    Result<> check_table(uint64_t entry) const;
    io::Task<Result<SliceCache::Slice*>> slice_of(uint64_t l1_entry, uint64_t cluster);
    Result<Run> describe(uint64_t entry) const;
    io::Task<Result<>> own_table(uint64_t index);
    io::Task<Result<>> fill_table(uint64_t old_entry, Refcounts::Run at);

    ImageFile& file_;
    Guard& guard_;
    Refcounts& refcounts_;
    Geometry geometry_;
    SliceCache cache_;
    std::function<void(uint64_t)> dropped_table_;
    std::vector<uint64_t> l1_;
    uint64_t l1_offset_ = 0;
    std::map<uint64_t, bool> dirty_sectors_;
    RangeLock owning_;
};

}  // namespace yado::storage::qcow2
