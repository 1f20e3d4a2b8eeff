// The 8254 interval timer: channel 0 drives IRQ 0, channel 1 was DRAM refresh, channel 2 the speaker (port 61h).
// Register accesses on any thread; a timer of the queue only for channel 0's rising edges. One lock of rank Device.
#pragma once

#include <array>
#include <memory>

#include "base/guarded.h"
#include "bus/device.h"
#include "io/timer.h"
#include "machine/ports.h"
#include "machine/timer/pit_channel.h"

namespace yado::machine {

class Pit final : public bus::Device {
  public:
    struct Wiring {
        bus::IrqLine& irq;  ///< IRQ 0 (LegacyRoute::legacy_input)
        io::TimerQueue& timers;
    };
    explicit Pit(Wiring wiring);

    bus::IoHandler& ports() { return ports_; }               ///< 0x40, 4 bytes
    bus::IoHandler& system_control() { return control_b_; }  ///< 0x61, 1 byte

    // bus::Device
    std::string id() const override { return "pit"; }
    std::string kind() const override { return "i8254"; }
    void reset() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    struct State {
        std::array<PitChannel, 3> channels;
        bool speaker_data = false;
        Nanoseconds fires{};  ///< when the timer is armed for
    };
    uint64_t tick() const { return ticks_at(wiring_.timers.clock().now(), kPitHz); }
    uint8_t read(unsigned offset);
    void write(unsigned offset, uint8_t value);
    uint8_t read_control_b(unsigned offset);
    void write_control_b(unsigned offset, uint8_t value);
    void write_control(State& s, uint8_t value, uint64_t now);
    void read_back(State& s, uint8_t value, uint64_t now);
    void schedule(State& s, uint64_t now);
    void on_timer();

    Wiring wiring_;
    Guarded<State> state_;
    BytePorts<Pit, &Pit::read, &Pit::write> ports_{*this};
    BytePorts<Pit, &Pit::read_control_b, &Pit::write_control_b> control_b_{*this};
    std::unique_ptr<io::Timer> timer_;
};

}  // namespace yado::machine
