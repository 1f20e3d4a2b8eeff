#include "pci/bus.h"

#include <algorithm>

#include "pci/pci.pb.h"

namespace yado::pci {

namespace {
constexpr uint32_t kConfigEnable = 1u << 31;
constexpr uint32_t kAddressWritable = 0x80fffffc;

FunctionAddress decode(uint32_t bus_device_function) {
    return {static_cast<uint8_t>(bus_device_function >> 8), static_cast<uint8_t>(bus_device_function >> 3 & 31),
            static_cast<uint8_t>(bus_device_function & 7)};
}
}  // namespace

Result<> PciBus::add(unsigned slot, unsigned function, PciFunction& f) {
    if (slot >= kSlots || function >= kFunctions)
        return fail(ErrorKind::OutOfRange, "PCI slot {}.{}: there are {} slots of {} functions", slot, function, kSlots, kFunctions);
    PciFunction*& place = functions_[slot * kFunctions + function];
    if (place) return fail(ErrorKind::Conflict, "PCI slot {}.{} is taken by {}", slot, function, place->id());
    place = &f;
    f.connect(this, slot, function);
    PciFunction* first = functions_[slot * kFunctions];
    const auto others = std::span(functions_).subspan(slot * kFunctions + 1, kFunctions - 1);
    if (first && std::ranges::any_of(others, [](PciFunction* p) { return p != nullptr; })) first->set_multi_function();
    return {};
}

void PciBus::remove(PciFunction& f) {
    const auto place = std::ranges::find(functions_, &f);
    if (place == functions_.end()) return;
    *place = nullptr;
    f.connect(nullptr, 0, 0);
}

PciFunction* PciBus::find(const FunctionAddress& at) {
    if (at.slot >= kSlots || at.function >= kFunctions) return nullptr;
    if (at.bus == number()) return functions_[at.slot * kFunctions + at.function];
    for (PciFunction* f : functions_)
        if (PciBus* behind = f ? f->bus_behind(at.bus) : nullptr) return behind->find(at);
    return nullptr;
}

uint32_t PciBus::read(const FunctionAddress& at, uint16_t offset, unsigned size) {
    PciFunction* f = find(at);
    return f ? f->read_config(offset, size) : static_cast<uint32_t>(mask_of_size(size));
}

void PciBus::write(const FunctionAddress& at, uint16_t offset, unsigned size, uint32_t value) {
    PciFunction* f = find(at);
    if (!f) return;
    const bool moved = f->write_config(offset, size, value);
    if (moved || f->secondary_bus()) retry_mappings();
}

void PciBus::retry_mappings() {
    for (PciFunction* f : functions_) {
        if (!f) continue;
        f->retry_mappings();
        if (PciBus* behind = f->secondary_bus()) behind->retry_mappings();
    }
}

void PciBus::upstream_changed() {
    for (PciFunction* f : functions_) {
        if (!f) continue;
        f->upstream_changed();
        if (PciBus* behind = f->secondary_bus()) behind->upstream_changed();
    }
}

void PciBus::drive_intx(unsigned slot, unsigned pin, bool asserted) {
    if (upstream_) return upstream_->drive_intx((slot + pin) % 4, asserted);  // PCI-to-PCI Bridge 1.2, 9.1
    if (pirqs_) pirqs_->change(pirq_of(slot, pin), asserted);
}

std::vector<PciFunction*> PciBus::functions() const {
    std::vector<PciFunction*> all;
    std::ranges::copy_if(functions_, std::back_inserter(all), [](PciFunction* f) { return f != nullptr; });
    return all;
}

std::vector<PciFunction*> PciBus::all_functions() const {
    std::vector<PciFunction*> all;
    for (PciFunction* f : functions()) {
        all.push_back(f);
        if (const PciBus* behind = f->secondary_bus()) std::ranges::copy(behind->all_functions(), std::back_inserter(all));
    }
    return all;
}

uint64_t ConfigMechanism1::read(uint64_t offset, unsigned size) {
    if (offset < 4) {
        if (offset == 0 && size == 4) return address_.load();
        return offset == 1 && size == 1 && reset_control_ ? reset_control_->read(0, 1) : ~0ull;
    }
    const uint32_t address = address_.load();
    if (!(address & kConfigEnable)) return ~0ull;
    return root_.read(decode(address >> 8 & 0xffff), static_cast<uint16_t>((address & 0xfc) + offset - 4), size);
}

void ConfigMechanism1::write(uint64_t offset, unsigned size, uint64_t value) {
    if (offset < 4) {
        if (offset == 0 && size == 4) address_ = static_cast<uint32_t>(value) & kAddressWritable;
        if (offset == 1 && size == 1 && reset_control_) reset_control_->write(0, 1, value);
        return;
    }
    const uint32_t address = address_.load();
    if (!(address & kConfigEnable)) return;
    root_.write(decode(address >> 8 & 0xffff), static_cast<uint16_t>((address & 0xfc) + offset - 4), size, static_cast<uint32_t>(value));
}

Result<state::Record> ConfigMechanism1::save() const {
    pb::ConfigAddress m;
    m.set_address(address_.load());
    return state::make_record(*this, m);
}

Result<> ConfigMechanism1::load(const state::Record& record) {
    pb::ConfigAddress m;
    YADO_TRY(state::parse_record(record, m));
    if (m.address() & ~kAddressWritable) return fail(ErrorKind::Corrupt, "saved state of {}: address {:#x}", record.name, m.address());
    address_ = m.address();
    return {};
}

uint64_t EcamWindow::read(uint64_t offset, unsigned size) {
    if (size == 8) return read(offset, 4) | read(offset + 4, 4) << 32;
    return root_.read(decode(static_cast<uint32_t>(offset >> 12 & 0xffff)), static_cast<uint16_t>(offset & 0xfff), size);
}

void EcamWindow::write(uint64_t offset, unsigned size, uint64_t value) {
    if (size == 8) {
        write(offset, 4, value & 0xffffffff);
        return write(offset + 4, 4, value >> 32);
    }
    root_.write(decode(static_cast<uint32_t>(offset >> 12 & 0xffff)), static_cast<uint16_t>(offset & 0xfff), size, static_cast<uint32_t>(value));
}

}  // namespace yado::pci
