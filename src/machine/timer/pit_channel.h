// One counter of an 8254, as a function of the tick number: nothing runs in between. All six modes.
#pragma once

#include <cstdint>
#include <optional>

#include "machine/timer/pit_regs.h"

namespace yado::machine {

class PitChannel {
  public:
    /// A control word for this channel (not a latch command).
    void set_control(PitControl control, uint64_t now);
    void write(uint8_t value, uint64_t now);
    uint8_t read(uint64_t now);
    void latch_count(uint64_t now);
    void latch_status(uint64_t now);
    void set_gate(bool gate, uint64_t now);
    bool gate() const { return s.gate; }
    /// The OUT pin.
    bool output(uint64_t now) const;
    /// The tick of the first rising edge of OUT after `now`, if the counter runs on as it is.
    std::optional<uint64_t> next_rise(uint64_t now) const;
    /// Ticks between rising edges in the periodic modes, else 0.
    uint32_t period() const { return s.mode == 2 || s.mode == 3 ? s.reload : 0; }

    /// All there is to save.
    struct State {
        uint8_t mode = 0;  ///< 0 to 5
        bool bcd = false;
        PitAccess access = PitAccess::LowHigh;  ///< never Latch
        uint32_t reload = 0x10000;              ///< 1 to 0x10000
        uint8_t low_byte = 0;                   ///< of a 16-bit count half written
        bool low_written = false, high_read_next = false;
        bool loaded = false;     ///< a count was written since the control word
        bool triggered = false;  ///< modes 1 and 5: a gate edge came
        bool gate = true;
        uint64_t start = 0;    ///< tick at which counting began, while it runs
        uint64_t elapsed = 0;  ///< ticks counted, while it is stopped
        uint16_t latched = 0;
        uint8_t latched_bytes = 0;  ///< bytes of `latched` still to be read
        uint8_t status = 0;
        bool status_latched = false;
    };
    State s;

  private:
    bool waits_for_trigger() const { return s.mode == 1 || s.mode == 5; }
    /// Counting now: loaded, triggered, gate high where the gate enables.
    bool running() const;
    uint64_t elapsed(uint64_t now) const;
    uint16_t count(uint64_t now) const;
    void load(uint16_t raw, uint64_t now);
};

}  // namespace yado::machine
