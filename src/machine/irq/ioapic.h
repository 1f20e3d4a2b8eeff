// The I/O APIC: 24 pins, each with a redirection entry that says which message a pin sends. Version 0x20: with an EOI
// register. Spec: Intel 82093AA; ICH9 13.5.
//
// line(pin).set() -> service(pin): not masked, and not waiting for EOI if level -> MsiSink. Any thread; one lock of
// rank Interrupt, held while sending (local APICs rank higher).
#pragma once

#include <array>
#include <functional>
#include <optional>

#include "base/guarded.h"
#include "bus/device.h"
#include "machine/irq/ioapic_regs.h"
#include "machine/ports.h"

namespace yado::machine {

class Ioapic final : public bus::Device, public bus::IoHandler {
  public:
    static constexpr unsigned kPins = 24;
    static constexpr uint8_t kVersion = 0x20;

    struct Wiring {
        bus::MsiSink& messages;
        /// Optional: an entry's message (nullopt while masked) whenever it changes, under the lock. KVM's split irqchip
        /// must know the level-triggered vectors to report their EOIs.
        std::function<void(unsigned pin, std::optional<bus::MsiMessage>)> route_changed = {};
    };
    explicit Ioapic(Wiring wiring);

    /// pin 0 to 23. Any thread, any lock below Interrupt.
    bus::IrqLine& line(unsigned pin) { return lines_[pin < kPins ? pin : 0]; }
    /// A local APIC ended a level-triggered interrupt. Level pins still asserted fire again. Any thread, no LAPIC lock.
    void eoi(uint8_t vector);

    // bus::IoHandler: the 4 KiB window at FEC00000
    uint64_t read(uint64_t offset, unsigned size) override;
    void write(uint64_t offset, unsigned size, uint64_t value) override;

    // bus::Device
    std::string id() const override { return "ioapic"; }
    std::string kind() const override { return "ioapic"; }
    void reset() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

    /// Called by line().
    void set_input(unsigned pin, bool asserted);
    /// The message that an entry sends.
    static bus::MsiMessage message_of(IoRedTbl entry);

  private:
    struct State {
        uint8_t id = 0;
        uint8_t select = 0;
        uint32_t inputs = 0;  ///< levels now
        std::array<IoRedTbl, kPins> entries = {};
        State() { entries.fill(IoRedTbl(IoRedTbl::INTERRUPT_MASK.mask)); }
    };
    uint32_t read_window(const State& s) const;
    void write_window(State& s, uint32_t value);
    void write_entry(State& s, unsigned pin, bool high, uint32_t value);
    /// Sends for a level pin that is asserted, unmasked and not yet waiting for EOI.
    void service_level(State& s, unsigned pin);
    void end(State& s, uint8_t vector);
    void announce(const State& s, unsigned pin) const;

    Wiring wiring_;
    Guarded<State, LockRank::Interrupt> state_;
    std::array<IndexedLine<Ioapic>, kPins> lines_;
};

}  // namespace yado::machine
