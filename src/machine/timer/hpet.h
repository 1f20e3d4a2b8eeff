// The HPET: a 64-bit counter at 100 MHz and three timers, all one-shot or periodic, 64-bit, edge or level, with legacy
// replacement routing. Spec: IA-PC HPET 1.0a. Any thread; one lock of rank Device.
#pragma once

#include <array>
#include <memory>

#include "base/guarded.h"
#include "bus/address_space.h"
#include "bus/device.h"
#include "bus/irq.h"
#include "io/timer.h"
#include "machine/timer/hpet_regs.h"
#include "machine/timer/legacy_route.h"

namespace yado::machine {

class Hpet final : public bus::Device, public bus::IoHandler {
  public:
    struct Wiring {
        io::TimerQueue& timers;
        LegacyRoute& irq0;                     ///< shared with the PIT
        LegacyRoute& irq8;                     ///< shared with the RTC
        std::array<bus::IrqLine*, 24> pins{};  ///< IOAPIC pins; only those of kHpetRoutes are used, null: not wired
    };
    explicit Hpet(Wiring wiring);

    // bus::IoHandler: the 1 KiB block at FED00000
    uint64_t read(uint64_t offset, unsigned size) override;
    void write(uint64_t offset, unsigned size, uint64_t value) override;

    // bus::Device
    std::string id() const override { return "hpet"; }
    std::string kind() const override { return "hpet"; }
    void reset() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    struct Channel {
        HpetTimerConfig config{kHpetTimerFixed};
        uint64_t comparator = ~0ull;
        uint64_t period = 0;
        Nanoseconds fires{};  ///< when its timer is armed for
        bool armed = false;      ///< the comparator will match then, whether or not a timer tells us
        bus::IrqLine* driven = nullptr;  ///< level mode: the line it holds up
    };
    struct State {
        HpetConfig config;
        uint64_t status = 0;
        uint64_t halted_counter = 0;
        Nanoseconds started{};  ///< while enabled: counter = halted_counter + ticks since
        std::array<Channel, kHpetTimers> channels;
    };
    uint64_t counter(const State& s) const;
    uint64_t read_register(const State& s, uint64_t at) const;
    uint64_t read_for_merge(const State& s, uint64_t at) const;
    void write_register(State& s, uint64_t at, uint64_t value);
    void write_config(State& s, uint64_t value);
    void write_status(State& s, uint64_t value);
    void write_timer_config(State& s, unsigned n, uint64_t value);
    void write_comparator(State& s, unsigned n, uint64_t value);
    bus::IrqLine* route(const State& s, unsigned n);
    void schedule(State& s, unsigned n, bool passed_now = false);
    void schedule_all(State& s);
    void on_timer(unsigned n);
    void interrupt(State& s, unsigned n);
    void lower(Channel& channel);
    static bool silent(const Channel& channel);
    void expire(State& s, unsigned n);
    bool due(const Channel& channel) const;
    uint64_t next_match(const State& s, const Channel& channel) const;
    uint64_t comparator(const State& s, const Channel& channel) const;
    void settle(State& s);

    Wiring wiring_;
    Guarded<State> state_;
    std::array<std::unique_ptr<io::Timer>, kHpetTimers> timers_;
};

}  // namespace yado::machine
