#include "pci/chipset.h"

#include <algorithm>

#include "pci/pci.pb.h"

namespace yado::pci {

namespace {

// MCH (5.1): PCIEXBAR 60h, PAM0 to PAM6 90h, SMRAM 9dh, ESMRAMC 9eh.
constexpr uint16_t kPciexbar = 0x60, kPam0 = 0x90, kSmram = 0x9d, kEsmramc = 0x9e;
constexpr uint64_t kPciexEnable = 1;

uint64_t pciexbar_size(uint64_t r) {  // LENGTH, bits 2:1
    return r >> 1 & 3 ? (r & 2 ? 128ull << 20 : 64ull << 20) : 256ull << 20;
}
uint64_t length_bits(Bytes size) { return size == 256_MiB ? 0 : size == 128_MiB ? 2 : 4; }

// ICH9 LPC (13.1).
constexpr uint16_t kPmBase = 0x40, kAcpiControl = 0x44, kGpioBase = 0x48, kGpioControl = 0x4c, kPirqA = 0x60, kSerirq = 0x64,
                   kPirqE = 0x68, kIoDecode = 0x80, kLpcEnable = 0x82, kGenericDecode = 0x84, kGenPmCon = 0xa0, kRcba = 0xf0;
constexpr uint8_t kAcpiEnable = 0x80;

uint16_t pirq_register(unsigned pirq) { return static_cast<uint16_t>(pirq < 4 ? kPirqA + pirq : kPirqE + pirq - 4); }

Result<state::Record> save_plain(const PciFunction& f, const pb::Function& m) { return state::make_record(f, m); }

}  // namespace

HostBridge::HostBridge(const FunctionWiring& wiring, PciBus& root, const Options& options)
    : PciFunction(wiring, {.vendor = 0x8086, .device = 0x29c0, .subsystem_vendor = 0x1af4, .subsystem = 0x1100, .class_code = 0x060000}),
      memory_(wiring.memory),
      ram_(wiring.ram),
      window_(root) {
    configure([&](ConfigSpace& c) {
        c.set<uint64_t>(kPciexbar, options.ecam_start.value() | length_bits(options.ecam_size) | kPciexEnable);
        c.allow<uint64_t>(kPciexbar, 0x0000000ffc000007ull);
        for (uint16_t i = 0; i < 7; ++i) c.allow<uint8_t>(kPam0 + i, i == 0 ? 0x30 : 0x33);
        c.set<uint8_t>(kSmram, 0x02);
        c.allow<uint8_t>(kSmram, 0x78);
        c.set<uint8_t>(kEsmramc, 0x38);
    });
    seal();
}

Result<std::unique_ptr<HostBridge>> HostBridge::create(const FunctionWiring& wiring, PciBus& root, const Options& options) {
    const Bytes size = options.ecam_size;
    if ((size != 64_MiB && size != 128_MiB && size != 256_MiB) || options.ecam_start.value() % size.value())
        return fail(ErrorKind::OutOfRange, "ECAM of {} MiB at {:#x}: not a window that Q35 has", size.value() >> 20, options.ecam_start.value());
    std::unique_ptr<HostBridge> bridge(new HostBridge(wiring, root, options));
    bridge->move_ecam();
    if (!*bridge->mapped_.lock()) return fail(ErrorKind::Conflict, "ECAM at {:#x} overlaps RAM or a device", options.ecam_start.value());
    return bridge;
}

HostBridge::~HostBridge() {
    if (const auto at = *mapped_.lock()) memory_.detach(*at, window_);
}

void HostBridge::config_written(uint16_t offset, unsigned size) {
    if (offset < kPciexbar + 8 && offset + size > kPciexbar) move_ecam();
}

void HostBridge::move_ecam() {
    auto mapped = mapped_.lock();
    const uint64_t r = config_register(kPciexbar, 4) | static_cast<uint64_t>(config_register(kPciexbar + 4, 4)) << 32;
    const uint64_t size = pciexbar_size(r), start = r & 0x0000000fffffffffull & ~(size - 1);
    if (*mapped) memory_.detach(**mapped, window_);
    mapped->reset();
    const bool over_ram = std::ranges::any_of(ram_.extents(), [&](const mem::GuestMemory::Extent& e) {
        return start < (e.start + e.size).value() && start + size > e.start.value();
    });
    if (r & kPciexEnable && !over_ram && memory_.attach(start, size, window_, "ECAM")) *mapped = start;
}

void HostBridge::reset() {
    PciFunction::reset();
    move_ecam();
}

std::string HostBridge::detail() const {
    const auto at = *mapped_.lock();
    return at ? fmt::format("ECAM at {:#x}", *at) : "ECAM off";
}

Result<state::Record> HostBridge::save() const {
    pb::Function m;
    save_function(m);
    return save_plain(*this, m);
}

Result<> HostBridge::load(const state::Record& record) {
    pb::Function m;
    YADO_TRY(state::parse_record(record, m));
    YADO_TRY(load_function(m));
    move_ecam();
    return {};
}

LpcBridge::LpcBridge(const FunctionWiring& wiring, PirqRouter& pirqs, Options options)
    : PciFunction(wiring, {.vendor = 0x8086, .device = 0x2918, .subsystem_vendor = 0x1af4, .subsystem = 0x1100, .class_code = 0x060100, .revision = 2}),
      pirqs_(pirqs),
      options_(std::move(options)) {
    configure([&](ConfigSpace& c) {
        c.set<uint32_t>(kPmBase, (options_.pm_base.value() & 0xff80u) | 1);
        c.allow<uint32_t>(kPmBase, 0xff80);
        c.set<uint8_t>(kAcpiControl, kAcpiEnable);  // as firmware would leave it; SCI on IRQ 9
        c.allow<uint8_t>(kAcpiControl, 0x87);
        c.set<uint32_t>(kGpioBase, 1);
        c.allow<uint32_t>(kGpioBase, 0xff80);
        c.allow<uint8_t>(kGpioControl, 0x11);
        for (unsigned p = 0; p < kPirqs; ++p) {
            c.set<uint8_t>(pirq_register(p), kRouteDisabled);
            c.allow<uint8_t>(pirq_register(p), 0x8f);
        }
        c.set<uint8_t>(kSerirq, 0x10);
        c.allow<uint8_t>(kSerirq, 0xff);
        c.allow<uint16_t>(kIoDecode, 0x1377);
        c.allow<uint16_t>(kLpcEnable, 0x3f0f);
        for (uint16_t i = 0; i < 4; ++i) c.allow<uint32_t>(kGenericDecode + 4 * i, 0x00fcfffd);
        c.allow<uint32_t>(kGenPmCon, 0xffffffff);
        c.allow<uint32_t>(kRcba, 0xffffc001);
    });
    use_intx_pin(0);
    configure([](ConfigSpace& c) { c.set<uint8_t>(kHeaderType, 0x80); });  // ICH9's functions 2 and 3 share the slot
    seal();
    apply_pm();
}

std::optional<Port> LpcBridge::pm_base() const {
    if (!(config_register(kAcpiControl, 1) & kAcpiEnable)) return std::nullopt;
    const uint32_t base = config_register(kPmBase, 4) & 0xff80;
    return base ? std::optional(Port(static_cast<uint16_t>(base))) : std::nullopt;
}

void LpcBridge::config_written(uint16_t offset, unsigned size) {
    if (offset < kAcpiControl + 1 && offset + size > kPmBase) apply_pm();
    if (offset < kPirqE + 4 && offset + size > kPirqA) apply_routes();
}

void LpcBridge::apply_routes() {
    for (unsigned p = 0; p < kPirqs; ++p) pirqs_.set_route(p, static_cast<uint8_t>(config_register(pirq_register(p), 1)));
}

void LpcBridge::apply_pm() {
    const auto now = pm_base();
    {
        auto at = pm_at_.lock();
        if (*at == now) return;
        *at = now;
    }
    if (options_.pm_moved) options_.pm_moved(now);
}

void LpcBridge::reset() {
    PciFunction::reset();
    apply_routes();
    apply_pm();
}

std::string LpcBridge::detail() const {
    const auto at = pm_base();
    return at ? fmt::format("PM block at port {:#x}", at->value()) : "PM block off";
}

Result<state::Record> LpcBridge::save() const {
    pb::Function m;
    save_function(m);
    return save_plain(*this, m);
}

Result<> LpcBridge::load(const state::Record& record) {
    pb::Function m;
    YADO_TRY(state::parse_record(record, m));
    YADO_TRY(load_function(m));
    apply_routes();
    apply_pm();
    return {};
}

}  // namespace yado::pci
