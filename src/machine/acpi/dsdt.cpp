// The namespace: processors, the PCI root with its windows and interrupt routing, the devices on the LPC bus, \_S5.
#include "machine/acpi/dsdt.h"

#include "machine/layout.h"

namespace yado::machine::acpi {

namespace {

using namespace aml;

aml::Bytes hid(std::string_view id) { return name("_HID", eisa_id(id)); }
aml::Bytes crs(std::initializer_list<aml::Bytes> descriptors) { return name("_CRS", resources(descriptors)); }

/// A package for every slot and pin: hard-wired, no link devices (6.2.13).
aml::Bytes routing_table() {
    std::vector<aml::Bytes> routes;
    for (unsigned slot = 1; slot < 32; ++slot)
        for (unsigned pin = 0; pin < 4; ++pin)
            routes.push_back(package({integer(slot << 16 | 0xffff), integer(pin), integer(0), integer(pci_gsi(slot, pin))}));
    return name("_PRT", package(routes));
}

/// _OSC (PCI Firmware 3.2, 4.5.1; ACPI 6.5, 6.2.11): the system may have what there is, native hot-plug where there are slots for it
/// and the PCI Express capabilities. There is no standard hot-plug controller, no PME, no AER and no LTR to hand over.
aml::Bytes osc(bool hotplug_ports) {
    constexpr unsigned kNativeHotplug = 1 << 0, kExpressCapabilities = 1 << 4;
    constexpr unsigned kUnrecognizedUuid = 1 << 2, kUnrecognizedRevision = 1 << 3, kCapabilitiesMasked = 1 << 4;
    const aml::Bytes uuid = buffer(aml::Bytes("\x5b\x4d\xdb\x33\xf7\x1f\x1c\x40\x96\x57\x74\x41\xc0\x3d\xd7\x66", 16));
    const aml::Bytes status = name_string("CDW1"), control = name_string("CDW3"), granted = local(0);
    const auto complain = [&](unsigned bit) { return bit_or(status, integer(bit), status); };
    const aml::Bytes root_bridge = dword_field(argument(3), 8, "CDW3") +
                                   bit_and(control, integer(kExpressCapabilities | (hotplug_ports ? kNativeHotplug : 0)), granted) +
                                   if_unequal(argument(1), integer(1), complain(kUnrecognizedRevision)) +
                                   if_unequal(granted, control, complain(kCapabilitiesMasked)) + store(granted, control) +
                                   return_value(argument(3));
    return method("_OSC", 4, dword_field(argument(3), 0, "CDW1") + if_equal(argument(0), uuid, root_bridge) + complain(kUnrecognizedUuid) +
                                 return_value(argument(3)));
}

aml::Bytes pci_root(const MachineDescription& m) {
    const unsigned physical_address_bits = m.physical_address_bits;
    const auto window32 = static_cast<uint32_t>(kPciWindow32.value());
    const auto window64 = pci_window64(physical_address_bits).value();
    return device("PCI0", {
        hid("PNP0A08"), name("_CID", eisa_id("PNP0A03")), name("_UID", integer(0)), name("_SEG", integer(0)), name("_BBN", integer(0)),
        crs({bus_range(0, 255), io_ports(0xcf8, 0xcf8, 8), io_range(0x0000, 0x0cf7), io_range(0x0d00, 0xffff),
             memory_range32(window32, static_cast<uint32_t>(window32 + kPciWindow32Size.value() - 1)),
             memory_range64(window64, window64 + pci_window64_size(physical_address_bits).value() - 1)}),
        osc(m.hotplug_ports), routing_table()});
}

aml::Bytes legacy_devices(const MachineDescription& m) {
    aml::Bytes out;
    out += device("MRES", {hid("PNP0C02"), name("_UID", integer(1)),  // ECAM and the PM block are taken (PCI Firmware 3.2, 4.1.2)
                           crs({memory32(static_cast<uint32_t>(kEcamStart.value()), static_cast<uint32_t>(kEcamSize.value())),
                                io_ports(kPmBase.value(), kPmBase.value(), 0x80)})});
    out += device("RTC", {hid("PNP0B00"), crs({io_ports(0x70, 0x70, 2), irq(8)})});
    out += device("TIMR", {hid("PNP0100"), crs({io_ports(0x40, 0x40, 4), irq(0)})});
    out += device("HPET", {hid("PNP0103"), name("_UID", integer(0)), crs({memory32(static_cast<uint32_t>(kHpetAddress.value()), 0x400)})});
    if (m.serial1) out += device("COM1", {hid("PNP0501"), name("_UID", integer(1)), crs({io_ports(0x3f8, 0x3f8, 8), irq(4)})});
    if (m.pvpanic) out += device("PEVT", {name("_HID", text("QEMU0001")), name("_STA", integer(0xb)), crs({io_ports(0x505, 0x505, 1)})});
    out += device("FWCF", {name("_HID", text("QEMU0002")), name("_STA", integer(0xb)), crs({io_ports(0x510, 0x510, 12)})});
    return out;
}

aml::Bytes processors(uint32_t count) {
    aml::Bytes out;
    for (uint32_t n = 0; n < count; ++n)
        out += device(fmt::format("C{:03X}", n), {name("_HID", text("ACPI0007")), name("_UID", integer(n))});
    return out;
}

}  // namespace

aml::Bytes dsdt_terms(const MachineDescription& machine) {
    return scope("\\_SB", processors(machine.vcpus) + pci_root(machine) + legacy_devices(machine)) +
           name("\\_S5", package({integer(kSleepTypeS5), integer(kSleepTypeS5), integer(0), integer(0)}));
}

}  // namespace yado::machine::acpi
