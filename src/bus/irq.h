// How devices interrupt: a level on a line, or a message (MSI). Neither ever sees a vCPU.
#pragma once

#include <cstdint>

#include "base/units.h"

namespace yado::bus {

/// One interrupt input of an interrupt controller. set() is idempotent; any thread, any lock below LockRank::Interrupt.
class IrqLine {
  public:
    virtual ~IrqLine() = default;
    virtual void set(bool asserted) = 0;
    /// An edge: asserted, then deasserted.
    void pulse() {
        set(true);
        set(false);
    }
};

/// A message-signalled interrupt as the device writes it (PCI 3.0, 6.8; Intel SDM vol. 3, 11.11).
struct MsiMessage {
    GuestPhysAddr address;
    uint32_t data = 0;
    friend bool operator==(const MsiMessage&, const MsiMessage&) = default;
};

/// Where messages go: the local APICs, or KVM's. Any thread, any lock below LockRank::Lapic.
class MsiSink {
  public:
    virtual ~MsiSink() = default;
    virtual void send(const MsiMessage& message) = 0;
};

}  // namespace yado::bus
