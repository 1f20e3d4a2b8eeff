// Loads a guest's kernel into its memory, at creation and again at every reset: the files are read anew each time, so that
// they do not stay in the host's memory while the guest runs.
#pragma once

#include <string>

#include "api/guest_config.h"
#include "machine/boot/boot.h"
#include "machine/layout.h"

namespace yado::assemble {

/// Errors: of the files (named), Corrupt or Failed for what is no kernel or does not fit, Usage (no kernel given).
Result<machine::boot::Entry> load_kernel(const api::GuestConfig& config, const machine::Layout& layout, GuestPhysAddr rsdp,
                                         mem::GuestMemory& memory);

}  // namespace yado::assemble
