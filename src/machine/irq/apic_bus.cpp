#include "machine/irq/apic_bus.h"

#include "machine/irq/lapic.h"
#include "machine/irq/msi_regs.h"

namespace yado::machine {

void ApicBus::send(const bus::MsiMessage& msi) {
    const MsiAddress address(static_cast<uint32_t>(msi.address.value()));
    if (msi.address.value() >> 32 || address.get(MsiAddress::BASE) != kMsiBase) return;
    const MsiData data(msi.data);
    ApicMessage m;
    const uint32_t low = address.get(MsiAddress::DESTINATION), high = address.get(MsiAddress::DESTINATION_EXTENDED);
    m.destination = low == 0xff && high == 0 ? ApicMessage::kBroadcast : high << 8 | low;
    m.destination_mode = address.get(MsiAddress::DESTINATION_MODE);
    m.delivery = data.get(MsiData::DELIVERY_MODE);
    m.trigger = data.get(MsiData::TRIGGER_MODE);
    m.vector = data.get(MsiData::VECTOR);
    m.redirect = address.get(MsiAddress::REDIRECTION_HINT) && m.destination_mode == DestinationMode::Logical;
    if (m.trigger == TriggerMode::Level && !data.get(MsiData::LEVEL_ASSERT)) return;
    deliver(m);
}

void ApicBus::send_ipi(Lapic& source, Shorthand shorthand, const ApicMessage& message) {
    switch (shorthand) {
        case Shorthand::None: return deliver(message);
        case Shorthand::Self: return source.accept(message);
        case Shorthand::AllIncludingSelf:
        case Shorthand::AllExcludingSelf: break;
    }
    for (Lapic* lapic : lapics_)
        if (lapic != &source || shorthand == Shorthand::AllIncludingSelf) lapic->accept(message);
}

void ApicBus::deliver(const ApicMessage& message) {
    if (message.delivery == DeliveryMode::LowestPriority ||
        (message.redirect && message.delivery == DeliveryMode::Fixed)) {
        if (Lapic* lapic = lowest_priority(message)) lapic->accept(message);
        return;
    }
    for (Lapic* lapic : lapics_)
        if (lapic->matches(message.destination, message.destination_mode)) lapic->accept(message);
}

/// 11.6.2.4: the enabled destination of lowest processor priority; equals take turns.
Lapic* ApicBus::lowest_priority(const ApicMessage& message) {
    const size_t count = lapics_.size();
    const size_t first = count ? turn_.fetch_add(1, std::memory_order_relaxed) % count : 0;
    Lapic* best = nullptr;
    for (size_t i = 0; i < count; ++i) {
        Lapic* lapic = lapics_[(first + i) % count];
        if (!lapic->accepts_interrupts() || !lapic->matches(message.destination, message.destination_mode)) continue;
        if (!best || lapic->priority() < best->priority()) best = lapic;
    }
    return best;
}

void ApicBus::broadcast_eoi(uint8_t vector) const {
    if (wiring_.eoi) wiring_.eoi(vector);
}

}  // namespace yado::machine
