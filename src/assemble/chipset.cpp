#include "assemble/chipset.h"

#include "base/log.h"
#include "machine/acpi/tables.h"
#include "machine/layout.h"

namespace yado::assemble {

namespace {

constexpr unsigned kLpcSlot = 0x1f, kSerialIrq = 4, kKeyboardIrq = 1, kMouseIrq = 12;

/// ISA IRQs are wired to the pins of their numbers, IRQ 0 to pin 2 (the MADT's override says so).
std::array<bus::IrqLine*, 16> ioapic_inputs(machine::Ioapic& ioapic) {
    std::array<bus::IrqLine*, 16> lines{};
    for (unsigned irq = 0; irq < 16; ++irq) lines[irq] = irq == 2 ? nullptr : &ioapic.line(irq == 0 ? 2 : irq);
    return lines;
}

std::array<bus::IrqLine*, 24> all_pins(machine::Ioapic& ioapic) {
    std::array<bus::IrqLine*, 24> lines{};
    for (unsigned pin = 0; pin < 24; ++pin) lines[pin] = &ioapic.line(pin);
    return lines;
}

pci::PirqRouter::Wiring pirq_wiring(const std::array<bus::IrqLine*, 16>& isa, machine::Ioapic& ioapic) {
    pci::PirqRouter::Wiring w;
    for (unsigned n = 0; n < pci::kPirqs; ++n) w.gsi[n] = &ioapic.line(16 + n);
    w.isa = isa;
    return w;
}

}  // namespace

Chipset::PicInputs::PicInputs(machine::Pic& pic) {
    for (unsigned irq = 0; irq < 16; ++irq) inputs_.push_back(std::make_unique<machine::SharedLine>(pic.line(irq)));
}

std::array<bus::IrqLine*, 16> Chipset::PicInputs::sources() {
    std::array<bus::IrqLine*, 16> lines{};
    for (unsigned irq = 0; irq < 16; ++irq) lines[irq] = irq == 2 ? nullptr : &inputs_[irq]->add_source();
    return lines;
}

Chipset::Chipset(const Wiring& w)
    : wiring_(w),
      time_({w.timers}),
      engine_messages_(w.engine),
      apic_bus_({[this](uint8_t vector) { ioapic_.eoi(vector); }}),
      messages_(w.engine.owns_lapic() ? static_cast<bus::MsiSink*>(&engine_messages_) : &apic_bus_),
      pic_({[this](bool asserted) {
          if (lapics_.empty())
              wiring_.engine.external_interrupt(asserted);
          else
              lapics_[0]->set_lint0(asserted);
      }}),
      ioapic_({*messages_, [this](unsigned pin, std::optional<bus::MsiMessage> m) {
                   if (m)
                       wiring_.engine.ioapic_route(pin, cpu::RouteMessage{m->address, m->data});
                   else
                       wiring_.engine.ioapic_route(pin, std::nullopt);
               }}),
      pic_inputs_(pic_),
      isa_({pic_inputs_.sources(), ioapic_inputs(ioapic_)}),
      irq0_(isa_.line(0)),
      irq8_(isa_.line(8)),
      pit_({irq0_.legacy_input(), time_}),
      hpet_({time_, irq0_, irq8_, all_pins(ioapic_)}),
      rtc_({irq8_.legacy_input(), time_}),
      acpi_({isa_.line(machine::acpi::kSciIrq), time_, w.events.power_off, machine::acpi::kSleepTypeS5}),
      reset_control_({w.events.reset}),
      i8042_({isa_.line(kKeyboardIrq), isa_.line(kMouseIrq), w.events.reset}),
      serial_({"serial0", isa_.line(kSerialIrq), w.serial, time_, w.serial_room}),
      fw_cfg_({w.ram}),
      pvpanic_({w.events.panic}),
      debug_exit_({w.events.debug_exit}),
      pirqs_(pirq_wiring(pic_inputs_.sources(), ioapic_)),
      pci_(&pirqs_),
      config_ports_(pci_, &reset_control_) {
    if (cpu::GuestClock* clock = w.engine.guest_clock()) kvmclock_.emplace(*clock);
    if (w.engine.owns_lapic()) {
        w.engine.on_eoi([this](uint8_t vector) { ioapic_.eoi(vector); });
        return;
    }
    for (unsigned n = 0; n < w.vcpus; ++n)
        lapics_.push_back(std::make_unique<machine::Lapic>(
            machine::Lapic::Wiring{apic_bus_, time_, n, n == 0 ? &pic_ : nullptr, w.tsc_hz, w.physical_address_bits}));
}

Result<std::unique_ptr<Chipset>> Chipset::create(const Wiring& wiring) {
    std::unique_ptr<Chipset> chipset(new Chipset(wiring));
    YADO_TRY(chipset->attach());
    return chipset;
}

Result<> Chipset::attach() {
    struct Place {
        uint64_t start, size;
        bus::IoHandler& handler;
        const char* name;
    };
    const Place ports[] = {
        {0x20, 2, pic_.master_ports(), "pic"},       {0xa0, 2, pic_.slave_ports(), "pic"},
        {0x4d0, 2, pic_.elcr_ports(), "pic"},        {0x40, 4, pit_.ports(), "pit"},
        {0x61, 1, pit_.system_control(), "pit"},     {0x60, 1, i8042_.data_port(), "i8042"},
        {0x64, 1, i8042_.command_port(), "i8042"},   {0x92, 1, i8042_.system_control(), "i8042"},
        {0x70, 2, rtc_.ports(), "rtc"},              {0xb2, 2, acpi_.smi_command(), "acpi"},
        {0x3f8, 8, serial_.ports(), "serial0"},      {0x505, 1, pvpanic_, "pvpanic"},
        {0x510, 2, fw_cfg_.ports(), "fw_cfg"},       {0x514, 8, fw_cfg_.dma_ports(), "fw_cfg"},
    };
    for (const Place& p : ports) YADO_TRY(wiring_.ports.attach(p.start, p.size, p.handler, p.name));
    if (wiring_.debug_exit) YADO_TRY(wiring_.ports.attach(0xf4, 4, debug_exit_, "debug-exit"));
    YADO_TRY(config_ports_.attach(wiring_.ports));
    YADO_TRY(wiring_.memory.attach(machine::kIoapicAddress.value(), 0x1000, ioapic_, "ioapic"));
    YADO_TRY(wiring_.memory.attach(machine::kHpetAddress.value(), 0x400, hpet_, "hpet"));

    host_bridge_ = YADO_TRY(pci::HostBridge::create(pci_wiring(), pci_, {machine::kEcamStart, machine::kEcamSize}));
    lpc_bridge_ = std::make_unique<pci::LpcBridge>(pci_wiring(), pirqs_, pci::LpcBridge::Options{
        machine::acpi::kPmBase, [this](std::optional<Port> base) {
            if (const uint16_t old = pm_attached_.exchange(base ? base->value() : 0)) wiring_.ports.detach(old, acpi_.ports());
            if (!base) return;
            if (const auto done = wiring_.ports.attach(base->value(), machine::kPmBlockSize, acpi_.ports(), "acpi"); !done)
                YADO_LOG_LIMITED(Warning, "the guest moved the power management block: {}", done.error().message());
        }});
    YADO_TRY(pci_.add(0, 0, *host_bridge_));
    return pci_.add(kLpcSlot, 0, *lpc_bridge_);
}

void Chipset::list(vm::Inventory& inventory) {
    inventory.add(time_);
    if (kvmclock_) inventory.add(*kvmclock_);
    for (auto& lapic : lapics_) inventory.add(*lapic);
    for (bus::Device* d : std::initializer_list<bus::Device*>{&pic_, &ioapic_, &pit_, &hpet_, &rtc_, &acpi_, &reset_control_, &i8042_, &serial_,
                                                              &fw_cfg_, &config_ports_, host_bridge_.get(), lpc_bridge_.get()})
        inventory.add(*d);
}

std::vector<api::DeviceInfo> Chipset::describe() const {
    std::vector<api::DeviceInfo> list{
        {"pic", "i8259", "port 0x20, 0xa0", ""},
        {"ioapic", "ioapic", fmt::format("mmio {:#x}", machine::kIoapicAddress.value()), "24 pins"},
        {"pit", "i8254", "port 0x40", ""},
        {"hpet", "hpet", fmt::format("mmio {:#x}", machine::kHpetAddress.value()), "3 timers"},
        {"rtc", "mc146818", "port 0x70", ""},
        {"acpi", "acpi-pm", fmt::format("port {:#x}", machine::acpi::kPmBase.value()), ""},
        {"i8042", "i8042", "port 0x60", "nothing attached"},
        {"serial0", "uart16550", "port 0x3f8", "the console"},
        {"fw_cfg", "fw_cfg", "port 0x510", ""},
        {"pvpanic", "pvpanic", "port 0x505", ""},
    };
    if (wiring_.debug_exit) list.push_back({"debug-exit", "isa-debug-exit", "port 0xf4", ""});
    return list;
}

}  // namespace yado::assemble
