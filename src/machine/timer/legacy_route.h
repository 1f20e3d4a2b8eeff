// Who drives IRQ 0 and IRQ 8: the PIT and the RTC, or the HPET's timers 0 and 1 once its legacy replacement routing is
// on (IA-PC HPET 1.0a, 2.3.5). Any thread; lock-free, so that a source may hold its own lock.
#pragma once

#include <array>
#include <atomic>

#include "machine/ports.h"

namespace yado::machine {

class LegacyRoute {
  public:
    enum class Source : uint8_t { Legacy = 0, Hpet = 1 };

    explicit LegacyRoute(bus::IrqLine& output) : output_(output) {
        for (unsigned i = 0; i < inputs_.size(); ++i) inputs_[i].bind(*this, i);
    }
    bus::IrqLine& legacy_input() { return inputs_[0]; }
    bus::IrqLine& hpet_input() { return inputs_[1]; }
    void select(Source source) {
        selected_.store(static_cast<unsigned>(source));
        output_.set(level_[static_cast<unsigned>(source)].load());
    }
    /// Called by the inputs.
    void set_input(unsigned index, bool asserted) {
        level_[index].store(asserted);
        if (selected_.load() == index) output_.set(asserted);
    }

  private:
    bus::IrqLine& output_;
    std::array<IndexedLine<LegacyRoute>, 2> inputs_;
    std::array<std::atomic<bool>, 2> level_{};
    std::atomic<unsigned> selected_{0};
};

}  // namespace yado::machine
