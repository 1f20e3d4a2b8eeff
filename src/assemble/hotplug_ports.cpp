#include "assemble/hotplug_ports.h"

#include "base/check.h"

namespace yado::assemble {

Result<std::unique_ptr<HotplugPorts>> HotplugPorts::create(const Wiring& wiring) {
    YADO_CHECK(wiring.count <= kMostPorts);
    auto all = std::make_unique<HotplugPorts>();
    for (unsigned n = 0; n < wiring.count; ++n) {
        all->ports_.push_back(std::make_unique<pci::RootPort>(
            wiring.pci, pci::RootPort::Options{.id = fmt::format("port{}", n + 1), .slot_number = n + 1, .wants_service = wiring.wants_service}));
        YADO_TRY(wiring.root.add(kFirstSlot + 1 - n / pci::kFunctions, n % pci::kFunctions, *all->ports_.back()));
    }
    return all;
}

void HotplugPorts::list(vm::Inventory& inventory) {
    for (const auto& port : ports_) inventory.add(*port);
}

Result<pci::RootPort*> HotplugPorts::free_port() const {
    for (const auto& port : ports_)
        if (!port->card()) return port.get();
    if (ports_.empty()) return fail(ErrorKind::Conflict, "the guest has no hot-plug ports; it was started with --hotplug-ports 0");
    return fail(ErrorKind::Conflict, "all {} hot-plug ports are taken; detach something, or start the guest with more --hotplug-ports", ports_.size());
}

pci::RootPort* HotplugPorts::port_of(std::string_view id) const {
    for (const auto& port : ports_)
        if (const pci::PciFunction* card = port->card(); card && card->id() == id) return port.get();
    return nullptr;
}

}  // namespace yado::assemble
