// A file or block device of the host as an ImageFile.
//
// Opened and made on any thread before it is used; all else on the executor's thread, close() last.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/fd.h"
#include "io/executor.h"
#include "storage/file/async_io.h"
#include "storage/file/image_file.h"

namespace yado::storage {

struct HostFileConfig {
    std::string path;  ///< also the name in errors
    bool readonly = false;
    AioMode aio = AioMode::Auto;
    bool direct = false;        ///< O_DIRECT: past the host's page cache; requests of any alignment are served (direct_file.h)
    bool ignore_sync = false;   ///< sync() does nothing; close() still syncs
    std::chrono::seconds reconnect{0};  ///< of an NBD export (nbd_file.h)
};

/// Opens without locking: what it is (a file, a block device) is for adopt_host_file() to check. Errors: NotFound, Denied.
Result<Fd> open_host_fd(const HostFileConfig& config);

/// Opens and locks (image_lock.h). Errors, each a line that names the path: NotFound, Denied, Conflict (locked; by which
/// process), Failed (a directory, not a file or block device).
Result<std::unique_ptr<ImageFile>> open_host_file(io::Executor& executor, const HostFileConfig& config);

/// A new, empty file, locked. Errors: Conflict (there is something of that name), NotFound (no such folder), Denied.
Result<std::unique_ptr<ImageFile>> create_host_file(io::Executor& executor, const HostFileConfig& config);

/// The same on a descriptor that somebody opened for us; config.path is its name.
Result<std::unique_ptr<ImageFile>> adopt_host_file(io::Executor& executor, Fd fd, const HostFileConfig& config);

/// An unlinked, sparse scratch file: not locked, gone when closed.
Result<std::unique_ptr<ImageFile>> adopt_scratch_file(io::Executor& executor, Fd fd, Bytes size, AioMode aio);

}  // namespace yado::storage
