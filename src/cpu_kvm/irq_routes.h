// What each of KVM's interrupt numbers (GSIs) sends: one table for the I/O APIC's level-triggered pins, which have the lowest
// numbers, and for event descriptors (irqfd), each of which has one of the others.
//
//     make() --> a number --bind()--> in the table, descriptor assigned --unbind()--> not assigned --end--> number free
//
// KVM takes whole tables and waits for its readers each time, so that only what changes a message makes one; the entry of a
// number that became free goes with the next. Any thread; a lock of rank Vcpu is held while a table is handed over.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/guarded.h"
#include "cpu/vcpu.h"

namespace yado::cpu_kvm {

enum class Gsi : uint32_t {};

class IrqRoutes {
  public:
    struct Route {
        Gsi gsi;
        cpu::RouteMessage message;
        friend bool operator==(const Route&, const Route&) = default;
    };
    /// What KVM does of it, or a test's stand-in.
    class Kernel {
      public:
        virtual ~Kernel() = default;
        virtual Result<> set_table(std::span<const Route> routes) = 0;
        /// Events of the descriptor, those that it holds already too, send the number's message.
        virtual Result<> assign(Gsi gsi, int eventfd) = 0;
        /// Returns when earlier events' messages have been sent.
        virtual void deassign(Gsi gsi, int eventfd) = 0;
    };

    /// Numbers below `pins` are the I/O APIC's; `limit` is the first that does not exist.
    IrqRoutes(Kernel& kernel, unsigned pins, unsigned limit) : kernel_(kernel), pins_(pins), limit_(limit), slots_(pins) {}

    /// Errors: Failed (KVM refuses; the old route stays).
    Result<> set_pin(unsigned pin, const cpu::RouteMessage& message);
    /// A route for a descriptor that outlives it; it ends before this does. Errors: OutOfRange (no number is left).
    Result<std::unique_ptr<cpu::MessageRoute>> make(int eventfd);
    /// Descriptors' numbers that are in use.
    unsigned in_use() const;

  private:
    class DescriptorRoute;
    struct Slot {
        bool taken = false;
        std::optional<cpu::RouteMessage> message;
    };
    using Slots = std::vector<Slot>;

    Result<> route(Gsi gsi, const cpu::RouteMessage& message);
    void give_back(Gsi gsi);

    Kernel& kernel_;
    const unsigned pins_, limit_;
    Guarded<Slots, LockRank::Vcpu> slots_;  // by number
};

}  // namespace yado::cpu_kvm
