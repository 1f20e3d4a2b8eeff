// Reading kernels and initrds: only regular files, whole, once (what is checked is what is used).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"
#include "base/units.h"

namespace yado::machine::boot {

/// A file's bytes in anonymous memory of their own, given back to the host when destroyed.
class FileBytes {
  public:
    FileBytes() = default;
    std::span<const std::byte> span() const { return {bytes_.get(), size_}; }

  private:
    friend Result<FileBytes> read_file(const std::string& path, std::string_view what, Bytes limit);
    struct Free {
        void operator()(std::byte* p) const;
    };
    std::unique_ptr<std::byte[], Free> bytes_;
    size_t size_ = 0;
};

/// The bytes of a regular file of 1 byte to `limit`. `what` ("kernel", "initrd") names it in errors.
/// Errors: NotFound, Denied, Failed (a directory, FIFO or device; empty; larger than limit).
Result<FileBytes> read_file(const std::string& path, std::string_view what, Bytes limit);

}  // namespace yado::machine::boot
