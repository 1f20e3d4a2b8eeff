// Small adapters between a device's members and the interfaces of the bus.
#pragma once

#include <algorithm>
#include <cstdint>

#include "bus/address_space.h"
#include "bus/irq.h"

namespace yado::machine {

/// A range of byte-wide registers: wider accesses become bytes, lowest offset first, as an 8-bit device behind a PC's
/// bus sees them.
template <typename Device, uint8_t (Device::*Read)(unsigned offset),
          void (Device::*Write)(unsigned offset, uint8_t value)>
class BytePorts final : public bus::IoHandler {
  public:
    explicit BytePorts(Device& device) : device_(device) {}
    uint64_t read(uint64_t offset, unsigned size) override {
        uint64_t value = 0;
        for (unsigned i = 0; i < std::min(size, 8u); ++i)
            value |= static_cast<uint64_t>((device_.*Read)(static_cast<unsigned>(offset) + i)) << (8 * i);
        return value;
    }
    void write(uint64_t offset, unsigned size, uint64_t value) override {
        for (unsigned i = 0; i < std::min(size, 8u); ++i)
            (device_.*Write)(static_cast<unsigned>(offset) + i, static_cast<uint8_t>(value >> (8 * i)));
    }

  private:
    Device& device_;
};

/// Input number `index` of a controller that has set_input(index, asserted).
template <typename Controller>
class IndexedLine final : public bus::IrqLine {
  public:
    void bind(Controller& controller, unsigned index) {
        controller_ = &controller;
        index_ = index;
    }
    void set(bool asserted) override { controller_->set_input(index_, asserted); }

  private:
    Controller* controller_ = nullptr;
    unsigned index_ = 0;
};

/// True if every value fits the type: for saved state that comes from outside.
template <typename T, typename... Values>
constexpr bool all_fit(Values... values) {
    return ((static_cast<uint64_t>(values) <= static_cast<uint64_t>(T(~T(0)))) && ...);
}

}  // namespace yado::machine
