#include "machine/layout.h"

#include <algorithm>

namespace yado::machine {

Result<Layout> Layout::create(Bytes ram, unsigned physical_address_bits) {
    if (ram.value() % kPageSize) return fail(ErrorKind::Usage, "memory: {} bytes is not a multiple of 4 KiB", ram.value());
    if (ram < 4_MiB) return fail(ErrorKind::Usage, "memory: {} KiB is too little, give at least 4M", ram.value() >> 10);
    const Bytes most = pci_window64(physical_address_bits) - kHighRamStart;
    if (ram > most)
        return fail(ErrorKind::Usage, "memory: {} GiB is more than a guest can have ({} GiB)", ram.value() >> 30, most.value() >> 30);
    Layout layout;
    layout.ram_ = ram;
    layout.low_end_ = GuestPhysAddr(std::min(ram, kLowRamMax).value());
    layout.high_ = ram - Bytes(layout.low_end_.value());
    return layout;
}

std::vector<MapEntry> Layout::map() const {
    std::vector<MapEntry> map{
        {GuestPhysAddr(0), Bytes(kEbdaStart.value()), RangeType::Ram},
        {kEbdaStart, kLegacyHoleStart - kEbdaStart, RangeType::Reserved},
        {kAcpiStart, kAcpiSize, RangeType::Reserved},
        {kOneMiB, low_end_ - kOneMiB, RangeType::Ram},
        {kEcamStart, kEcamSize, RangeType::Reserved},
    };
    if (high_.value()) map.push_back({kHighRamStart, high_, RangeType::Ram});
    return map;
}

Result<> Layout::populate(mem::GuestMemory& memory) const {
    YADO_TRY(memory.add_ram(GuestPhysAddr(0), Bytes(kLegacyHoleStart.value())));
    YADO_TRY(memory.add_ram(kLegacyRomStart, low_end_ - kLegacyRomStart));
    if (high_.value()) YADO_TRY(memory.add_ram(kHighRamStart, high_));
    return {};
}

}  // namespace yado::machine
