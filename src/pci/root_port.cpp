#include "pci/root_port.h"

#include "pci/pci.pb.h"

namespace yado::pci {

namespace {

constexpr unsigned kMsixBar = 0;
bool overlaps(unsigned offset, unsigned size, unsigned start, unsigned length) { return offset < start + length && offset + size > start; }

}  // namespace

RootPort::RootPort(const FunctionWiring& wiring, Options options)
    : Bridge(wiring, {.vendor = 0x1b36, .device = 0x000c, .class_code = 0x060400}), options_(std::move(options)) {  // QEMU's, so that drivers know it
    add_msix(1, kMsixBar);
    hold_msix();  // until resume()
    add_slot_capability();
    use_intx_pin(1);
    seal();
}

RootPort::~RootPort() { clear_remains(*slot_.lock()); }

void RootPort::add_slot_capability() {
    express_ = add_express(ExpressType::RootPort);
    configure([&](ConfigSpace& c) {
        constexpr uint16_t kSlotImplemented = 1 << 8;
        constexpr uint32_t kReportsLinkActive = 1u << 20;
        const auto also = [&]<typename T>(unsigned offset, T bits) {
            const auto at = static_cast<uint16_t>(express_ + offset);
            c.set<T>(at, c.get<T>(at) | bits);
        };
        also(kExpressCapabilities, kSlotImplemented);
        also(kLinkCapabilities, kReportsLinkActive);
        also(kSlotCapabilities, kHasAttentionButton | kHasPowerController | kHasAttentionIndicator | kHasPowerIndicator | kHotPlugSurprise |
                                    kHotPlugCapable | options_.slot_number << kSlotNumberShift);
        c.own<uint16_t>(express_ + kLinkStatus, kLinkActive);
        c.allow<uint16_t>(express_ + kSlotControl, kSlotControlWritable);
        c.clear_by_one<uint16_t>(express_ + kSlotStatus, kSlotStatusEvents);
        c.own<uint16_t>(express_ + kSlotStatus, kPresence);
        c.allow<uint16_t>(express_ + kRootControl, 0x000f);
        SlotControl off;
        off.set(SlotControl::POWER_OFF, true);
        off.set(SlotControl::POWER_INDICATOR, Indicator::Off);
        off.set(SlotControl::ATTENTION_INDICATOR, Indicator::Off);
        c.set<uint16_t>(express_ + kSlotControl, off.raw);
    });
}

/// The slot's card has power, and neither the link nor the bus behind is held down. After a surprise removal the link stays down until the
/// slot has been without power: the guest may still be at the card that is gone.
bool RootPort::wants_link(const Slot& slot) const {
    const LinkControl link(static_cast<uint16_t>(config_register(express_ + kLinkControl, 2)));
    const BridgeControl bridge(static_cast<uint16_t>(config_register(kBridgeControl, 2)));
    return slot.card && slot.remains.empty() && powered() && !link.get(LinkControl::LINK_DISABLE) && !bridge.get(BridgeControl::SECONDARY_BUS_RESET);
}

/// Sets event bits; the guest clears them.
void RootPort::tell(uint16_t events) {
    configure([&](ConfigSpace& c) {
        const auto at = static_cast<uint16_t>(express_ + kSlotStatus);
        c.set<uint16_t>(at, c.get<uint16_t>(at) | events);
    });
}

/// 6.7.3.4: an interrupt while an enabled event is there; a message when that begins.
void RootPort::update_interrupt(Slot& slot) {
    const SlotControl c = control();
    const uint32_t status = config_register(express_ + kSlotStatus, 2);
    const bool event = status & c.raw & kSlotEvents || (status & kLinkChanged && c.get(SlotControl::LINK_CHANGED_ENABLE));
    const bool level = event && c.get(SlotControl::HOT_PLUG_INTERRUPT_ENABLE);
    set_intx(level);
    if (level && !slot.signalled) raise_msix(0);
    slot.signalled = level;
}

void RootPort::config_written(uint16_t offset, unsigned size) {
    Bridge::config_written(offset, size);
    const bool commanded = overlaps(offset, size, express_ + kSlotControl, 2);
    if (!commanded && !overlaps(offset, size, express_ + kLinkControl, 2) && !overlaps(offset, size, express_ + kSlotStatus, 2) &&
        !overlaps(offset, size, kBridgeControl, 2))
        return;
    bool service = false;
    {
        auto slot = slot_.lock();
        if (!powered()) clear_remains(*slot);
        const bool wanted = wants_link(*slot);
        slot->dropped |= slot->linked && !wanted;
        service = slot->dropped || wanted != slot->linked || (slot->asked && !powered());
        if (commanded) {
            slot->completing |= service;
            if (!service) tell(kCommandCompleted);
        }
        update_interrupt(*slot);
    }
    if (service && options_.wants_service) options_.wants_service();
}

void RootPort::settle_link(Slot& slot, bool linked, uint16_t events) {
    if (slot.linked != linked || slot.dropped) events |= kLinkChanged;
    slot.linked = linked;
    slot.dropped = false;
    configure([&](ConfigSpace& c) { c.set<uint16_t>(express_ + kLinkStatus, kWidth1 | kSpeed2_5 | (linked ? kLinkActive : 0)); });
    set_link(linked ? Link::Up : Link::Down);
    tell(events);
    update_interrupt(slot);
}

void RootPort::service() {
    PciFunction* fallen = nullptr;
    {
        auto slot = slot_.lock();
        if (slot->dropped) fallen = slot->card;
    }
    if (fallen) fallen->reset();  // waits for its requests
    auto slot = slot_.lock();
    const uint16_t events = std::exchange(slot->completing, false) ? kCommandCompleted : uint16_t{0};
    settle_link(*slot, wants_link(*slot), events);
}

void RootPort::leave_remains(Slot& slot, std::span<const Range> where) {
    for (const Range& r : where)
        if (!over_ram(r.start, r.size) && memory_space().attach(r.start, r.size, silence_, id() + ", removed card")) slot.remains.push_back(r);
}

void RootPort::clear_remains(Slot& slot) {
    for (const Range& r : std::exchange(slot.remains, {})) memory_space().detach(r.start, silence_);
}

Result<> RootPort::insert(PciFunction& card) {
    YADO_TRY(secondary_bus()->add(0, 0, card));
    auto slot = slot_.lock();
    slot->card = &card;
    slot->asked = false;
    // The button with the presence: a driver that listens to it, as Linux does where there is one, then powers the slot on at once.
    configure([&](ConfigSpace& c) { c.set<uint16_t>(express_ + kSlotStatus, c.get<uint16_t>(express_ + kSlotStatus) | kPresence); });
    settle_link(*slot, wants_link(*slot), kPresenceChanged | kAttentionPressed);
    return {};
}

void RootPort::eject() {
    PciFunction* const card = this->card();
    if (!card) return;
    std::vector<Range> bars;
    for (const FunctionInfo::Bar& bar : card->info().bars)
        if (bar.address && bar.kind != BarKind::Io) bars.push_back({*bar.address, bar.size});
    card->reset();
    secondary_bus()->remove(*card);
    auto slot = slot_.lock();
    if (slot->linked) leave_remains(*slot, bars);
    slot->card = nullptr;
    slot->asked = false;
    const bool completing = std::exchange(slot->completing, false);
    configure([&](ConfigSpace& c) { c.set<uint16_t>(express_ + kSlotStatus, c.get<uint16_t>(express_ + kSlotStatus) & ~kPresence); });
    settle_link(*slot, false, kPresenceChanged | (completing ? kCommandCompleted : 0));
}

RootPort::Asked RootPort::ask_to_leave() {
    auto slot = slot_.lock();
    if (!powered()) return Asked::Off;
    slot->asked = true;
    if (control().get(SlotControl::POWER_INDICATOR) == Indicator::Blink) return Asked::Going;
    tell(kAttentionPressed);
    update_interrupt(*slot);
    return Asked::Pressed;
}

bool RootPort::leaving() const {
    auto slot = slot_.lock();
    return slot->asked && !powered();
}

void RootPort::reset() {
    Bridge::reset();
    auto slot = slot_.lock();
    slot->completing = slot->dropped = slot->signalled = false;
    clear_remains(*slot);
    slot->linked = slot->card != nullptr;  // what is in at power-on has power
    configure([&](ConfigSpace& c) {
        if (!slot->card) return;
        SlotControl on;
        on.set(SlotControl::POWER_INDICATOR, Indicator::On);
        on.set(SlotControl::ATTENTION_INDICATOR, Indicator::Off);
        c.set<uint16_t>(express_ + kSlotControl, on.raw);
        c.set<uint16_t>(express_ + kSlotStatus, kPresence);
    });
    settle_link(*slot, slot->linked, 0);
}

void RootPort::resume() {
    service();
    release_msix();
}

std::string RootPort::detail() const {
    auto slot = slot_.lock();
    if (!slot->card) return fmt::format("slot {}, empty", options_.slot_number);
    return fmt::format("slot {}, {}{}{}", options_.slot_number, slot->card->id(), powered() ? "" : ", no power", slot->asked ? ", asked to let it go" : "");
}

Result<state::Record> RootPort::save() const {
    pb::RootPort m;
    save_function(*m.mutable_function());
    auto slot = slot_.lock();
    m.set_occupied(slot->card != nullptr);
    m.set_linked(slot->linked);
    m.set_dropped(slot->dropped);
    m.set_completing(slot->completing);
    m.set_asked(slot->asked);
    m.set_signalled(slot->signalled);
    for (const Range& r : slot->remains) {
        pb::Range& range = *m.add_remains();
        range.set_start(r.start);
        range.set_size(r.size);
    }
    return state::make_record(*this, m);
}

Result<> RootPort::load(const state::Record& record) {
    pb::RootPort m;
    YADO_TRY(state::parse_record(record, m));
    if (m.occupied() != (card() != nullptr))
        return fail(ErrorKind::Corrupt, "saved state of {}: its slot is {}, here it is not", record.name, m.occupied() ? "taken" : "empty");
    if ((m.linked() || m.dropped() || m.asked()) && !m.occupied()) return fail(ErrorKind::Corrupt, "saved state of {}: an empty slot with a link", record.name);
    if (m.remains_size() > static_cast<int>(kBars) || (m.remains_size() > 0 && m.linked()))
        return fail(ErrorKind::Corrupt, "saved state of {}: remains of {} BARs", record.name, m.remains_size());
    YADO_TRY(load_function(m.function()));
    route();
    std::vector<Range> remains;
    for (const pb::Range& r : m.remains()) remains.push_back({r.start(), r.size()});
    auto slot = slot_.lock();
    slot->linked = m.linked();
    slot->dropped = m.dropped();
    slot->completing = m.completing();
    slot->asked = m.asked();
    slot->signalled = m.signalled();
    clear_remains(*slot);
    leave_remains(*slot, remains);
    configure([&](ConfigSpace& c) {
        const auto at = static_cast<uint16_t>(express_ + kSlotStatus);
        c.set<uint16_t>(at, (c.get<uint16_t>(at) & ~kPresence) | (slot->card ? kPresence : 0));
        c.set<uint16_t>(express_ + kLinkStatus, kWidth1 | kSpeed2_5 | (slot->linked ? kLinkActive : 0));
    });
    set_link(slot->linked ? Link::Up : Link::Down);
    update_interrupt(*slot);
    return {};
}

}  // namespace yado::pci
