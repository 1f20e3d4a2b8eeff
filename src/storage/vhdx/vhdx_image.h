// An open VHDX, fixed or dynamic.
//
// A session of writing. Before the first change the headers get new GUIDs. New blocks take the file's end, which grows ahead of
// them. write_tables() makes their data durable, then writes what is new in the table into the log, makes that durable, and writes it
// to its place. The data sync of the next time makes that durable too: so each log entry is a sequence of its own, and two syncs are
// all. The header names the log from the first entry on, which is there before; close() takes the name away when all is in place.
#pragma once

#include <set>

#include "storage/block_image.h"
#include "storage/vhdx/layout.h"

namespace yado::storage::vhdx {

class VhdxImage final : public BlockImage {
  public:
    VhdxImage(std::unique_ptr<ImageFile> file, Layout layout, const Survey& survey, OpenOptions options);

    /// Writes the log's updates to their places, and empties it. For files that can be written, right after opening.
    static io::Task<Result<>> replay(ImageFile& file, Layout& layout);
    /// Dynamic images grow as far as the table's region reaches.
    io::Task<Result<>> resize(Bytes size) override;

  protected:
    io::Task<Result<Run>> find(uint64_t at, uint64_t length) override;
    /// Of what the log still has to write, in images that are only read.
    io::Task<Result<>> read_packed(const Run& run, uint64_t at, std::span<const iovec> into) override;
    std::optional<uint64_t> place_of(uint64_t block) const override;
    io::Task<Result<uint64_t>> allocate() override;
    void give_back(uint64_t place) override { returned_.push_back(place); }
    void enter(uint64_t block, uint64_t place) override;
    io::Task<Result<>> begin_writing() override;
    size_t pending() const override { return unwritten_.size(); }
    io::Task<Result<>> write_tables() override;
    io::Task<Result<>> finish() override;

  private:
    using Entries = std::set<uint64_t>;  ///< indices into the table

    io::Task<Result<>> extend(uint64_t end);
    io::Task<Result<>> write_down(const Entries& entries);
    Update table_sector(uint64_t first) const;
    io::Task<Result<>> log_updates(std::span<const Update> updates);
    io::Task<Result<>> leave_log();
    uint64_t end_of_use() const;

    Layout layout_;
    Entries unwritten_;               ///< that the table in the file does not have yet
    std::vector<uint64_t> returned_;  ///< places that were taken, and perhaps written to, in vain
    RangeLock end_;                   ///< {0, 1}: next_ and what is behind the last block
    uint64_t next_;                   ///< where the next block goes
    bool end_tidy_ = false;           ///< behind next_ there are only zeroes
    uint64_t ahead_ = kMiB;           ///< how much the file grows at a time

    Uuid log_guid_;                   ///< of this session's entries; zero before the first
    uint64_t log_sequence_ = 0, log_position_ = 0;
};

/// 2.2.2.1: writes `header` to both places, one after the other, with new sequence numbers and durably. `current` says which one is in
/// force.
io::Task<Result<>> update_headers(ImageFile& file, Header& header, size_t& current);

}  // namespace yado::storage::vhdx
