// MSI-X table and pending bits (PCI 3.0, 6.8.2). Not locked: PciFunction holds it inside its own lock.
//
//     raise(v): enabled and unmasked --> message sent;  masked --> pending bit;  disabled --> nothing
//     unmasking (vector or function) sends what is pending
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "bus/irq.h"
#include "pci/config_regs.h"

namespace yado::pci {

inline constexpr unsigned kMaxMsixVectors = 2048;
inline constexpr uint32_t kMsixEntrySize = 16;

class Msix {
  public:
    Msix(bus::MsiSink& sink, unsigned vectors);

    unsigned vectors() const { return static_cast<unsigned>(table_.size()); }
    /// The table comes first in the BAR, the pending bits at pba_offset().
    uint32_t pba_offset() const;
    uint32_t bar_size() const;

    /// One access to the BAR. Aligned 4 and 8 byte accesses only, as the specification demands; others read all ones.
    uint64_t read(uint64_t offset, unsigned size) const;
    void write(uint64_t offset, unsigned size, uint64_t value);
    /// The message control register was written, or bus mastering changed.
    void set_control(MsixControl control, bool bus_master);

    bool enabled() const { return control_.get(MsixControl::ENABLE); }
    /// A vector that does not exist is ignored.
    void raise(unsigned vector);
    void reset();

    struct Entry {
        uint64_t address = 0;
        uint32_t data = 0;
        uint32_t control = 1;  // masked
        bool pending = false;
    };
    const std::vector<Entry>& table() const { return table_; }
    void restore(std::vector<Entry> table) { table_ = std::move(table); }

  private:
    uint32_t read_dword(uint64_t offset) const;
    void write_dword(uint64_t offset, uint32_t value);
    bool blocked(const Entry& entry) const;
    void deliver(Entry& entry);

    bus::MsiSink& sink_;
    MsixControl control_;
    bool bus_master_ = false;
    std::vector<Entry> table_;
};

}  // namespace yado::pci
