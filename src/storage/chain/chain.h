// An image and all that lies below it, opened: each header is read, its claim followed as far as the policy allows, and the
// formats put one on the other from the bottom up.
//
// open_chain() on the executor's thread, as all of the images.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "io/executor.h"
#include "storage/chain/backing.h"
#include "storage/file/async_io.h"
#include "storage/file/writeback_file.h"
#include "storage/format.h"

namespace yado::storage {

/// Images in one chain, the top included.
inline constexpr size_t kMaxChain = 64;

struct ChainConfig {
    std::string path;            ///< a file, a block device, or an NBD export's URI
    std::string format;
    bool readonly = false;
    bool base_writable = false;  ///< the image below the top is opened for writing, too (commit)
    BackingPolicy backing = BackingPolicy::None;
    AioMode aio = AioMode::Auto;
    bool direct = false;         ///< of the top only
    bool ignore_sync = false;
    bool discard = true;
    std::chrono::seconds reconnect{0};  ///< of an NBD export
    WritebackPolicy writeback;   ///< of the top only
};

/// The top's own file, by the same rules. Errors: as open_host_file's.
Result<std::unique_ptr<ImageFile>> open_top_file(io::Executor& executor, const ChainConfig& config);

struct Layer {
    block::DiskImage* image = nullptr;  ///< owned by the one above it; the first by Chain
    const Format* format = nullptr;
    std::string path;
    ImageInfo info;
    int64_t modified_seconds = 0;       ///< since 1970, of its file
    dev_t device = 0;                   ///< and its inode: `path` may be shortened, and names change
    ino_t inode = 0;

    /// ImageInfo's detail "id", or nothing.
    std::string id() const;
};

struct Chain {
    std::unique_ptr<block::DiskImage> top;
    std::vector<Layer> layers;  ///< never empty; the top first

    /// Closes the top, which closes those below.
    io::Task<Result<>> close() { return top->close(); }
};

/// Errors: as follow()'s and the formats'; Failed (deeper than kMaxChain), Corrupt (an image is below itself).
io::Task<Result<Chain>> open_chain(io::Executor& executor, ChainConfig config);

/// What the images from `layers[0]` down hold at `offset` (inside the first one's size): never Absent.
io::Task<Result<block::Extent>> map_through(std::span<const Layer> layers, Bytes offset, Bytes length);

}  // namespace yado::storage
