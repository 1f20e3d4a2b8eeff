// The PCI Express root ports that cards come and go in while the guest runs: eight to a slot of bus 0, from the top down.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "pci/root_port.h"
#include "vm/inventory.h"

namespace yado::assemble {

class HotplugPorts {
  public:
    /// Slots of bus 0 from here up to the LPC bridge's are the ports'.
    static constexpr unsigned kFirstSlot = 0x1d, kMostPorts = 16;

    struct Wiring {
        pci::FunctionWiring pci;
        pci::PciBus& root;
        unsigned count;                        ///< 0 to kMostPorts
        std::function<void()> wants_service;   ///< vCPU thread
    };
    /// Errors: those of PciBus::add (two functions in one place: ours).
    static Result<std::unique_ptr<HotplugPorts>> create(const Wiring& wiring);

    /// Before the functions that are in them.
    void list(vm::Inventory& inventory);
    std::span<const std::unique_ptr<pci::RootPort>> ports() const { return ports_; }
    /// Errors: Conflict (all are taken, or there are none).
    Result<pci::RootPort*> free_port() const;
    /// The port with the function of that id; nullptr if it is in none.
    pci::RootPort* port_of(std::string_view id) const;

  private:
    std::vector<std::unique_ptr<pci::RootPort>> ports_;
};

}  // namespace yado::assemble
