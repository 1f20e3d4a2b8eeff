// A bounded cache of table slices (parts of L2 tables or refcount blocks), keyed by their offset in the file.
// Executor's thread. A Slice pointer is valid until the caller suspends.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "storage/file/image_file.h"

namespace yado::storage::qcow2 {

/// Bytes that are to be written somewhere, as they were at one moment.
struct TableCopy {
    uint64_t at = 0;
    std::vector<std::byte> bytes;
};

/// Writes them in the order of the file; neighbours in one request.
io::Task<Result<>> write_copies(ImageFile& file, std::vector<TableCopy>& copies);

class SliceCache {
  public:
    struct Slice {
        uint64_t at = 0;
        std::vector<std::byte> bytes;
        bool loaded = false;
        bool dirty = false;    ///< newer than the file
        bool writing = false;  ///< a copy is on its way to the file: must not be forgotten and read again
        std::list<uint64_t>::iterator age;
        std::vector<io::Completion<bool>*> waiters;
    };

    /// `clean` makes dirty slices clean by writing them; called when too many are dirty.
    SliceCache(ImageFile& file, uint64_t slice_size, uint64_t budget, std::function<io::Task<Result<>>()> clean)
        : file_(file), slice_size_(slice_size), capacity_(std::max<uint64_t>(4, budget / slice_size)), clean_(std::move(clean)) {}

    /// The slice at an offset that is a multiple of the slice's size. What lies behind the end of the file is zeroes.
    io::Task<Result<Slice*>> get(uint64_t at);
    void mark_dirty(Slice& slice);
    bool has_dirty() const { return dirty_ > 0; }

    /// Copies of all that is dirty, in the order of the file. Until settle() the slices stay in memory. One at a time.
    std::vector<TableCopy> take_dirty();
    void settle(const std::vector<TableCopy>& copies, bool written);
    /// The table that was there is gone.
    void forget(uint64_t at, uint64_t length);
    size_t count() const { return slices_.size(); }

  private:
    io::Task<Result<>> load(Slice& slice);
    bool evict_one();
    io::Task<Result<>> make_room();

    ImageFile& file_;
    uint64_t slice_size_, capacity_;
    std::function<io::Task<Result<>>()> clean_;
    std::unordered_map<uint64_t, std::unique_ptr<Slice>> slices_;
    std::list<uint64_t> ages_;  ///< the front was used last
    uint64_t dirty_ = 0;
};

}  // namespace yado::storage::qcow2
