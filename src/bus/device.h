// The lifecycle that every device speaks.
//
//     create --> stopped --resume--> running --pause--> stopped --save or load--> stopped --destroy--> gone
//     reset (power-on or bus reset): while stopped
//
// pause(): after it returns nothing of the device touches guest memory or raises interrupts; requests in flight have
// completed or are kept, so that save() holds them. Calls come from the control executor, one at a time.
#pragma once

#include <string>

#include "state/stateful.h"

namespace yado::bus {

class Device : public state::Stateful {
  public:
    /// Id as the user sees it ("disk0", "pit"); unique in a guest.
    virtual std::string id() const = 0;
    /// What it is, for `yado info` ("virtio-blk", "ioapic").
    virtual std::string kind() const = 0;
    /// Back to power-on state. vCPUs are stopped.
    virtual void reset() = 0;
    virtual void pause() {}
    virtual void resume() {}
    std::string state_name() const override { return kind() + "." + id(); }
};

}  // namespace yado::bus
