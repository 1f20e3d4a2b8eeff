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

    /// Waits for requests in flight, flushes, releases locks and descriptors. Nothing may be issued afterwards.
    virtual io::Task<Result<>> close() = 0;

    /// What it is, for `yado info`: "raw /path/to/file".
    virtual std::string describe() const = 0;
};

}  // namespace yado::block
