// ACPI fixed hardware of an ICH9: PM1 events and control, PM timer, GPE0, and the SMI command port.
//
//     button, GPE, timer carry -> status -> status & enable, SCI_EN -> SCI;   SLP_EN with S5 -> power off
//
// Any thread; one lock of rank Device. Power off is called with no lock held.
#pragma once

#include <functional>
#include <memory>

#include "base/guarded.h"
#include "bus/device.h"
#include "io/timer.h"
#include "machine/lpc/acpi_pm_regs.h"
#include "machine/ports.h"
#include "machine/timer/acpi_pm_timer.h"

namespace yado::machine {

class AcpiPm final : public bus::Device {
  public:
    struct Wiring {
        bus::IrqLine& sci;  ///< level: IOAPIC pin 9
        io::TimerQueue& timers;
        std::function<void()> power_off;
        uint8_t sleep_type_s5;                                        ///< as \_S5 says
        AcpiPmTimer::Width timer_width = AcpiPmTimer::Width::Bits32;  ///< as the FADT says
    };
    explicit AcpiPm(Wiring wiring);

    bus::IoHandler& ports() { return ports_; }            ///< PMBASE, 128 bytes
    bus::IoHandler& smi_command() { return smi_ports_; }  ///< 0xb2, 2 bytes

    /// The user pressed the power button. Any thread.
    void press_power_button();
    /// Sets general-purpose event n (0 to 63): hotplug. Any thread.
    void raise_gpe(unsigned n);

    // bus::Device
    std::string id() const override { return "acpi"; }
    std::string kind() const override { return "acpi-pm"; }
    void reset() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    struct State {
        uint16_t status = 0, enable = 0;
        Pm1Control control;
        uint64_t gpe_status = 0, gpe_enable = 0;
        uint32_t smi_enable = 0;
        uint64_t carries = 0;    ///< of the PM timer, up to which TMR_STS knows
        uint8_t apm_status = 0;  ///< port B3h, scratch
    };
    uint8_t read(unsigned offset);
    void write(unsigned offset, uint8_t value);
    uint8_t read_smi(unsigned offset);
    void write_smi(unsigned offset, uint8_t value);
    bool write_control(State& s, unsigned shift, uint8_t value);
    void catch_up(State& s);
    void update(State& s);
    void on_timer();

    Wiring wiring_;
    AcpiPmTimer pm_timer_;
    Guarded<State> state_;
    BytePorts<AcpiPm, &AcpiPm::read, &AcpiPm::write> byte_ports_{*this};
    BytePorts<AcpiPm, &AcpiPm::read_smi, &AcpiPm::write_smi> smi_ports_{*this};
    /// The PM timer is read whole, the rest bytewise.
    class Ports final : public bus::IoHandler {
      public:
        explicit Ports(AcpiPm& pm) : pm_(pm) {}
        uint64_t read(uint64_t offset, unsigned size) override;
        void write(uint64_t offset, unsigned size, uint64_t value) override {
            pm_.byte_ports_.write(offset, size, value);
        }

      private:
        AcpiPm& pm_;
    };
    Ports ports_{*this};
    std::unique_ptr<io::Timer> timer_;
};

}  // namespace yado::machine
