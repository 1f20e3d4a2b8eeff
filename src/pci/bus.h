// A PCI bus: slots with functions, and the two ways in which the processor reaches their configuration space.
//
//     0xcf8/0xcfc (ConfigMechanism1) --+
//                                      +--> PciBus::read/write --> bus 0, or through a bridge --> PciFunction
//     ECAM (EcamWindow) ---------------+
//
// Functions are added before the guest runs. Accesses come from any vCPU thread.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "bus/address_space.h"
#include "bus/device.h"
#include "pci/function.h"

namespace yado::pci {

inline constexpr unsigned kSlots = 32, kFunctions = 8;

class PciBus {
  public:
    /// `pirqs` may be null: then INTx goes nowhere.
    explicit PciBus(PirqRouter* pirqs, uint8_t number = 0) : pirqs_(pirqs), number_(number) {}

    /// Plugs a function in; it stays the caller's and must outlive the bus's use. Errors: OutOfRange (no such slot),
    /// Conflict (taken).
    Result<> add(unsigned slot, unsigned function, PciFunction& f);

    /// One configuration access of 1, 2 or 4 bytes. Absent functions read all ones.
    uint32_t read(const FunctionAddress& at, uint16_t offset, unsigned size);
    void write(const FunctionAddress& at, uint16_t offset, unsigned size, uint32_t value);

    PciFunction* find(const FunctionAddress& at);
    /// Every function on this bus, in slot order.
    std::vector<PciFunction*> functions() const;

  private:
    PirqRouter* pirqs_;
    uint8_t number_;
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
