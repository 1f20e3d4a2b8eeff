#include "pci/function.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/log.h"
#include "pci/bus.h"
#include "pci/pci.pb.h"

namespace yado::pci {

namespace {
// The local APICs and MSI live here on every PC; the bus map does not list them.
constexpr uint64_t kApicStart = 0xfee00000, kApicEnd = 0xfef00000;

uint32_t type_bits(BarKind kind) {
    return kind == BarKind::Io ? 1 : kind == BarKind::Memory64 ? 4 : 0;  // 6.2.5.1
}
uint16_t bar_register(unsigned index) { return static_cast<uint16_t>(kBar0 + 4 * index); }
bool overlaps(uint16_t offset, unsigned size, uint16_t start, uint16_t end) { return offset < end && offset + size > start; }
}  // namespace

class PciFunction::MsixWindow final : public bus::IoHandler {
  public:
    explicit MsixWindow(PciFunction& f) : f_(f) {}
    uint64_t read(uint64_t offset, unsigned size) override { return f_.read_msix(offset, size); }
    void write(uint64_t offset, unsigned size, uint64_t value) override { f_.write_msix(offset, size, value); }

  private:
    PciFunction& f_;
};

PciFunction::PciFunction(const FunctionWiring& wiring, const Identity& identity) : wiring_(wiring), identity_(identity) {
    auto s = state_.lock();
    ConfigSpace& c = s->config;
    c.set<uint16_t>(kVendorId, identity.vendor);
    c.set<uint16_t>(kDeviceId, identity.device);
    c.set<uint32_t>(kRevision, identity.class_code << 8 | identity.revision);
    c.set<uint16_t>(kSubsystemVendor, identity.subsystem_vendor);
    c.set<uint16_t>(kSubsystemId, identity.subsystem);
    c.allow<uint16_t>(kCommand, kCommandWritable);
    c.allow<uint8_t>(kCacheLine, 0xff);
    c.allow<uint8_t>(kInterruptLine, 0xff);
}

PciFunction::~PciFunction() {
    auto s = state_.lock();
    for (Bar& bar : s->bars)
        if (bar.mapped) (bar.kind == BarKind::Io ? wiring_.ports : wiring_.memory).detach(*bar.mapped, *bar.handler);
}

void PciFunction::add_bar(unsigned index, BarKind kind, uint64_t size, bus::IoHandler& handler) {
    YADO_CHECK(index + (kind == BarKind::Memory64) < kBars && std::has_single_bit(size));
    auto s = state_.lock();
    YADO_CHECK(s->bars[index].kind == BarKind::None);
    s->bars[index] = Bar{kind, size, &handler};
    s->config.set<uint32_t>(bar_register(index), type_bits(kind));
    s->config.allow<uint32_t>(bar_register(index), static_cast<uint32_t>(~(size - 1)));
    if (kind == BarKind::Memory64) s->config.allow<uint32_t>(bar_register(index + 1), static_cast<uint32_t>(~(size - 1) >> 32));
}

uint16_t PciFunction::add_capability(CapabilityId id, std::span<const uint8_t> body) {
    auto s = state_.lock();
    ConfigSpace& c = s->config;
    const uint16_t at = s->next_capability;
    YADO_CHECK(at + 2 + body.size() <= kConventionalSize);
    c.set<uint8_t>(at, std::to_underlying(id));
    for (size_t i = 0; i < body.size(); ++i) c.set<uint8_t>(static_cast<uint16_t>(at + 2 + i), body[i]);
    c.set<uint8_t>(s->last_capability ? s->last_capability + 1 : kCapabilityPointer, static_cast<uint8_t>(at));
    c.set<uint16_t>(kStatus, c.get<uint16_t>(kStatus) | kStatusCapabilities);
    s->last_capability = at;
    s->next_capability = static_cast<uint16_t>((at + 2 + body.size() + 3) & ~3u);
    return at;
}

uint16_t PciFunction::add_express(ExpressType type) {
    std::array<uint8_t, kExpressBody> body{};
    body[0] = static_cast<uint8_t>(2 | std::to_underlying(type) << 4);
    const uint16_t at = add_capability(CapabilityId::Express, body);
    configure([&](ConfigSpace& c) {
        c.set<uint32_t>(at + kDeviceCapabilities, 1u << 15);        // role-based error reporting, 128-byte payloads
        c.set<uint16_t>(at + kDeviceControl, 1u << 11 | 1u << 4);  // no-snoop, relaxed ordering enabled
        c.allow<uint16_t>(at + kDeviceControl, 0x7fff);
        if (type == ExpressType::IntegratedEndpoint) return;        // it has no link (7.5.3)
        c.set<uint32_t>(at + kLinkCapabilities, kWidth1 | kSpeed2_5);
        c.set<uint16_t>(at + kLinkStatus, kWidth1 | kSpeed2_5);
        c.allow<uint16_t>(at + kLinkControl, kLinkControlWritable);
    });
    return at;
}

void PciFunction::add_msix(unsigned vectors, unsigned bar) {
    auto msix = std::make_unique<Msix>(wiring_.msi, vectors, [this](unsigned v, const Error& error) { report_refused(v, error); });
    std::array<uint8_t, 10> body{};
    store_le<uint16_t>(&body[0], static_cast<uint16_t>(vectors - 1));
    store_le<uint32_t>(&body[2], bar);
    store_le<uint32_t>(&body[6], msix->pba_offset() | bar);
    const uint16_t at = add_capability(CapabilityId::Msix, body);
    msix_window_ = std::make_unique<MsixWindow>(*this);
    add_bar(bar, BarKind::Memory32, msix->bar_size(), *msix_window_);
    auto s = state_.lock();
    s->config.allow<uint16_t>(at + kMsixControl, 0xc000);
    s->msix_capability = at;
    s->msix = std::move(msix);
}

void PciFunction::use_intx_pin(unsigned pin) {
    pin_ = pin;
    configure([&](ConfigSpace& c) { c.set<uint8_t>(kInterruptPin, static_cast<uint8_t>(pin)); });
}

void PciFunction::seal() { sealed_ = state_.lock()->config; }

void PciFunction::connect(PciBus* bus, unsigned slot, unsigned function) {
    bus_ = bus;
    slot_ = static_cast<uint8_t>(slot);
    function_ = static_cast<uint8_t>(function);
}

FunctionAddress PciFunction::address() const { return {bus_ ? bus_->number() : uint8_t{0}, slot_, function_}; }

void PciFunction::set_multi_function() {
    auto s = state_.lock();
    s->config.set<uint8_t>(kHeaderType, s->config.get<uint8_t>(kHeaderType) | 0x80);
    sealed_.set<uint8_t>(kHeaderType, s->config.get<uint8_t>(kHeaderType));
}

uint32_t PciFunction::read_config(uint16_t offset, unsigned size) {
    before_config_read(offset, size);
    return state_.lock()->config.read(offset, size);
}

bool PciFunction::write_config(uint16_t offset, unsigned size, uint32_t value) {
    bool moved = false;
    {
        auto s = state_.lock();
        s->config.write(offset, size, value);
        if (overlaps(offset, size, kCommand, kStatus) || overlaps(offset, size, kBar0, bar_register(kBars))) moved = update_mappings(*s);
        update_msix(*s);
        drive_intx(*s);
    }
    config_written(offset, size);
    return moved;
}

void PciFunction::update_msix(State& s) {
    if (!s.msix) return;
    s.msix->set_control(MsixControl(s.config.get<uint16_t>(s.msix_capability + kMsixControl)), may_master(s));
}

bool PciFunction::may_master(const State& s) const {
    return CommandRegister(s.config.get<uint16_t>(kCommand)).get(CommandRegister::BUS_MASTER) && (!bus_ || bus_->forwards_masters());
}

void PciFunction::upstream_changed() {
    {
        auto s = state_.lock();
        update_mappings(*s);
        update_msix(*s);
    }
    config_written(kCommand, 2);  // what waited for the way to memory goes on
}

void PciFunction::retry_mappings() {
    auto s = state_.lock();
    for (const Bar& bar : s->bars)
        if (bar.wanted && !bar.mapped) {
            update_mappings(*s);
            return;
        }
}

void PciFunction::place_bar(unsigned index, uint64_t address) {
    YADO_CHECK(index < kBars);
    auto s = state_.lock();
    s->config.write(bar_register(index), 4, static_cast<uint32_t>(address));
    if (s->bars[index].kind == BarKind::Memory64) s->config.write(bar_register(index + 1), 4, static_cast<uint32_t>(address >> 32));
    update_mappings(*s);
}

std::optional<uint64_t> PciFunction::decoded_address(const State& s, unsigned index) const {
    const Bar& bar = s.bars[index];
    const CommandRegister command(s.config.get<uint16_t>(kCommand));
    const bool enabled = bar.kind == BarKind::Io ? command.get(CommandRegister::IO_SPACE) : command.get(CommandRegister::MEMORY_SPACE);
    if (bar.kind == BarKind::None || !enabled) return std::nullopt;
    uint64_t address = s.config.get<uint32_t>(bar_register(index)) & ~(bar.size - 1);
    if (bar.kind == BarKind::Memory64) address |= static_cast<uint64_t>(s.config.get<uint32_t>(bar_register(index + 1))) << 32;
    if (address == 0) return std::nullopt;  // 0 means unassigned on a PC
    if (bus_ && !bus_->forwards(bar.kind, address, bar.size)) return std::nullopt;
    return address;
}

bool PciFunction::over_ram(uint64_t start, uint64_t size) const {
    uint64_t end = 0;
    if (__builtin_add_overflow(start, size, &end)) return true;
    if (start < kApicEnd && end > kApicStart) return true;
    return std::ranges::any_of(wiring_.ram.extents(), [&](const mem::GuestMemory::Extent& e) {
        return start < (e.start + e.size).value() && end > e.start.value();
    });
}

bool PciFunction::update_mappings(State& s) {
    bool moved = false;
    // First leave, then arrive: a function's own BARs may change places.
    for (int pass = 0; pass < 2; ++pass)
        for (unsigned i = 0; i < kBars; ++i) {
            Bar& bar = s.bars[i];
            if (pass == 1) {
                moved |= update_bar(s, i);
            } else if (bar.mapped && bar.mapped != decoded_address(s, i)) {
                (bar.kind == BarKind::Io ? wiring_.ports : wiring_.memory).detach(*bar.mapped, *bar.handler);
                bar.mapped.reset();
                bar_moved(i, std::nullopt);
                moved = true;
            }
        }
    return moved;
}

bool PciFunction::update_bar(State& s, unsigned index) {
    Bar& bar = s.bars[index];
    const auto address = decoded_address(s, index);
    bar.wanted = address && (bar.kind == BarKind::Io || !over_ram(*address, bar.size));
    if (!bar.wanted || bar.mapped) return false;
    bus::AddressSpace& space = bar.kind == BarKind::Io ? wiring_.ports : wiring_.memory;
    if (!space.attach(*address, bar.size, *bar.handler, id() + " BAR " + std::to_string(index))) return false;
    bar.mapped = address;
    bar_moved(index, address);
    return true;
}

void PciFunction::set_intx(bool asserted) {
    auto s = state_.lock();
    s->intx = asserted;
    drive_intx(*s);
}

void PciFunction::drive_intx(State& s) {
    const uint16_t status = s.config.get<uint16_t>(kStatus) & ~kStatusInterrupt;
    s.config.set<uint16_t>(kStatus, status | (s.intx ? kStatusInterrupt : 0));
    const bool disabled = CommandRegister(s.config.get<uint16_t>(kCommand)).get(CommandRegister::INTERRUPT_DISABLE);
    const bool level = s.intx && !disabled && !(s.msix && s.msix->enabled());
    if (level == s.intx_driven || !bus_ || pin_ == 0) return;
    s.intx_driven = level;
    bus_->drive_intx(slot_, pin_ - 1, level);
}

void PciFunction::raise_msix(unsigned vector) {
    auto s = state_.lock();
    if (s->msix) s->msix->raise(vector);
}
Result<int> PciFunction::msix_event(unsigned vector) {
    auto s = state_.lock();
    if (!s->msix) return fail(ErrorKind::OutOfRange, "{} has no MSI-X", id());
    return s->msix->event(vector);
}
void PciFunction::poll_msix(unsigned vector) {
    auto s = state_.lock();
    if (s->msix) s->msix->poll(vector);
}
void PciFunction::hold_msix() {
    auto s = state_.lock();
    if (s->msix) s->msix->hold(true);
}
void PciFunction::release_msix() {
    auto s = state_.lock();
    if (s->msix) s->msix->hold(false);
}
void PciFunction::report_refused(unsigned vector, const Error& error) const {
    YADO_LOG_LIMITED(Warning, "{}: MSI-X vector {}: {}; its messages are sent one by one", id(), vector, error.message());
}
bool PciFunction::msix_enabled() const {
    auto s = state_.lock();
    return s->msix && s->msix->enabled();
}
unsigned PciFunction::msix_routed() const {
    auto s = state_.lock();
    return s->msix ? s->msix->routed() : 0;
}
bool PciFunction::bus_master() const {
    auto s = state_.lock();
    return may_master(*s);
}
uint32_t PciFunction::config_register(uint16_t offset, unsigned size) const { return state_.lock()->config.read(offset, size); }
void PciFunction::poke_config(uint16_t offset, uint32_t value) { state_.lock()->config.set<uint32_t>(offset, value); }

uint64_t PciFunction::read_msix(uint64_t offset, unsigned size) { return state_.lock()->msix->read(offset, size); }
void PciFunction::write_msix(uint64_t offset, unsigned size, uint64_t value) { state_.lock()->msix->write(offset, size, value); }

void PciFunction::reset() {
    auto s = state_.lock();
    s->config = sealed_;
    s->intx = false;
    if (s->msix) s->msix->reset();
    update_mappings(*s);
    update_msix(*s);
    drive_intx(*s);
}

FunctionInfo PciFunction::info() const {
    FunctionInfo info{address(), identity_, id(), kind(), detail(), {}};
    auto s = state_.lock();
    for (unsigned i = 0; i < kBars; ++i)
        if (s->bars[i].kind != BarKind::None) info.bars.push_back({i, s->bars[i].kind, s->bars[i].size, s->bars[i].mapped});
    return info;
}

std::string PciFunction::describe() const {
    const FunctionInfo f = info();
    std::string line = fmt::format("{:02x}:{:02x}.{} {:04x}:{:04x} {} {}", f.address.bus, f.address.slot, f.address.function,
                                   f.identity.vendor, f.identity.device, f.kind, f.id);
    if (!f.detail.empty()) line += ", " + f.detail;
    for (const FunctionInfo::Bar& bar : f.bars)
        line += bar.address ? fmt::format(", BAR {} at {:#x}+{:#x}", bar.index, *bar.address, bar.size)
                            : fmt::format(", BAR {} unmapped+{:#x}", bar.index, bar.size);
    return line;
}

void PciFunction::save_function(pb::Function& out) const {
    auto s = state_.lock();
    out.set_config(s->config.bytes().data(), s->config.bytes().size());
    out.set_intx(s->intx);
    if (!s->msix) return;
    for (const Msix::Entry& e : s->msix->table()) {
        pb::MsixEntry& m = *out.add_msix();
        m.set_address(e.address);
        m.set_data(e.data);
        m.set_masked(e.control & 1);
        m.set_pending(e.pending);
    }
}

Result<> PciFunction::check_function(const pb::Function& in) const {
    auto s = state_.lock();
    const std::string& raw = in.config();
    if (!s->config.could_become({reinterpret_cast<const uint8_t*>(raw.data()), raw.size()}))
        return fail(ErrorKind::Corrupt, "saved state of {}: configuration space of another device", id());
    if (static_cast<unsigned>(in.msix_size()) != (s->msix ? s->msix->vectors() : 0))
        return fail(ErrorKind::Corrupt, "saved state of {}: {} MSI-X vectors", id(), in.msix_size());
    return {};
}

Result<> PciFunction::load_function(const pb::Function& in) {
    YADO_TRY(check_function(in));
    auto s = state_.lock();
    const std::string& raw = in.config();
    s->config.restore({reinterpret_cast<const uint8_t*>(raw.data()), raw.size()});
    std::vector<Msix::Entry> table;
    for (const pb::MsixEntry& m : in.msix()) table.push_back({m.address() & ~3ull, m.data(), m.masked() ? 1u : 0u, m.pending()});
    if (s->msix) {
        s->msix->reset();
        s->msix->restore(std::move(table));
    }
    s->intx = in.intx();
    update_mappings(*s);
    update_msix(*s);
    drive_intx(*s);
    return {};
}

}  // namespace yado::pci
