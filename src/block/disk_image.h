// Where devices meet disks: the one image interface of all formats (src/storage implements it).
//
// All calls on the image's executor thread. Many requests may be in flight; they complete in any order. A flush covers
// every write that completed before it was issued.
#pragma once

#include <span>
#include <string>
#include <sys/uio.h>

#include "base/error.h"
#include "base/units.h"
#include "io/task.h"

namespace yado::block {

/// What a range of an image holds, and how far that goes.
struct Extent {
    enum class Kind : uint8_t {
        Data,    ///< bytes of its own
        Zero,    ///< reads as zeroes and takes no space to speak of
        Absent,  ///< not held by this image; what is below it shows through (zeroes if nothing is)
    };
    Kind kind = Kind::Data;
    Bytes length;  ///< from the offset asked for; never 0, never beyond what was asked for
};

class DiskImage {
  public:
    virtual ~DiskImage() = default;

    /// The guest-visible size, a multiple of 512.
    virtual Bytes size() const = 0;
    virtual bool readonly() const = 0;

    /// Scatter read and gather write at a byte offset. [offset, offset + sum of lengths) lies inside size(); the caller
    /// keeps the memory valid until completion. Errors: Failed (EIO, ENOSPC, ...), Denied (readonly).
    virtual io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) = 0;
    virtual io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) = 0;
    virtual io::Task<Result<>> flush() = 0;
    /// The range reads as zeroes afterwards. `unmap` allows to free the space.
    virtual io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, bool unmap) = 0;
    /// A hint; contents of the range are undefined afterwards (we: zeroes or unchanged).
    virtual io::Task<Result<>> discard(Bytes offset, Bytes length) = 0;

    /// What lies at `offset`: one extent of at most `length` bytes. The range is inside size(), `length` is not 0.
    virtual io::Task<Result<Extent>> map(Bytes offset, Bytes length) { (void)offset; co_return Extent{Extent::Kind::Data, length}; }

    /// Changes size(): new space reads as zeroes, what is cut off is gone. Nothing else is in flight. A multiple of 512.
    /// Errors: Failed (this kind of image or its state does not allow it), Denied.
    virtual io::Task<Result<>> resize(Bytes size) {
        (void)size;
        co_return fail(ErrorKind::Failed, "{}: its size cannot be changed", describe());
    }

    /// Waits for requests in flight, flushes, releases locks and descriptors. Nothing may be issued afterwards.
    virtual io::Task<Result<>> close() = 0;

    /// What it is, for `yado info`: "raw /path/to/file".
    virtual std::string describe() const = 0;
};

}  // namespace yado::block
