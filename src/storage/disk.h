// A disk as the user writes it (`--disk path=...,format=raw,snapshot=on`), opened.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "block/disk_image.h"
#include "io/executor.h"
#include "storage/chain/backing.h"
#include "storage/chain/chain.h"
#include "storage/file/async_io.h"
#include "storage/file/writeback_file.h"

namespace yado::storage {

enum class CacheMode : uint8_t {
    Writeback,     ///< in the host's page cache; durable once flushed
    None,          ///< past the host's page cache (O_DIRECT, of the top image's file); durable once flushed
    Writethrough,  ///< durable when written
    Unsafe,        ///< flushes are ignored until the end
};

struct DiskConfig {
    std::string path;
    std::string format = "raw";  ///< from the configuration, never guessed from what the image holds
    bool readonly = false;
    bool snapshot = false;       ///< writes go to a scratch file and are thrown away; the image is only read
    AioMode aio = AioMode::Auto;
    BackingPolicy backing = BackingPolicy::None;
    CacheMode cache = CacheMode::Writeback;
    std::chrono::seconds reconnect{0};  ///< how long a lost NBD server is waited for; 0: not at all
    bool discard = true;         ///< off: the guest's discards are ignored, and its zeroes keep their space
    WritebackPolicy writeback;
};

/// What of it concerns the images.
ChainConfig chain_config(const DiskConfig& config);

struct DiskLayers {
    std::unique_ptr<block::DiskImage> image;
    std::vector<Layer> layers;  ///< the chain, where `image` is its top; empty where a throw-away layer lies over it
};
/// The images, without what the user asks for whatever they are (policy_image.h). Errors: as open_disk's.
io::Task<Result<DiskLayers>> open_layers(io::Executor& executor, DiskConfig config);
std::unique_ptr<block::DiskImage> with_policy_of(const DiskConfig& config, std::unique_ptr<block::DiskImage> image);

/// Opens, locks and stacks. The executor's thread. Errors: as open_chain's; Usage (unknown format; readonly and snapshot
/// together).
io::Task<Result<std::unique_ptr<block::DiskImage>>> open_disk(io::Executor& executor, DiskConfig config);

}  // namespace yado::storage
