// The reset control register at port CF9h (ICH9 13.7.5), in the middle of PCI's configuration ports. Any thread.
#pragma once

#include <functional>

#include "base/guarded.h"
#include "bus/address_space.h"
#include "bus/device.h"
#include "machine/lpc/acpi_pm_regs.h"

namespace yado::machine {

class ResetControl final : public bus::Device, public bus::IoHandler {
  public:
    struct Wiring {
        std::function<void()> reset;  ///< called with no lock held when RST_CPU goes from 0 to 1
    };
    explicit ResetControl(Wiring wiring) : wiring_(std::move(wiring)) {}

    // bus::IoHandler: 0xcf9, 1 byte
    uint64_t read(uint64_t offset, unsigned size) override;
    void write(uint64_t offset, unsigned size, uint64_t value) override;

    // bus::Device
    std::string id() const override { return "reset"; }
    std::string kind() const override { return "reset-control"; }
    void reset() override { *value_.lock() = ResetControlRegister(); }
    Result<state::Record> save() const override;
    Result<> load(const state::Record& record) override;

  private:
    Wiring wiring_;
    Guarded<ResetControlRegister> value_;
};

}  // namespace yado::machine
