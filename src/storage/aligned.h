// Memory for I/O, zeroed, at an alignment.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>

namespace yado::storage {

class AlignedBuffer {
  public:
    AlignedBuffer(size_t size, size_t alignment)
        : size_(size), alignment_(alignment < alignof(std::max_align_t) ? alignof(std::max_align_t) : alignment),
          data_(new (std::align_val_t(alignment_)) std::byte[size]()) {}
    AlignedBuffer(const AlignedBuffer&) = delete;
    AlignedBuffer& operator=(const AlignedBuffer&) = delete;
    ~AlignedBuffer() { ::operator delete[](data_, std::align_val_t(alignment_)); }

    std::span<std::byte> bytes() { return {data_, size_}; }

  private:
    size_t size_, alignment_;
    std::byte* data_;
};

}  // namespace yado::storage
