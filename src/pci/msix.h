// MSI-X table and pending bits (PCI 3.0, 6.8.2). Not locked: PciFunction holds it inside its own lock.
//
//     raise(v): enabled and unmasked --> message sent;  masked, or held --> pending bit;  disabled --> nothing
//     unmasking (vector or function) sends what is pending
//
// Where the sink has routes, an unmasked vector is bound to one: raising it is a write to its event descriptor, and whoever else
// has that descriptor raises it without us. Masking unbinds; events that come then are what the pending bits show.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/error.h"
#include "bus/irq.h"
#include "pci/config_regs.h"
#include "pci/vector_event.h"

namespace yado::pci {

inline constexpr unsigned kMaxMsixVectors = 2048;
inline constexpr uint32_t kMsixEntrySize = 16;

class Msix {
  public:
    /// Told when a vector gets no route: its messages are sent one by one then, until MSI-X is enabled again.
    using Refused = std::function<void(unsigned vector, const Error& error)>;
    Msix(bus::MsiSink& sink, unsigned vectors, Refused refused = {});

    unsigned vectors() const { return static_cast<unsigned>(table_.size()); }
    /// The table comes first in the BAR, the pending bits at pba_offset().
    uint32_t pba_offset() const;
    uint32_t bar_size() const;

    /// One access to the BAR. Aligned 4 and 8 byte accesses only, as the specification demands; others read all ones.
    uint64_t read(uint64_t offset, unsigned size);
    void write(uint64_t offset, unsigned size, uint64_t value);
    /// The message control register was written, or bus mastering changed.
    void set_control(MsixControl control, bool bus_master);

    bool enabled() const { return control_.get(MsixControl::ENABLE); }
    /// A vector that does not exist is ignored.
    void raise(unsigned vector);
    /// The vector's event descriptor. Errors: OutOfRange, Failed (no descriptors left).
    Result<int> event(unsigned vector);
    /// Raises the vector if its descriptor has events that no route sends. A vector that does not exist is ignored.
    void poll(unsigned vector);
    /// How many vectors are bound to routes.
    unsigned routed() const;
    /// Holds everything back as if the function were masked, until let go: when it returns, what was raised has arrived.
    void hold(bool held);
    void reset();

    struct Entry {
        uint64_t address = 0;
        uint32_t data = 0;
        uint32_t control = 1;  // masked
        bool pending = false;
    };
    /// As it is now: events that wait in descriptors are pending.
    const std::vector<Entry>& table();
    /// After reset(); what it holds is sent with the next set_control().
    void restore(std::vector<Entry> table) { table_ = std::move(table); }

  private:
    uint32_t read_dword(uint64_t offset);
    uint32_t read_pending(uint64_t first);
    void write_dword(uint64_t offset, uint32_t value);
    bool blocked(const Entry& entry) const;
    void deliver(Entry& entry);
    void collect(unsigned vector);
    void settle(unsigned vector);
    void settle_all();

    bus::MsiSink& sink_;
    Refused refused_;
    MsixControl control_;
    bool bus_master_ = false;
    bool held_ = false;
    std::vector<Entry> table_;
    std::vector<VectorEvent> events_;  // one a vector
};

}  // namespace yado::pci
