// The sector bitmaps of a VHD's blocks ("Block Allocation Table and Data Blocks"): which sectors of a block the image holds itself.
// Read when first needed; that all bits of a block are set is remembered in one. At most kMostBytes stay in memory, and what is not
// yet in the file.
#pragma once

#include <unordered_map>
#include <vector>

#include "storage/file/image_file.h"

namespace yado::storage::vhd {

class SectorBitmaps {
  public:
    SectorBitmaps(uint64_t blocks, uint64_t block_size);

    uint64_t bytes() const { return bytes_; }
    bool full(uint64_t block) const { return full_[block]; }
    /// Afterwards, until the caller awaits something again, all of the below may be asked of the block, whose bitmap is at `at`.
    io::Task<Result<>> load(ImageFile& file, uint64_t block, uint64_t at);
    bool has(uint64_t block, uint64_t sector) const;
    /// One past the last sector from `first` on, at most `end`, that is like it.
    uint64_t run_end(uint64_t block, uint64_t first, uint64_t end) const;
    void set(uint64_t block, uint64_t first, uint64_t end);

    /// A new block, whose bitmap in the file is all ones or all zeroes.
    void add(uint64_t block, bool ones);
    void grow(uint64_t blocks) { full_.resize(blocks); }

    /// What the file does not have yet. Afterwards either written() or put_back() for each.
    struct Change {
        uint64_t block;
        std::vector<std::byte> bytes;
    };
    std::vector<Change> take_changes();
    void written(const Change& change);
    void put_back(const Change& change);
    size_t changes() const { return changed_; }

  private:
    static constexpr uint64_t kMostBytes = 4 << 20;
    struct Bitmap {
        std::vector<std::byte> bytes;
        bool changed = false;  ///< since it was taken
        bool taken = false;    ///< on its way into the file
    };
    void make_room();
    void insert(uint64_t block, std::vector<std::byte> bytes);
    void note_full(uint64_t block);
    bool all_set(const Bitmap& bitmap) const;

    uint64_t sectors_, bytes_;
    std::vector<bool> full_;
    std::unordered_map<uint64_t, Bitmap> bitmaps_;
    size_t changed_ = 0;
};

}  // namespace yado::storage::vhd
