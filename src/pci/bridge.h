// A PCI-to-PCI bridge: a function with a type 1 header and a bus behind it (PCI-to-PCI Bridge Architecture 1.2, chapter 3).
//
//     config access to bus n --(secondary <= n <= subordinate, link up)--> the bus behind
//     access to a BAR behind --(memory space on, inside a window)--> mapped          else not mapped
//     writes and messages from behind --(bus master on)--> pass
//
// There is no I/O window (its registers read 0, as 3.2.5.6 allows). All numbers are 0 after a reset: the guest's kernel or firmware gives
// them. Whatever they are, the bus behind is one object, so that no numbering can make a circle.
#pragma once

#include "pci/bus.h"
#include "pci/function.h"

namespace yado::pci {

class Bridge : public PciFunction, private Upstream {
  public:
    Bridge(const FunctionWiring& wiring, const Identity& identity);

    PciBus* secondary_bus() override { return &secondary_; }
    PciBus* bus_behind(uint8_t number) override;
    void reset() override;

  protected:
    enum class Link : uint8_t { Down, Up };
    /// Whether anything on the bus behind can be reached at all.
    void set_link(Link link);
    /// Takes over what the registers say; those behind follow. Any thread, no lock held.
    void route();
    void config_written(uint16_t offset, unsigned size) override;

  private:
    struct Window {
        uint64_t start = 1, last = 0;  // empty
        bool holds(uint64_t first, uint64_t end) const { return start <= first && end <= last; }
        friend bool operator==(const Window&, const Window&) = default;
    };
    struct Routes {
        uint8_t secondary = 0, subordinate = 0;
        Window memory, prefetchable;
        bool memory_space = false, master = false;
        Link link = Link::Down;
        friend bool operator==(const Routes&, const Routes&) = default;
    };
    Routes read_routes() const;

    // Upstream
    bool forwards(BarKind kind, uint64_t start, uint64_t size) const override;
    bool forwards_masters() const override;
    void drive_intx(unsigned pin, bool asserted) override;

    // Functions behind ask while they hold their own lock of rank Pci.
    static constexpr auto kRank = static_cast<LockRank>(42);
    PciBus secondary_{*this};
    Guarded<Routes, kRank> routes_;
};

}  // namespace yado::pci
