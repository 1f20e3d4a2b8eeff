// An export of an NBD server as an ImageFile: raw and qcow2 lie on it. It cannot grow.
//
// A lost connection: whatever is in flight, and whatever comes, waits up to `reconnect` for a new one and is issued again, since
// every request may be repeated. But a server that died may have lost writes that it had reported and that no flush covered, and
// nobody here kept their data: if there were any, sync() fails from then on, for good. Reads and writes go on.
//
// Executor's thread only.
#pragma once

#include <memory>
#include <string_view>

#include "storage/file/host_file.h"
#include "storage/file/image_file.h"

namespace yado::storage {

/// "nbd://HOST[:PORT]/EXPORT" or "nbd+unix:///EXPORT?socket=PATH"; those with TLS ("nbds") as well, which open_nbd_file() refuses. Only what
/// the user wrote is asked: a header's name never comes here.
bool is_nbd_uri(std::string_view path);

/// config.path is the URI; direct and aio mean nothing here. Errors: as Link::connect()'s; Denied (offered read-only), Usage (TLS).
io::Task<Result<std::unique_ptr<ImageFile>>> open_nbd_file(io::Executor& executor, HostFileConfig config);

/// A file or block device of the host, or an export: whatever the user named. Errors: as open_host_file()'s and open_nbd_file()'s.
io::Task<Result<std::unique_ptr<ImageFile>>> open_named_file(io::Executor& executor, HostFileConfig config);

}  // namespace yado::storage
