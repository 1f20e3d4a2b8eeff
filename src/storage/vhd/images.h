// The two kinds of open VHDs.
#pragma once

#include <memory>

#include "storage/vhd/layout.h"

namespace yado::storage::vhd {

/// The disk's bytes, then the footer.
std::unique_ptr<block::DiskImage> make_fixed(std::unique_ptr<ImageFile> file, Layout layout);

/// Dynamic and differencing: the layout has been surveyed and is sound. With the backing image in `options` for the latter.
std::unique_ptr<block::DiskImage> make_dynamic(std::unique_ptr<ImageFile> file, Layout layout, const Survey& survey, OpenOptions options);

}  // namespace yado::storage::vhd
