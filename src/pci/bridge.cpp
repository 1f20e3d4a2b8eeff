#include "pci/bridge.h"

namespace yado::pci {

Bridge::Bridge(const FunctionWiring& wiring, const Identity& identity) : PciFunction(wiring, identity) {
    configure([](ConfigSpace& c) {
        c.set<uint8_t>(kHeaderType, kBridgeHeader);
        c.allow<uint32_t>(kPrimaryBus, 0x00ffffff);
        c.allow<uint32_t>(kMemoryBase, 0xfff0fff0);
        c.set<uint32_t>(kPrefetchBase, kWindow64 << 16 | kWindow64);
        c.allow<uint32_t>(kPrefetchBase, 0xfff0fff0);
        c.allow<uint32_t>(kPrefetchBaseUpper, 0xffffffff);
        c.allow<uint32_t>(kPrefetchLimitUpper, 0xffffffff);
        c.allow<uint16_t>(kBridgeControl, 0x0043);  // parity, SERR#, secondary bus reset
    });
}

Bridge::Routes Bridge::read_routes() const {
    // 3.2.5.8 to 3.2.5.10: windows of whole MiB; the limit names its last MiB.
    const auto edge = [this](uint16_t offset) -> uint64_t { return (config_register(offset, 2) & 0xfff0u) << 16; };
    const auto upper = [this](uint16_t offset) { return static_cast<uint64_t>(config_register(offset, 4)) << 32; };
    constexpr uint64_t kLast = 0xfffff;
    const CommandRegister command(static_cast<uint16_t>(config_register(kCommand, 2)));
    return {.secondary = static_cast<uint8_t>(config_register(kSecondaryBus, 1)),
            .subordinate = static_cast<uint8_t>(config_register(kSubordinateBus, 1)),
            .memory = {edge(kMemoryBase), edge(kMemoryLimit) | kLast},
            .prefetchable = {upper(kPrefetchBaseUpper) | edge(kPrefetchBase), upper(kPrefetchLimitUpper) | edge(kPrefetchLimit) | kLast},
            .memory_space = command.get(CommandRegister::MEMORY_SPACE),
            .master = command.get(CommandRegister::BUS_MASTER)};
}

void Bridge::route() {
    Routes now = read_routes();
    {
        auto routes = routes_.lock();
        now.link = routes->link;
        if (*routes == now) return;
        *routes = now;
    }
    secondary_.set_number(now.secondary);
    secondary_.upstream_changed();
}

void Bridge::set_link(Link link) { routes_.lock()->link = link; }

void Bridge::config_written(uint16_t offset, unsigned size) {
    const bool command = offset < kStatus && offset + size > kCommand;
    if (command || (offset < kPrefetchLimitUpper + 4 && offset + size > kPrimaryBus)) route();
}

void Bridge::reset() {
    PciFunction::reset();
    route();
}

PciBus* Bridge::bus_behind(uint8_t number) {
    auto routes = routes_.lock();
    return routes->link == Link::Up && routes->secondary <= number && number <= routes->subordinate ? &secondary_ : nullptr;
}

bool Bridge::forwards(BarKind kind, uint64_t start, uint64_t size) const {
    if (kind == BarKind::Io) return false;
    {
        auto routes = routes_.lock();
        const uint64_t last = start + size - 1;
        if (!routes->memory_space || (!routes->memory.holds(start, last) && !routes->prefetchable.holds(start, last))) return false;
    }
    return !bus() || bus()->forwards(kind, start, size);
}

bool Bridge::forwards_masters() const {
    if (!routes_.lock()->master) return false;
    return !bus() || bus()->forwards_masters();
}

void Bridge::drive_intx(unsigned pin, bool asserted) {
    if (bus()) bus()->drive_intx(address().slot, pin, asserted);
}

}  // namespace yado::pci
