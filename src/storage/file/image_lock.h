// Locks on image files, in the form that QEMU's file driver uses, so that each notices the other: open-file-description
// read locks on single bytes. Byte 100+p: permission p is in use. Byte 200+p: the holder does not share permission p.
// (QEMU, docs/system/images.rst, "Disk image file locking"; the byte layout is that of block/file-posix.c.)
#pragma once

#include <string>

#include "base/error.h"

namespace yado::storage {

enum class LockUse : uint8_t {
    Write,  ///< reads and writes; nobody else may write or change the size
    Read,   ///< reads; nobody else may write
    ReadBesideWriter,  ///< reads; others may do what they like: who opens the same file for writing itself
};

/// Locks the open file until its description is closed. Errors: Conflict (names the holder's pid where it can be found);
/// nothing stays locked then. A file system without such locks is let pass.
Result<> lock_image(int fd, LockUse use, const std::string& name);
/// From one kind of lock to another for reading. Errors: as there.
Result<> relock_image(int fd, LockUse use, const std::string& name);

}  // namespace yado::storage
