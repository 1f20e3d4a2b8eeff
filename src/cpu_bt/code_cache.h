// Memory for translated code, mapped twice: once writable and once executable, never both in one mapping. It has no name (no
// memfd): `perf` looks into its map files only for memory without one.
// Thread: the vCPU's own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"

namespace yado::cpu_bt {

class CodeCache {
  public:
    /// Bounded for ever: a full cache is not enlarged. Host memory is taken as it is written.
    static Result<CodeCache> create(size_t bytes);
    CodeCache(CodeCache&& other) noexcept;
    CodeCache(const CodeCache&) = delete;
    ~CodeCache();

    uint8_t* writable() const { return writable_; }
    const uint8_t* executable() const { return executable_; }
    size_t size() const { return size_; }
    /// Gives host memory behind [from, size) back.
    void discard(size_t from) const;

  private:
    CodeCache(uint8_t* writable, const uint8_t* executable, size_t size) : writable_(writable), executable_(executable), size_(size) {}

    uint8_t* writable_;
    const uint8_t* executable_;
    size_t size_;
};

}  // namespace yado::cpu_bt
