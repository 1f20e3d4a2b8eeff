// A PCI bus: slots with functions, and the two ways in which the processor reaches their configuration space.
//
//     0xcf8/0xcfc (ConfigMechanism1) --+
//                                      +--> PciBus::read/write --> bus 0, or through a bridge --> PciFunction
//     ECAM (EcamWindow) ---------------+
//
// Functions are added and removed while no vCPU runs. Accesses come from any vCPU thread. The buses are a tree of objects, whatever
// numbers the guest gives them: a search ends.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "bus/address_space.h"
#include "bus/device.h"
#include "pci/function.h"

namespace yado::pci {

inline constexpr unsigned kSlots = 32, kFunctions = 8;

/// What lies between a bus and the host: a bridge. Any thread, locks up to LockRank::Pci may be held.
class Upstream {
  public:
    virtual ~Upstream() = default;
    /// Accesses to the range reach the bus.
    virtual bool forwards(BarKind kind, uint64_t start, uint64_t size) const = 0;
    /// What functions on the bus write to memory, messages included, goes through.
    virtual bool forwards_masters() const = 0;
    /// INTx of the bus, pin 0 = INTA#.
    virtual void drive_intx(unsigned pin, bool asserted) = 0;
};

class PciBus {
  public:
    /// The root. `pirqs` may be null: then INTx goes nowhere.
    explicit PciBus(PirqRouter* pirqs) : pirqs_(pirqs) {}
    /// A bus behind a bridge.
    explicit PciBus(Upstream& upstream) : upstream_(&upstream) {}

    /// Plugs a function in; it stays the caller's and must outlive the bus's use. Errors: OutOfRange (no such slot),
    /// Conflict (taken).
    Result<> add(unsigned slot, unsigned function, PciFunction& f);
    /// Unplugs it: it has been reset, so that it answers nowhere and asserts nothing.
    void remove(PciFunction& f);

    /// One configuration access of 1, 2 or 4 bytes. Absent functions read all ones.
    uint32_t read(const FunctionAddress& at, uint16_t offset, unsigned size);
    void write(const FunctionAddress& at, uint16_t offset, unsigned size, uint32_t value);

    PciFunction* find(const FunctionAddress& at);
    /// Every function on this bus, in slot order.
    std::vector<PciFunction*> functions() const;
    /// And every one behind it, each bridge before what it leads to.
    std::vector<PciFunction*> all_functions() const;

    uint8_t number() const { return number_.load(std::memory_order_relaxed); }
    /// The guest numbered the bridge's secondary bus.
    void set_number(uint8_t number) { number_.store(number, std::memory_order_relaxed); }

    // For the functions on it.
    bool forwards(BarKind kind, uint64_t start, uint64_t size) const { return !upstream_ || upstream_->forwards(kind, start, size); }
    bool forwards_masters() const { return !upstream_ || upstream_->forwards_masters(); }
    void drive_intx(unsigned slot, unsigned pin, bool asserted);
    /// The bridge above forwards something else now.
    void upstream_changed();

  private:
    void retry_mappings();

    PirqRouter* pirqs_ = nullptr;
    Upstream* upstream_ = nullptr;
    std::atomic<uint8_t> number_{0};
    std::array<PciFunction*, kSlots * kFunctions> functions_{};
};

/// Configuration mechanism #1 (PCI 3.0, 3.2.2.3.2): ports 0xcf8 to 0xcff. The reset control register of ICH9 lives in
/// the middle of it, at 0xcf9: byte accesses there go to `reset_control` (as its offset 0), if given.
class ConfigMechanism1 final : public bus::IoHandler, public bus::Device {
  public:
    static constexpr Port kFirst{0xcf8};
    static constexpr unsigned kSize = 8;

    explicit ConfigMechanism1(PciBus& root, bus::IoHandler* reset_control = nullptr) : root_(root), reset_control_(reset_control) {}
    Result<> attach(bus::AddressSpace& ports) { return ports.attach(kFirst.value(), kSize, *this, "PCI configuration"); }

    uint64_t read(uint64_t offset, unsigned size) override;
    void write(uint64_t offset, unsigned size, uint64_t value) override;

    std::string id() const override { return "pci-config"; }
    std::string kind() const override { return "config-mechanism-1"; }
    void reset() override { address_ = 0; }
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    PciBus& root_;
    bus::IoHandler* reset_control_;
    std::atomic<uint32_t> address_{0};
};

/// Memory-mapped configuration space (PCI Express Base 5.0, 7.2.2): 1 MiB a bus.
class EcamWindow final : public bus::IoHandler {
  public:
    explicit EcamWindow(PciBus& root) : root_(root) {}
    uint64_t read(uint64_t offset, unsigned size) override;
    void write(uint64_t offset, unsigned size, uint64_t value) override;

  private:
    PciBus& root_;
};

}  // namespace yado::pci
