// All of an image's tables, and the order in which they reach the disk.
//
// Between flushes everything stays in the caches. commit() writes, in this order:
//   data (written already), refcount blocks | sync | entries of the refcount table, if any, | sync | L2, L1 | sync
// and then lets go of the clusters that the L2 entries named before. So a crash leaves each cluster as it was or as it is,
// and clusters that nothing refers to at worst. L2 slices are copied when commit() begins: an entry made later waits for
// the next one, as its data may not be durable.
//
// A cluster that was dropped is used again when the drop is durable and every request that might still be reading or
// writing it has ended.
#pragma once

#include <deque>
#include <set>

#include "storage/qcow2/mapping.h"

namespace yado::storage::qcow2 {

class Metadata {
  public:
    struct Options {
        uint64_t l2_cache_bytes = 6 << 20, refcount_cache_bytes = 2 << 20;
        bool punch = true;  ///< give the space of dropped clusters back
    };
    enum class Access : uint8_t { Read, Write };

    Metadata(ImageFile& file, const Header& header, Options options);

    /// Reads the tables. For writing: also checks that none lies in another, and keeps the places for the guard.
    io::Task<Result<>> load(Access access);

    Header& header() { return header_; }
    const Header& header() const { return header_; }
    HeaderSector& sector() { return sector_; }
    Mapping& mapping() { return mapping_; }
    Refcounts& refcounts() { return refcounts_; }
    Guard& guard() { return guard_; }
    const Geometry& geometry() const { return header_.geometry; }

    /// In being while a request may use places that it has looked up.
    class Flight {
      public:
        explicit Flight(Metadata& metadata) : metadata_(metadata), at_(metadata.flights_.insert(metadata.flights_.end(), metadata.next_flight_++)) {}
        Flight(const Flight&) = delete;
        ~Flight() { metadata_.flights_.erase(at_); }

      private:
        Metadata& metadata_;
        std::set<uint64_t>::iterator at_;
    };

    /// The clusters that an L2 entry, which is no more, referred to.
    void drop_entry(uint64_t entry, bool punch);
    void drop_cluster(uint64_t cluster, bool punch) { dropped_.push_back({cluster, next_flight_, punch}); }

    /// All that was changed before the call is durable, data included. Errors as the file's.
    io::Task<Result<>> commit();
    /// Too much waits for a commit.
    bool crowded() const { return dropped_.size() > 65536; }

    /// Sets the corrupt bit (version 3) once; the image takes no writes from then on.
    io::Task<> mark_corrupt();
    bool broken() const { return broken_; }

  private:
    struct Dropped {
        uint64_t cluster = 0;
        uint64_t flight = 0;  ///< requests with smaller numbers may use it
        bool punch = false;
    };
    io::Task<Result<>> commit_now();
    io::Task<Result<>> write_in_order(Mapping::State& mapping, Refcounts::TableState& table);
    io::Task<Result<>> release();
    io::Task<Result<>> check_places();
    io::Task<> punch(std::vector<uint64_t> clusters);

    ImageFile& file_;
    Header header_;
    Options options_;
    HeaderSector sector_;
    Guard guard_;
    Refcounts refcounts_;
    Mapping mapping_;
    std::deque<Dropped> dropped_, durable_;
    std::set<uint64_t> flights_;
    uint64_t next_flight_ = 1;
    RangeLock committing_;
    uint64_t commits_started_ = 0, last_good_commit_ = 0;
    bool broken_ = false;
};

}  // namespace yado::storage::qcow2
