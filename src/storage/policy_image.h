// What a user may ask of a disk whatever its format: a flush behind each write, no discards.
#pragma once

#include <memory>

#include "block/disk_image.h"

namespace yado::storage {

struct ImagePolicy {
    bool flush_writes = false;  ///< a write has reached the disk when it completes
    bool discard = true;        ///< false: discards are ignored, and zeroes keep their space
};

/// The image itself where the policy asks for nothing.
std::unique_ptr<block::DiskImage> with_policy(std::unique_ptr<block::DiskImage> image, ImagePolicy policy);

}  // namespace yado::storage
