#include "gdb/fpu_image.h"

#include "base/bytes.h"

namespace yado::gdb {

namespace {

constexpr size_t kXstateBv = 512, kX87Bytes = 24, kStBytes = 128, kXmmBytes = 256, kYmmHighBytes = 256;
constexpr uint16_t kInitialFcw = 0x37f;

void initialize(cpu::XsaveArea& area, uint64_t component) {
    const auto clear = [&](size_t at, size_t size) { std::memset(&area.bytes[at], 0, size); };
    if (component == cpu::kXcr0X87) {
        clear(0, kX87Bytes);
        clear(kSt0, kStBytes);
        store_le(&area.bytes[kFcw], kInitialFcw);
    }
    if (component == cpu::kXcr0Sse) clear(kXmm0, kXmmBytes);
    if (component == cpu::kXcr0Avx) clear(kYmmHigh0, kYmmHighBytes);
}

/// SDM vol. 1, 8.1.7: 0 valid, 1 zero, 2 special.
unsigned tag_of(const uint8_t* st) {
    const auto mantissa = load_le<uint64_t>(st);
    const unsigned exponent = load_le<uint16_t>(st + 8) & 0x7fff;
    if (exponent == 0 && mantissa == 0) return 1;
    return exponent != 0 && exponent != 0x7fff && mantissa >> 63 ? 0 : 2;
}

}  // namespace

void make_present(cpu::XsaveArea& area, uint64_t component) {
    const auto present = load_le<uint64_t>(&area.bytes[kXstateBv]);
    if (present & component) return;
    initialize(area, component);
    store_le(&area.bytes[kXstateBv], present | component);
}

cpu::XsaveArea with_component(const cpu::XsaveArea& area, uint64_t component) {
    cpu::XsaveArea copy = area;
    make_present(copy, component);
    return copy;
}

uint16_t full_tags(const cpu::XsaveArea& area) {
    const unsigned top = load_le<uint16_t>(&area.bytes[kFsw]) >> 11 & 7;
    unsigned tags = 0;
    for (unsigned physical = 0; physical < 8; ++physical) {
        const unsigned st = (physical - top) & 7;
        const unsigned tag = area.bytes[kFtw] >> physical & 1 ? tag_of(&area.bytes[kSt0 + 16 * st]) : 3;
        tags |= tag << (2 * physical);
    }
    return static_cast<uint16_t>(tags);
}

uint8_t abridged_tags(uint16_t full) {
    unsigned tags = 0;
    for (unsigned physical = 0; physical < 8; ++physical)
        if ((full >> (2 * physical) & 3) != 3) tags |= 1u << physical;
    return static_cast<uint8_t>(tags);
}

}  // namespace yado::gdb
