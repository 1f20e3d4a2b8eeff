// The 4096 bytes of a function's configuration space: what is read, and which bits a write may change.
// Not locked: PciFunction holds it inside its own lock.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "pci/config_regs.h"

namespace yado::pci {

class ConfigSpace {
  public:
    uint32_t read(uint16_t offset, unsigned size) const;
    /// Changes the writable bits only. Out-of-range accesses do nothing.
    void write(uint16_t offset, unsigned size, uint32_t value);

    template <typename T>
    T get(uint16_t offset) const {
        return load_le<T>(&value_[offset]);
    }
    /// Sets a register from the device's side, masks aside.
    template <typename T>
    void set(uint16_t offset, T value) {
        store_le<T>(&value_[offset], value);
    }
    /// Says which bits of a register the guest may write.
    template <typename T>
    void allow(uint16_t offset, T writable) {
        store_le<T>(&mask_[offset], writable);
    }

    std::span<const uint8_t> bytes() const { return value_; }
    /// True if `saved` differs from this space in writable bits only.
    bool could_become(std::span<const uint8_t> saved) const;
    void restore(std::span<const uint8_t> saved);

  private:
    std::array<uint8_t, kExpressSize> value_{};
    std::array<uint8_t, kExpressSize> mask_{};
};

}  // namespace yado::pci
