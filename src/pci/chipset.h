// The two functions that make a Q35: the host bridge (MCH, Intel 3 Series datasheet, 5.1) at 00:00.0 and the LPC bridge
// (ICH9 datasheet, 13.1) at 00:1f.0. Their registers live here; what they steer is passed in.
#pragma once

#include <functional>

#include "pci/bus.h"
#include "pci/function.h"

namespace yado::pci {

/// 8086:29c0. PCIEXBAR decides where ECAM answers; it starts enabled, as firmware would leave it.
class HostBridge final : public PciFunction {
  public:
    struct Options {
        GuestPhysAddr ecam_start;
        Bytes ecam_size;  ///< 64, 128 or 256 MiB
    };
    /// Errors: Conflict, OutOfRange (the ECAM window does not fit there).
    static Result<std::unique_ptr<HostBridge>> create(const FunctionWiring& wiring, PciBus& root, const Options& options);
    ~HostBridge() override;

    std::string id() const override { return "mch"; }
    std::string kind() const override { return "host-bridge"; }
    void reset() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    HostBridge(const FunctionWiring& wiring, PciBus& root, const Options& options);
    void config_written(uint16_t offset, unsigned size) override;
    void move_ecam();
    std::string detail() const override;

    bus::AddressSpace& memory_;
    mem::GuestMemory& ram_;
    EcamWindow window_;
    mutable Guarded<std::optional<uint64_t>> mapped_;
};

/// 8086:2918. The assembler is told when the guest moves the power-management block.
class LpcBridge final : public PciFunction {
  public:
    /// Where the ACPI PM block answers: PMBASE while ACPI_CNTL enables it.
    using PmMoved = std::function<void(std::optional<Port>)>;
    struct Options {
        Port pm_base{0x600};
        PmMoved pm_moved;  ///< may be empty; vCPU thread, must not block
    };
    LpcBridge(const FunctionWiring& wiring, PirqRouter& pirqs, Options options);

    std::string id() const override { return "lpc"; }
    std::string kind() const override { return "ich9-lpc"; }
    void reset() override;
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;
    std::optional<Port> pm_base() const;

  private:
    void config_written(uint16_t offset, unsigned size) override;
    void apply_routes();
    void apply_pm();
    std::string detail() const override;

    PirqRouter& pirqs_;
    Options options_;
    Guarded<std::optional<Port>> pm_at_;
};

}  // namespace yado::pci
