// What a disk shows, whatever it is made of: requests inside it only, and zeroes behind its end for who reads further.
#pragma once

#include "block/disk_image.h"
#include "storage/file/image_file.h"

namespace yado::storage {

/// Errors: OutOfRange unless [offset, offset + length) lies inside `size`. `file` names the disk.
Result<> check_inside(const ImageFile& file, Bytes offset, Bytes length, Bytes size);

/// Reads from an image, which may be smaller than what is asked for, or nullptr: zeroes are behind its end.
io::Task<Result<>> read_shown(block::DiskImage* image, Bytes at, std::span<const iovec> into);

}  // namespace yado::storage
