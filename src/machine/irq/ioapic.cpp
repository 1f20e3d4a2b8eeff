#include "machine/irq/ioapic.h"

#include "base/bytes.h"
#include "machine/irq/irq.pb.h"
#include "machine/irq/msi_regs.h"

namespace yado::machine {

Ioapic::Ioapic(Wiring wiring) : wiring_(std::move(wiring)) {
    for (unsigned pin = 0; pin < kPins; ++pin) lines_[pin].bind(*this, pin);
}

bus::MsiMessage Ioapic::message_of(IoRedTbl entry) {
    MsiAddress address;
    address.set(MsiAddress::BASE, kMsiBase);
    address.set(MsiAddress::DESTINATION, entry.get(IoRedTbl::DESTINATION));
    address.set(MsiAddress::DESTINATION_EXTENDED, entry.get(IoRedTbl::DESTINATION_EXTENDED));
    address.set(MsiAddress::DESTINATION_MODE, entry.get(IoRedTbl::DESTMOD));
    MsiData data;
    data.set(MsiData::VECTOR, entry.get(IoRedTbl::INTVEC));
    data.set(MsiData::DELIVERY_MODE, entry.get(IoRedTbl::DELMOD));
    data.set(MsiData::TRIGGER_MODE, entry.get(IoRedTbl::TRIGGER_MODE));
    data.set(MsiData::LEVEL_ASSERT, true);
    return {GuestPhysAddr(address.raw), data.raw};
}

void Ioapic::set_input(unsigned pin, bool asserted) {
    auto s = state_.lock();
    const uint32_t bit = 1u << pin;
    const bool rises = asserted && !(s->inputs & bit);
    s->inputs = asserted ? s->inputs | bit : s->inputs & ~bit;
    const IoRedTbl entry = s->entries[pin];
    if (entry.get(IoRedTbl::TRIGGER_MODE) == TriggerMode::Level)
        service_level(*s, pin);
    else if (rises && !entry.get(IoRedTbl::INTERRUPT_MASK))  // a masked edge is lost (3.2.4, bit 16)
        wiring_.messages.send(message_of(entry));
}

void Ioapic::service_level(State& s, unsigned pin) {
    IoRedTbl& entry = s.entries[pin];
    if (entry.get(IoRedTbl::TRIGGER_MODE) != TriggerMode::Level || !(s.inputs >> pin & 1)) return;
    if (entry.get(IoRedTbl::INTERRUPT_MASK) || entry.get(IoRedTbl::REMOTE_IRR)) return;
    const auto mode = entry.get(IoRedTbl::DELMOD);
    // Only what ends with an EOI waits for one.
    entry.set(IoRedTbl::REMOTE_IRR, mode == DeliveryMode::Fixed || mode == DeliveryMode::LowestPriority);
    wiring_.messages.send(message_of(entry));
}

void Ioapic::end(State& s, uint8_t vector) {
    for (unsigned pin = 0; pin < kPins; ++pin) {
        IoRedTbl& entry = s.entries[pin];
        if (!entry.get(IoRedTbl::REMOTE_IRR) || entry.get(IoRedTbl::INTVEC) != vector) continue;
        entry.set(IoRedTbl::REMOTE_IRR, false);
        service_level(s, pin);
    }
}

void Ioapic::eoi(uint8_t vector) {
    auto s = state_.lock();
    end(*s, vector);
}

void Ioapic::announce(const State& s, unsigned pin) const {
    if (!wiring_.route_changed) return;
    const IoRedTbl entry = s.entries[pin];
    if (entry.get(IoRedTbl::INTERRUPT_MASK))
        wiring_.route_changed(pin, std::nullopt);
    else
        wiring_.route_changed(pin, message_of(entry));
}

void Ioapic::write_entry(State& s, unsigned pin, bool high, uint32_t value) {
    IoRedTbl& entry = s.entries[pin];
    const IoRedTbl before = entry;
    const uint64_t writable = high ? kIoRedTblWritableHigh : kIoRedTblWritable;
    const uint64_t wide = high ? static_cast<uint64_t>(value) << 32 : value;
    entry.raw = (entry.raw & ~writable) | (wide & writable);
    // An entry made edge-triggered waits for nothing: the way software without an EOI register ends interrupts.
    if (entry.get(IoRedTbl::TRIGGER_MODE) == TriggerMode::Edge) entry.set(IoRedTbl::REMOTE_IRR, false);
    if (entry != before) announce(s, pin);
    service_level(s, pin);
}

uint32_t Ioapic::read_window(const State& s) const {
    switch (s.select) {
        case kIoApicId:
        case kIoApicArb: return static_cast<uint32_t>(s.id) << 24;
        case kIoApicVer: {
            IoApicVer version;
            version.set(IoApicVer::VERSION, kVersion);
            version.set(IoApicVer::MAX_REDIRECTION_ENTRY, kPins - 1);
            return version.raw;
        }
        default: break;
    }
    if (s.select < kIoRedTblFirst || s.select >= kIoRedTblFirst + 2 * kPins) return 0;
    const unsigned index = s.select - kIoRedTblFirst;
    return static_cast<uint32_t>(s.entries[index / 2].raw >> (index & 1 ? 32 : 0));
}

void Ioapic::write_window(State& s, uint32_t value) {
    if (s.select == kIoApicId) s.id = value >> 24 & 0x0f;
    if (s.select < kIoRedTblFirst || s.select >= kIoRedTblFirst + 2 * kPins) return;
    const unsigned index = s.select - kIoRedTblFirst;
    write_entry(s, index / 2, index & 1, value);
}

uint64_t Ioapic::read(uint64_t offset, unsigned size) {
    auto s = state_.lock();
    uint32_t value = 0;
    if (offset == kIoRegSel) value = s->select;
    if (offset == kIoWin) value = read_window(*s);
    return value & mask_of_size(size);
}

void Ioapic::write(uint64_t offset, unsigned size, uint64_t value) {
    auto s = state_.lock();
    if (offset == kIoRegSel) s->select = static_cast<uint8_t>(value);
    if (offset == kIoWin && size == 4) write_window(*s, static_cast<uint32_t>(value));  // "must be loaded as a dword"
    if (offset == kIoEoi) end(*s, static_cast<uint8_t>(value));
}

void Ioapic::reset() {
    auto s = state_.lock();
    const uint32_t inputs = s->inputs;
    *s = State();
    s->inputs = inputs;
    for (unsigned pin = 0; pin < kPins; ++pin) announce(*s, pin);
}

Result<state::Record> Ioapic::save() const {
    auto s = state_.lock();
    pb::Ioapic m;
    m.set_id(s->id);
    m.set_select(s->select);
    m.set_inputs(s->inputs);
    for (const IoRedTbl& entry : s->entries) m.add_redirections(entry.raw);
    return state::make_record(*this, m);
}

Result<> Ioapic::load(const state::Record& record) {
    pb::Ioapic m;
    YADO_TRY(state::parse_record(record, m));
    constexpr uint64_t kKnown = kIoRedTblWritable | kIoRedTblWritableHigh | IoRedTbl::REMOTE_IRR.mask;
    bool ok = m.id() < 16 && all_fit<uint8_t>(m.select()) && m.inputs() < 1u << kPins && m.redirections_size() == kPins;
    for (const uint64_t raw : m.redirections()) ok = ok && !(raw & ~kKnown);
    if (!ok) return fail(ErrorKind::Corrupt, "saved state of {}: a register is out of range", record.name);
    auto s = state_.lock();
    s->id = static_cast<uint8_t>(m.id());
    s->select = static_cast<uint8_t>(m.select());
    s->inputs = m.inputs();
    for (unsigned pin = 0; pin < kPins; ++pin) {
        s->entries[pin] = IoRedTbl(m.redirections(static_cast<int>(pin)));
        announce(*s, pin);
    }
    return {};
}

}  // namespace yado::machine
