// on-error=pause: a request that the host fails for want of space, or by an I/O error, is kept back and issued again when
// somebody has mended that; the guest never sees the error. A lasting error (a failed sync) is kept back once, so that it is
// noticed, and then handed on: nobody can make it good.
#pragma once

#include <memory>

#include "block/disk_image.h"
#include "storage/live/held_requests.h"

namespace yado::storage {

/// Whether a user can mend what the error says: ENOSPC, EDQUOT, EFBIG, EIO.
bool can_be_mended(const Error& error);

/// `held` outlives the image.
std::unique_ptr<block::DiskImage> hold_on_error(std::unique_ptr<block::DiskImage> image, HeldRequests& held);

}  // namespace yado::storage
