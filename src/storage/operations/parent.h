// What a header is to say of the image below.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "storage/operations/operations.h"

namespace yado::storage {

/// The absolute name without symbolic links: what is replaced is the file itself. Errors: NotFound.
Result<std::string> real_path(const std::string& path);

struct ParentFacts {
    CreateOptions::Parent parent;
    Bytes size;
};
/// Reads `base`'s header, and makes of it what an image at `image` says of it.
io::Task<Result<ParentFacts>> parent_facts(io::Executor& executor, std::string image, NewBase base);

/// The parent of an open chain's top, as its header names it, with the time stamp that its file has now.
CreateOptions::Parent parent_as_claimed(const std::vector<Layer>& layers);

/// `image` for reading, for somebody who wants to own what is below. Closing it does nothing.
std::unique_ptr<block::DiskImage> borrow(block::DiskImage& image);

}  // namespace yado::storage
