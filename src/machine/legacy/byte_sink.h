// Where a character device's output goes.
#pragma once

#include <cstddef>

namespace yado::machine {

class ByteSink {
  public:
    virtual ~ByteSink() = default;
    /// One byte, in order. Any thread, under the device's lock: must not block nor call the device back.
    virtual void put(std::byte byte) = 0;
};

}  // namespace yado::machine
