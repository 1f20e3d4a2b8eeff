// The path between local APICs, and from MSIs and the IOAPIC to them: picks the destinations of a message (Intel SDM
// vol. 3, 11.6.2). Any thread. The set of APICs changes only while assembling; no lock of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "bus/irq.h"
#include "machine/irq/lapic_regs.h"

namespace yado::machine {

class Lapic;

/// An interrupt message with its destination, whatever it came from.
struct ApicMessage {
    static constexpr uint32_t kBroadcast = 0xffffffff;
    uint32_t destination = 0;
    DestinationMode destination_mode = DestinationMode::Physical;
    DeliveryMode delivery = DeliveryMode::Fixed;
    TriggerMode trigger = TriggerMode::Edge;
    uint8_t vector = 0;
    bool redirect = false;  ///< to one of the destinations: lowest priority
};

class ApicBus final : public bus::MsiSink {
  public:
    struct Wiring {
        /// EOI broadcast of a level-triggered vector (Ioapic::eoi). Called with no LAPIC lock held. May be empty.
        std::function<void(uint8_t vector)> eoi;
    };
    explicit ApicBus(Wiring wiring) : wiring_(std::move(wiring)) {}

    /// Called by Lapic's constructor.
    void add(Lapic& lapic) { lapics_.push_back(&lapic); }
    void remove(Lapic& lapic) { std::erase(lapics_, &lapic); }

    // bus::MsiSink. Writes outside FEExxxxxH are no interrupts and are dropped.
    void send(const bus::MsiMessage& message) override;

    /// An IPI. `source` for the shorthands that name it.
    void send_ipi(Lapic& source, Shorthand shorthand, const ApicMessage& message);
    void broadcast_eoi(uint8_t vector) const;

  private:
    void deliver(const ApicMessage& message);
    Lapic* lowest_priority(const ApicMessage& message);

    Wiring wiring_;
    std::vector<Lapic*> lapics_;
    std::atomic<uint32_t> turn_{0};  ///< rotates arbitration among equals
};

}  // namespace yado::machine
