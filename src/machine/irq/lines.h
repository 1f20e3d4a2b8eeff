// Wires between devices and interrupt controllers.
//
//     IsaIrqs: an ISA IRQ goes to the 8259 pair and to the IOAPIC at once (IRQ 0 to pin 2, as the MADT says).
//     SharedLine: several sources, one level-triggered input: asserted while any source is.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "bus/irq.h"

namespace yado::machine {

class IsaIrqs {
  public:
    struct Wiring {
        std::array<bus::IrqLine*, 16> pic;     ///< 8259 inputs
        std::array<bus::IrqLine*, 16> ioapic;  ///< the IOAPIC pin of each ISA IRQ; null where there is none (IRQ 2)
    };
    explicit IsaIrqs(Wiring wiring) {
        for (unsigned i = 0; i < 16; ++i) lines_[i].bind(wiring.pic[i], wiring.ioapic[i]);
    }
    bus::IrqLine& line(unsigned irq) { return lines_[irq & 15]; }

  private:
    class Line final : public bus::IrqLine {
      public:
        void bind(bus::IrqLine* pic, bus::IrqLine* ioapic) {
            pic_ = pic;
            ioapic_ = ioapic;
        }
        void set(bool asserted) override {
            if (pic_) pic_->set(asserted);
            if (ioapic_) ioapic_->set(asserted);
        }

      private:
        bus::IrqLine* pic_ = nullptr;
        bus::IrqLine* ioapic_ = nullptr;
    };
    std::array<Line, 16> lines_;
};

/// Up to 64 sources of one level-triggered input. Lock-free, because sources hold locks of different ranks: whoever
/// changes the set repeats the output until it agrees with the set.
class SharedLine {
  public:
    explicit SharedLine(bus::IrqLine& output) : output_(output) {}
    /// A new source; while assembling. At most 64: later ones share the last.
    bus::IrqLine& add_source() {
        sources_.push_back(std::make_unique<Source>(*this, std::min<size_t>(sources_.size(), 63)));
        return *sources_.back();
    }

  private:
    class Source final : public bus::IrqLine {
      public:
        Source(SharedLine& line, size_t bit) : line_(line), bit_(1ull << bit) {}
        void set(bool asserted) override { line_.change(bit_, asserted); }

      private:
        SharedLine& line_;
        uint64_t bit_;
    };
    void change(uint64_t bit, bool asserted) {
        asserted ? asserted_.fetch_or(bit) : asserted_.fetch_and(~bit);
        bool level = asserted_.load() != 0;
        while (true) {
            output_.set(level);
            const bool now = asserted_.load() != 0;
            if (now == level) return;
            level = now;
        }
    }

    bus::IrqLine& output_;
    std::atomic<uint64_t> asserted_{0};
    std::vector<std::unique_ptr<Source>> sources_;
};

}  // namespace yado::machine
