// What is soldered on, wired up: interrupt controllers, timers, serial port, power management, PCI root. The only file that
// knows at which port or address each of them sits is chipset.cpp.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "api/guest_info.h"
#include "assemble/engine_messages.h"
#include "cpu/vcpu.h"
#include "machine/irq/apic_bus.h"
#include "machine/irq/ioapic.h"
#include "machine/irq/lapic.h"
#include "machine/irq/lines.h"
#include "machine/irq/pic.h"
#include "machine/legacy/fw_cfg.h"
#include "machine/legacy/i8042.h"
#include "machine/legacy/simple_ports.h"
#include "machine/legacy/uart16550.h"
#include "machine/lpc/acpi_pm.h"
#include "machine/lpc/reset_control.h"
#include "machine/power.h"
#include "machine/timer/hpet.h"
#include "machine/timer/kvmclock.h"
#include "machine/timer/legacy_route.h"
#include "machine/timer/machine_time.h"
#include "machine/timer/pit.h"
#include "machine/timer/rtc.h"
#include "pci/bus.h"
#include "pci/chipset.h"
#include "vm/inventory.h"

namespace yado::assemble {

class Chipset {
  public:
    struct Wiring {
        bus::AddressSpace& ports;
        bus::AddressSpace& memory;
        mem::GuestMemory& ram;
        io::TimerQueue& timers;
        cpu::Engine& engine;
        unsigned vcpus;
        uint64_t tsc_hz;
        unsigned physical_address_bits;
        machine::PowerEvents events;
        machine::ByteSink& serial;
        std::function<void()> serial_room;  ///< the serial port takes input again
        bool debug_exit;
    };
    /// Errors: Conflict, OutOfRange (two devices in one place: ours), Failed.
    static Result<std::unique_ptr<Chipset>> create(const Wiring& wiring);

    /// nullptr where the engine has its own.
    cpu::LocalApic* lapic(unsigned vcpu) { return lapics_.empty() ? nullptr : lapics_[vcpu].get(); }
    cpu::ExternalInterrupts& pic() { return pic_; }
    bus::MsiSink& messages() { return *messages_; }
    io::TimerQueue& time() { return time_; }
    pci::PciBus& pci() { return pci_; }
    pci::FunctionWiring pci_wiring() { return {wiring_.memory, wiring_.ports, wiring_.ram, *messages_}; }
    mem::GuestMemory& ram() { return wiring_.ram; }
    machine::Uart16550& serial() { return serial_; }
    machine::AcpiPm& acpi() { return acpi_; }

    /// Adds its devices in dependency order.
    void list(vm::Inventory& inventory);
    /// Where each sits, for `yado info`. PCI functions are added by the assembler, who knows them all.
    std::vector<api::DeviceInfo> describe() const;

  private:
    explicit Chipset(const Wiring& wiring);
    Result<> attach();

    Wiring wiring_;
    machine::MachineTime time_;
    std::optional<machine::KvmClock> kvmclock_;  ///< where the engine keeps one
    EngineMessages engine_messages_;
    machine::ApicBus apic_bus_;
    bus::MsiSink* messages_;
    std::vector<std::unique_ptr<machine::Lapic>> lapics_;  // filled last; before the PIC, whose output asks for them
    machine::Pic pic_;
    machine::Ioapic ioapic_;
    /// The 8259s' inputs, each shared by an ISA line and the PCI links that a PIRQ route register puts there.
    class PicInputs {
      public:
        explicit PicInputs(machine::Pic& pic);
        /// A source for each input; nothing for IRQ 2, the cascade.
        std::array<bus::IrqLine*, 16> sources();

      private:
        std::vector<std::unique_ptr<machine::SharedLine>> inputs_;
    };

    PicInputs pic_inputs_;
    machine::IsaIrqs isa_;
    machine::LegacyRoute irq0_, irq8_;
    machine::Pit pit_;
    machine::Hpet hpet_;
    machine::Rtc rtc_;
    machine::AcpiPm acpi_;
    machine::ResetControl reset_control_;
    machine::I8042 i8042_;
    machine::Uart16550 serial_;
    machine::FwCfg fw_cfg_;
    machine::PvPanic pvpanic_;
    machine::DebugExit debug_exit_;
    pci::PirqRouter pirqs_;
    pci::PciBus pci_;
    pci::ConfigMechanism1 config_ports_;
    std::unique_ptr<pci::HostBridge> host_bridge_;
    std::unique_ptr<pci::LpcBridge> lpc_bridge_;
    std::atomic<uint16_t> pm_attached_{0};
};

}  // namespace yado::assemble
