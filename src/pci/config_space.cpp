#include "pci/config_space.h"

#include <algorithm>

namespace yado::pci {

uint32_t ConfigSpace::read(uint16_t offset, unsigned size) const {
    uint32_t value = 0;
    for (unsigned i = 0; i < size && i < 4; ++i) {
        const unsigned at = offset + i;
        value |= static_cast<uint32_t>(at < value_.size() ? value_[at] : 0xff) << (8 * i);
    }
    return value;
}

void ConfigSpace::write(uint16_t offset, unsigned size, uint32_t value) {
    for (unsigned i = 0; i < size && i < 4; ++i) {
        const unsigned at = offset + i;
        if (at >= value_.size()) return;
        const auto byte = static_cast<uint8_t>(value >> (8 * i));
        value_[at] = static_cast<uint8_t>((value_[at] & ~mask_[at] & ~(byte & clear_[at])) | (byte & mask_[at]));
    }
}

bool ConfigSpace::could_become(std::span<const uint8_t> saved) const {
    if (saved.size() != value_.size()) return false;
    for (size_t i = 0; i < saved.size(); ++i)
        if ((saved[i] ^ value_[i]) & ~changing(i) && i != kStatus) return false;
    return true;
}

void ConfigSpace::restore(std::span<const uint8_t> saved) {
    for (size_t i = 0; i < saved.size(); ++i)
        value_[i] = static_cast<uint8_t>((value_[i] & ~changing(i)) | (saved[i] & changing(i)));
}

}  // namespace yado::pci
