// How devices interrupt: a level on a line, or a message (MSI), sent by a call or by a write to an event descriptor.
// None of them ever sees a vCPU.
#pragma once

#include <cstdint>
#include <memory>

#include "base/error.h"
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

/// Sends a message for every event of one descriptor without a thread of ours (KVM's irqfd). One call at a time, any thread,
/// any lock below LockRank::Lapic. Its end unbinds it and gives back what it held.
class MsiRoute {
  public:
    virtual ~MsiRoute() = default;
    /// From now on events send `message`, and so do those that the descriptor holds already. Bound already: only the message
    /// changes. Errors: Failed (the kernel refuses); then it is unbound.
    virtual Result<> bind(const MsiMessage& message) = 0;
    /// When this returns, the messages of earlier events have arrived; later events stay in the descriptor.
    virtual void unbind() = 0;
};

/// Where messages go: the local APICs, or KVM's. Any thread, any lock below LockRank::Lapic.
class MsiSink {
  public:
    virtual ~MsiSink() = default;
    virtual void send(const MsiMessage& message) = 0;
    /// True if make_route can work. Never changes.
    virtual bool has_routes() const { return false; }
    /// A route, unbound, for an eventfd that outlives it. Errors: OutOfRange (no route is left), Failed.
    virtual Result<std::unique_ptr<MsiRoute>> make_route(int eventfd) {
        return fail(ErrorKind::Failed, "no routes for messages (descriptor {})", eventfd);
    }
};

}  // namespace yado::bus
