// The eight PCI interrupt links of ICH9 (PIRQA# to PIRQH#): shared by the functions, wired to IOAPIC inputs 16 to 23,
// and to the 8259s where a PIRQx_ROUT register says so (ICH9 datasheet, 13.1.17).
#pragma once

#include <array>
#include <cstdint>

#include "base/guarded.h"
#include "bus/irq.h"

namespace yado::pci {

inline constexpr unsigned kPirqs = 8;
inline constexpr uint8_t kRouteDisabled = 0x80;

/// The link of a slot's interrupt pin (0 = INTA#); the ACPI tables say the same.
constexpr unsigned pirq_of(unsigned slot, unsigned pin) { return (slot + pin) % kPirqs; }

class PirqRouter {
  public:
    struct Wiring {
        std::array<bus::IrqLine*, kPirqs> gsi{};  ///< IOAPIC inputs 16 to 23
        std::array<bus::IrqLine*, 16> isa{};      ///< 8259 inputs; nullptr where there is none
    };
    explicit PirqRouter(const Wiring& wiring) : wiring_(wiring) { routes_.lock()->route.fill(kRouteDisabled); }

    /// One more function asserts the link, or one less. Callers report changes only. Any thread.
    void change(unsigned pirq, bool asserted);
    /// A PIRQx_ROUT register.
    void set_route(unsigned pirq, uint8_t rout);

  private:
    struct State {
        std::array<uint16_t, kPirqs> asserters{};
        std::array<uint8_t, kPirqs> route{};
    };
    void drive(State& s, unsigned pirq);
    void drive_isa(State& s, uint8_t rout);

    // Between a function's lock and the interrupt controllers'.
    static constexpr auto kRank = static_cast<LockRank>(45);
    Wiring wiring_;
    Guarded<State, kRank> routes_;
};

}  // namespace yado::pci
