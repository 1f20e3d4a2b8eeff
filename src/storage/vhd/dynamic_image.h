// Dynamic and differencing VHDs, open. A block in the file is its sector bitmap and its data; the block allocation table says where.
//
// The end of the file. Behind the last block there may be room that nobody uses, and then the footer. A new block takes of the
// room. Where there is none, the footer is written further behind, and is durable before anything is written over the old one. So
// at no time is the image without a good footer at its end, and a crash leaves no more than unused room; close() takes it back.
//
// A new block's bitmap is written at once: all ones without a parent; zeroes with one, and the true bits with the table
// (write_tables()), when the data is durable.
#pragma once

#include <set>

#include "storage/block_image.h"
#include "storage/vhd/images.h"
#include "storage/vhd/sector_bitmaps.h"

namespace yado::storage::vhd {

class DynamicImage final : public BlockImage {
  public:
    DynamicImage(std::unique_ptr<ImageFile> file, Layout layout, const Survey& survey, OpenOptions options);

    /// Grows. Errors: Failed (to shrink; the table cannot have as many entries).
    io::Task<Result<>> resize(Bytes size) override;

  protected:
    io::Task<Result<Run>> find(uint64_t at, uint64_t length) override;
    std::optional<uint64_t> place_of(uint64_t block) const override;
    io::Task<Result<uint64_t>> allocate() override;
    void give_back(uint64_t place) override { returned_.push_back(place - bitmaps_.bytes()); }
    void enter(uint64_t block, uint64_t place) override;
    io::Task<Result<>> mark(uint64_t at, uint64_t length) override;
    size_t pending() const override { return unwritten_.size() + bitmaps_.changes(); }
    io::Task<Result<>> write_tables() override;
    io::Task<Result<>> finish() override { co_return co_await end_at(next_); }

  private:
    using Blocks = std::set<uint64_t>;

    uint64_t bitmap_at(uint64_t block) const { return uint64_t{layout_.table[block]} * kSector; }
    uint64_t slot_behind(uint64_t at) const;
    uint64_t end_of(uint64_t slot) const { return slot + bitmaps_.bytes() + block_size_; }
    io::Task<Result<uint64_t>> take_slot();
    io::Task<Result<>> make_room();
    io::Task<Result<>> end_at(uint64_t at);
    io::Task<Result<>> write_down(const Blocks& blocks, const std::vector<SectorBitmaps::Change>& changes);
    io::Task<Result<>> write_table_sector(uint64_t first);

    uint64_t table_room() const;
    io::Task<Result<>> extend_table(uint64_t entries);
    io::Task<Result<>> move_table(uint64_t entries);
    io::Task<Result<>> write_header();

    Layout layout_;
    SectorBitmaps bitmaps_;
    Blocks unwritten_;                ///< with a place that the table in the file does not know yet
    std::vector<uint64_t> returned_;  ///< slots that were taken, and perhaps written to, in vain
    RangeLock end_;                   ///< {0, 1}: next_, footer_at_ and what is behind the last block
    uint64_t next_;                   ///< where the next slot may begin
    uint64_t footer_at_;
    bool end_tidy_ = false;           ///< between next_ and the footer there are only zeroes
    uint64_t ahead_ = 1;              ///< slots to make room for
};

}  // namespace yado::storage::vhd
