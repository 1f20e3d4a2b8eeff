// Where network devices meet packet back ends (src/net implements them).
//
// A frame is an Ethernet frame without FCS, at most kMaxFrame bytes. All calls on one executor's thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"

namespace yado::link {

inline constexpr size_t kMaxFrame = 65'550;  ///< 64 KiB of payload and an Ethernet header with a VLAN tag

/// What receives frames from a back end: a virtual NIC.
class FrameSink {
  public:
    virtual ~FrameSink() = default;
    /// Offers one frame. False: no room; the back end keeps or drops it and is told by ready() when to go on.
    virtual bool deliver(std::span<const std::byte> frame) = 0;
};

class PacketBackend {
  public:
    virtual ~PacketBackend() = default;
    /// Frames from the guest to the world; copied before the call returns. Never blocks: what cannot be sent is dropped
    /// and counted.
    virtual void send(std::span<const std::byte> frame) = 0;
    /// Starts delivering to `sink` (nullptr stops).
    virtual void attach(FrameSink* sink) = 0;
    /// The sink has room again.
    virtual void ready() = 0;

    struct Counters {
        uint64_t sent = 0, received = 0, send_drops = 0, receive_drops = 0;
    };
    virtual Counters counters() const = 0;
    virtual std::string describe() const = 0;
};

}  // namespace yado::link
