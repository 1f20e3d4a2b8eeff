// How a device tells the disk behind it what becomes of it, and the disk tells how many requests it keeps back.
//
//     detached --attached--> in use --pausing--> paused --resumed--> in use         any --detached--> detached
//
// Executor's thread.
#pragma once

#include <cstddef>
#include <functional>

namespace yado::block {

class Attachment {
  public:
    virtual ~Attachment() = default;

    /// A driver uses the device. `resting` is told, until detached() has returned, how many requests are kept back until
    /// resumed(): a device that pauses does not wait for them.
    virtual void attached(std::function<void(size_t count)> resting) = 0;
    /// The device waits for its requests: what can end does so without delay.
    virtual void pausing() = 0;
    virtual void resumed() = 0;
    /// Nobody waits for a request any more but to see it end: those kept back fail.
    virtual void detached() = 0;
};

}  // namespace yado::block
