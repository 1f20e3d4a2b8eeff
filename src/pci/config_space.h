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
    /// Says which bits the device sets and the guest clears by writing ones (RW1C, PCI Express Base 5.0, 7.4).
    template <typename T>
    void clear_by_one(uint16_t offset, T bits) {
        store_le<T>(&clear_[offset], bits);
    }
    /// Says which bits change although the guest cannot write them: the device's own, and part of its state.
    template <typename T>
    void own(uint16_t offset, T bits) {
        store_le<T>(&own_[offset], bits);
    }

    std::span<const uint8_t> bytes() const { return value_; }
    /// True if `saved` differs from this space only in bits that change.
    bool could_become(std::span<const uint8_t> saved) const;
    void restore(std::span<const uint8_t> saved);

  private:
    uint8_t changing(size_t at) const { return static_cast<uint8_t>(mask_[at] | clear_[at] | own_[at]); }

    std::array<uint8_t, kExpressSize> value_{};
    std::array<uint8_t, kExpressSize> mask_{}, clear_{}, own_{};
};

}  // namespace yado::pci
