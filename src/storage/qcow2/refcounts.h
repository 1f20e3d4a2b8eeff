// Which clusters of the file are in use, and how often: the refcount table (in memory), refcount blocks (cached), and the
// search for free clusters.
//
// Counts go up in the cache before anything refers to a cluster, and down only when it is durable that nothing does: so
// blocks may be written at any time. A new block's entry in the table waits for the block (take_table, write_table).
#pragma once

#include <map>

#include "storage/qcow2/guard.h"
#include "storage/qcow2/header.h"
#include "storage/qcow2/slice_cache.h"

namespace yado::storage::qcow2 {

class Refcounts {
  public:
    struct Run {
        uint64_t first = 0, count = 0;  ///< clusters
        bool fresh = false;             ///< reads as zeroes: never written since the file grew over it
    };

    Refcounts(ImageFile& file, HeaderSector& header, Guard& guard, Geometry geometry, uint64_t cache_bytes);

    /// Errors: Corrupt (an entry points where no block can be).
    io::Task<Result<>> load(const Header& header);
    /// The blocks' clusters, for the guard.
    void append_blocks(std::vector<uint64_t>& clusters) const;

    /// Takes one to `most` neighbouring clusters; the file reaches over them. Errors: Failed (full), Corrupt.
    io::Task<Result<Run>> allocate(uint64_t most);
    /// Takes exactly so many neighbours.
    io::Task<Result<uint64_t>> allocate_table(uint64_t count);
    io::Task<Result<uint64_t>> get(uint64_t cluster);
    /// Errors: Corrupt (below 0), Failed (more than the image's refcounts can say).
    io::Task<Result<>> add(uint64_t cluster, int delta);
    /// What nothing has ever referred to.
    io::Task<Result<>> give_back(uint64_t first, uint64_t count);

    io::Task<Result<>> write_dirty();
    bool dirty() const { return cache_.has_dirty() || !dirty_sectors_.empty(); }
    struct TableState {
        uint64_t offset = 0;
        std::vector<TableCopy> sectors;
        std::vector<uint64_t> numbers;
    };
    /// The sectors of the table that name new blocks, as they are now.
    TableState take_table();
    /// Once the blocks are durable. Not if the table has moved since, which wrote all of it.
    io::Task<Result<>> write_table(TableState& state);
    void put_back(const TableState& state);
    /// Everything, durable: for operations on closed images.
    io::Task<Result<>> write_all();

    /// One past the last cluster that may be in use.
    uint64_t high_water() const { return high_water_; }

  private:
    io::Task<Result<Run>> find(uint64_t most);
    io::Task<Result<Run>> take_known(uint64_t most);
    io::Task<Result<>> ensure_block(uint64_t cluster);
    io::Task<Result<>> make_block(uint64_t index);
    io::Task<Result<>> grow_table(uint64_t index);
    io::Task<Result<SliceCache::Slice*>> slice_of(uint64_t cluster);
    io::Task<Result<>> reach(uint64_t end_cluster);
    Result<> guarded(uint64_t first, uint64_t count) const;
    uint64_t read(const SliceCache::Slice& slice, uint64_t cluster) const;
    void write(SliceCache::Slice& slice, uint64_t cluster, uint64_t value);
    void note_free(uint64_t first, uint64_t count);
    uint64_t slice_entries() const { return geometry_.slice_size() * 8 >> geometry_.refcount_order; }

    ImageFile& file_;
    HeaderSector& header_;
    Guard& guard_;
    Geometry geometry_;
    SliceCache cache_;
    std::vector<uint64_t> table_;          ///< offsets of blocks, 0 where there is none
    uint64_t table_offset_ = 0;
    std::map<uint64_t, bool> dirty_sectors_;
    RangeLock allocating_, writing_;
    uint64_t hint_ = 0;                    ///< below it nothing is free but what known_free_ has
    uint64_t lost_from_ = ~0ull;           ///< from here on free clusters may have been lost from known_free_
    std::map<uint64_t, uint64_t> known_free_;  ///< first, count
    uint64_t fresh_from_ = 0, high_water_ = 0;
};

/// A field of an array of 1, 2, 4, ... 64 bit counts.
uint64_t load_refcount(const std::byte* block, uint64_t index, uint32_t order);
void store_refcount(std::byte* block, uint64_t index, uint32_t order, uint64_t value);

}  // namespace yado::storage::qcow2
