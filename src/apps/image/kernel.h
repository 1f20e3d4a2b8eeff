// The ELF kernel inside a bzImage.
#pragma once

#include <string>

#include "base/error.h"

namespace yado::apps {

/// Unpacks the compressed kernel of `bzimage` into `elf`, so that a guest need not do it at every boot. Linux boot protocol 2.08
/// (payload_offset, payload_length). Errors: Corrupt (no bzImage), Failed (a compression whose tool is missing).
Result<> unpack_kernel(const std::string& bzimage, const std::string& elf);

}  // namespace yado::apps
