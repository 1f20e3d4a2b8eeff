// The 8042 keyboard controller with nothing attached: self tests, command byte, A20 and reset lines; and port 92h.
// Devices that do not answer are reported as the controller does: FEh with the time-out bit. Any thread; one lock of
// rank Device; reset is called with no lock held. Spec: IBM PS/2 Hardware Interface Technical Reference, keyboard and
// auxiliary device controller; ICH9 13.7.3 (port 92h).
#pragma once

#include <functional>
#include <utility>

#include "base/guarded.h"
#include "bus/device.h"
#include "machine/ports.h"

namespace yado::machine {

class I8042 final : public bus::Device {
  public:
    struct Wiring {
        bus::IrqLine& keyboard_irq;  ///< IRQ 1
        bus::IrqLine& mouse_irq;     ///< IRQ 12
        std::function<void()> reset;
    };
    explicit I8042(Wiring wiring) : wiring_(std::move(wiring)) { I8042::reset(); }

    bus::IoHandler& data_port() { return data_port_; }         ///< 0x60, 1 byte
    bus::IoHandler& command_port() { return command_port_; }   ///< 0x64, 1 byte
    bus::IoHandler& system_control() { return system_port_; }  ///< 0x92, 1 byte
    /// The A20 gate as software set it (nothing masks addresses).
    bool a20() const;

    // bus::Device
    std::string id() const override { return "i8042"; }
    std::string kind() const override { return "i8042"; }
    void reset() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    struct State {
        uint8_t command_byte = 0;
        uint8_t output_port = 0;
        uint8_t status = 0;
        uint8_t output = 0;
        uint8_t pending_command = 0;  ///< the command whose data byte is awaited; 0: none
    };
    enum class Source : uint8_t { Controller, Keyboard, Mouse };
    uint8_t read_data(unsigned);
    void write_data(unsigned, uint8_t value);
    uint8_t read_status(unsigned);
    void write_command(unsigned, uint8_t value);
    uint8_t read_system(unsigned);
    void write_system(unsigned, uint8_t value);
    bool execute(State& s, uint8_t command);
    bool take_data(State& s, uint8_t command, uint8_t value);
    void respond(State& s, uint8_t value, Source source, bool timed_out = false);
    void update(State& s);

    Wiring wiring_;
    Guarded<State> state_;
    BytePorts<I8042, &I8042::read_data, &I8042::write_data> data_port_{*this};
    BytePorts<I8042, &I8042::read_status, &I8042::write_command> command_port_{*this};
    BytePorts<I8042, &I8042::read_system, &I8042::write_system> system_port_{*this};
};

}  // namespace yado::machine
