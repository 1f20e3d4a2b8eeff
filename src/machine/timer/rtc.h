// The MC146818 real-time clock with 128 bytes of CMOS RAM behind ports 70h and 71h, and the NMI mask in port 70h.
//
// The time is the host's wall clock plus an offset, set when the guest sets the clock; while register B's SET bit or
// the divider reset holds the clock it stands still and is edited. Flags in C are computed when somebody looks or, if
// their interrupt is enabled, when the timer fires. Any thread; one lock of rank Device.
#pragma once

#include <array>
#include <memory>

#include "base/guarded.h"
#include "bus/device.h"
#include "io/timer.h"
#include "machine/ports.h"
#include "machine/timer/rtc_regs.h"

namespace yado::machine {

class Rtc final : public bus::Device {
  public:
    struct Wiring {
        bus::IrqLine& irq;  ///< IRQ 8 (LegacyRoute::legacy_input)
        io::TimerQueue& timers;
    };
    explicit Rtc(Wiring wiring);

    bus::IoHandler& ports() { return ports_; }  ///< 0x70, 2 bytes
    /// Port 70h bit 7: the board's NMI sources are off.
    bool nmi_masked() const;
    /// A byte of CMOS RAM (14 to 127, not the century), for firmware that looks for memory sizes there.
    void set_cmos(unsigned index, uint8_t value);

    // bus::Device
    std::string id() const override { return "rtc"; }
    std::string kind() const override { return "mc146818"; }
    void reset() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    struct State {
        std::array<uint8_t, 128> cmos{};  ///< time registers are computed, not kept here
        uint8_t index = 0;
        bool nmi_masked = false;
        int64_t offset = 0;         ///< ns: clock = wall + offset
        int64_t frozen = 0;         ///< ns since 1970: the clock while it is held
        int64_t last_update = 0;    ///< second up to which C knows updates and alarms
        int64_t last_periodic = 0;  ///< period up to which C knows ticks
        Nanoseconds fires{};        ///< when the timer is armed for
        RtcA a() const { return RtcA(cmos[rtc_reg::A]); }
        RtcB b() const { return RtcB(cmos[rtc_reg::B]); }
        bool held() const { return b().get(RtcB::SET) || divider_in_reset(a()); }
    };
    int64_t time(const State& s) const;
    void set_time(State& s, int64_t time);
    uint8_t read(unsigned offset);
    void write(unsigned offset, uint8_t value);
    uint8_t read_cmos(State& s);
    void write_cmos(State& s, uint8_t value);
    void write_control(State& s, unsigned reg, uint8_t value);
    void write_time(State& s, unsigned reg, uint8_t value);
    uint8_t read_time(const State& s, unsigned reg) const;
    uint8_t encode(const State& s, unsigned value) const;
    unsigned decode(const State& s, uint8_t value) const;
    int64_t next_alarm(const State& s, int64_t after) const;
    int64_t period(const State& s) const;
    void catch_up(State& s);
    void schedule(State& s);
    void drive(State& s);
    void restart(State& s);
    void on_timer();

    Wiring wiring_;
    Guarded<State> state_;
    BytePorts<Rtc, &Rtc::read, &Rtc::write> ports_{*this};
    std::unique_ptr<io::Timer> timer_;
};

}  // namespace yado::machine
