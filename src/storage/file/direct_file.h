// cache=none: a file opened with O_DIRECT, which takes only whole blocks from aligned memory, behind one that takes
// anything. What does not fit goes through a bounce buffer; the edges of a write are read first.
//
//     write [a---------b]  -->  lock blocks, read first and last block, write whole blocks, give a grown file its true length
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "storage/file/image_file.h"

namespace yado::storage {

/// Powers of two, in bytes.
struct DirectAlignment {
    uint32_t memory = 4096;
    uint32_t offset = 4096;
};

/// Sets O_DIRECT on an open file, and says what it then asks for. Errors: Failed (the file system has no such thing).
Result<DirectAlignment> use_direct(int fd, const std::string& name);

/// `file` serves reads that reach beyond its end with zeroes there.
std::unique_ptr<ImageFile> make_direct_file(std::unique_ptr<ImageFile> file, DirectAlignment alignment);

}  // namespace yado::storage
