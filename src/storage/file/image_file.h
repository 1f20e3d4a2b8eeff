// What an image format stands on: a sequence of bytes that grows. A file or block device of the host (host_file.h), an
// export of a server (nbd/nbd_file.h), or in tests one in memory that keeps a log of its writes and fails on demand.
//
// All calls on the executor's thread. Many requests may be in flight, and complete in any order: until sync() has
// returned, any part of what was written after the last one may be on the disk or not.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <sys/uio.h>

#include "base/error.h"
#include "base/units.h"
#include "block/disk_image.h"
#include "io/task.h"
#include "storage/file/image_lock.h"

namespace yado::storage {

enum class ZeroMode : uint8_t {
    FreeSpace,  ///< the host may have the space back
    KeepSpace,  ///< space stays reserved
};

class ImageFile {
  public:
    virtual ~ImageFile() = default;

    /// As the user wrote it; errors begin with "disk NAME: ".
    virtual const std::string& name() const = 0;
    virtual bool readonly() const = 0;
    /// In bytes; writes behind the end move it.
    virtual Bytes size() const = 0;
    /// How it does its work, for describe(): "io_uring", "threads", "nbd".
    virtual const char* carrier() const = 0;

    /// The memory stays valid until completion. All or nothing is reported; a failed write may have written a part.
    /// Errors: Failed (EIO, ENOSPC, ...; a read behind the end), Denied (readonly).
    virtual io::Task<Result<>> readv(Bytes offset, std::span<const iovec> into) = 0;
    virtual io::Task<Result<>> writev(Bytes offset, std::span<const iovec> from) = 0;
    /// Everything that completed before is durable. Once it has failed it fails for ever, by a lasting error: what was lost is not known.
    virtual io::Task<Result<>> sync() = 0;
    /// What a cache of the host holds of the file goes to the disk now, and is waited for. Promises nothing: sync() does. An
    /// error is one of later syncs, too.
    virtual io::Task<Result<>> write_out() { co_return Result<>{}; }
    /// The range, which is inside size(), reads as zeroes afterwards.
    virtual io::Task<Result<>> write_zeroes(Bytes offset, Bytes length, ZeroMode mode) = 0;
    /// Gives back the space of a range inside size(), which then reads as zeroes or is unchanged.
    virtual io::Task<Result<>> discard(Bytes offset, Bytes length) = 0;
    /// Cuts off, or adds zeroes. Errors: Failed (a block device; ENOSPC), Denied.
    virtual io::Task<Result<>> resize(Bytes size) = 0;
    /// What lies at `offset`, inside size(): Data, or Zero where the file has a hole.
    virtual io::Task<Result<block::Extent>> map(Bytes offset, Bytes length) = 0;

    /// From now on it is readonly(). Nothing is in flight but reads.
    virtual void end_writing() {}
    /// What others may do meanwhile, while this one reads. Errors: Conflict (somebody does it).
    virtual Result<> relock(LockUse use) { (void)use; return {}; }
    /// It has another name by now.
    virtual void renamed(std::string name) { (void)name; }

    /// Waits for requests in flight, syncs, releases locks and descriptors. Nothing may be issued afterwards.
    virtual io::Task<Result<>> close() = 0;
};

/// One buffer instead of a list. The buffer stays valid until completion.
io::Task<Result<>> read_bytes(ImageFile& file, Bytes offset, std::span<std::byte> into);
io::Task<Result<>> write_bytes(ImageFile& file, Bytes offset, std::span<const std::byte> from);

}  // namespace yado::storage
