// Going over an image from one end to the other with several requests in flight: what copying, comparing, committing and
// rebasing have in common.
//
//     look() ahead, one after the other  -->  chunk() for what is of interest, up to in_flight at once, each with a buffer
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <span>

#include "block/disk_image.h"

namespace yado::storage {

/// What whoever waits may see of an operation, and do about it. Called on the executor's thread.
struct Control {
    std::function<void(Bytes done, Bytes total)> progress;
    std::function<bool()> cancelled;  ///< asked between chunks; true ends the operation with Failed
    unsigned in_flight = 8;
};

/// The most that one chunk of data covers.
inline constexpr Bytes kChunk = 1_MiB;

class ChunkWork {
  public:
    virtual ~ChunkWork() = default;
    /// What to do with a range from `at` on: Absent: nothing; Zero or Data: chunk(). Called in order, one at a time.
    virtual io::Task<Result<block::Extent>> look(Bytes at, Bytes length) = 0;
    /// `buffer` is as long as the range where it is Data (at most kChunk), else empty. Several at once.
    virtual io::Task<Result<>> chunk(Bytes at, block::Extent extent, std::span<std::byte> buffer) = 0;
};

/// Errors: the first one of look() or chunk(), after all in flight have ended; Failed (cancelled).
io::Task<Result<>> walk(Bytes size, ChunkWork& work, const Control& control);

/// Work that ends at the first byte of some kind. Chunks of those in front of it may still be under way, so the lowest counts.
class SearchWork : public ChunkWork {
  public:
    const std::optional<Bytes>& found() const { return found_; }

  protected:
    /// For chunk() to return.
    std::unexpected<Error> found_at(Bytes where) {
        found_ = found_ ? std::min(*found_, where) : where;
        return fail(ErrorKind::OutOfRange, "found");  // ends the walk
    }

  private:
    std::optional<Bytes> found_;
};
/// Where the byte is; nullopt: nowhere. Errors: as walk().
io::Task<Result<std::optional<Bytes>>> search(Bytes size, SearchWork& work, const Control& control);

/// Reads what an image shows, and zeroes behind its end.
io::Task<Result<>> read_shown(block::DiskImage& image, Bytes at, std::span<std::byte> into);

bool is_zero(std::span<const std::byte> bytes);

}  // namespace yado::storage
