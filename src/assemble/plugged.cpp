#include "assemble/plugged.h"

#include <algorithm>

#include "io/call_on.h"
#include "net/none.h"
#include "net/user.h"
#include "virtio/balloon/balloon.h"
#include "virtio/console/console.h"
#include "virtio/net/net.h"
#include "virtio/rng/rng.h"
#include "virtio/scsi/scsi.h"

namespace yado::assemble {

namespace {

constexpr unsigned kLastSlot = HotplugPorts::kFirstSlot - 1;

/// As many as the disk that asks for the most.
uint16_t scsi_queues(const api::GuestConfig& config) {
    uint16_t queues = 1;
    for (const api::DiskConfig& d : config.disk)
        if (d.bus == api::DiskBus::Scsi) queues = std::max(queues, d.queues);
    return queues;
}

Result<net::UserConfig> user_config(const api::NetConfig& config) {
    net::UserConfig user{.hostname = config.hostname, .restrict_to_forwards = config.restricted};
    if (!config.dns.empty()) user.dns = YADO_TRY(net::parse_address(config.dns));
    for (const api::Forward& f : config.forward)
        user.forwards.push_back({.protocol = f.transport == api::Transport::Udp ? net::Forward::Protocol::Udp : net::Forward::Protocol::Tcp,
                                 .host = YADO_TRY(net::parse_address(f.host_address)),
                                 .host_port = f.host_port,
                                 .guest_port = f.guest_port});
    return user;
}

}  // namespace

Plugged::Plugged(const Wiring& wiring)
    : wiring_(wiring),
      doorbells_(wiring.engine),
      disks_({wiring.executor, wiring.disk_failed, [this] { return jobs_.quiet(); }, wiring.disk_closed}),
      jobs_({wiring.executor, [this] { return disks_.list(); }, wiring.event}) {}

Plugged::~Plugged() { (void)close(); }

Result<std::unique_ptr<Plugged>> Plugged::create(const Wiring& wiring) {
    std::unique_ptr<Plugged> plugged(new Plugged(wiring));
    const auto named = [](const std::string& id, Result<> done) -> Result<> {
        if (done) return {};
        return std::unexpected(done.error().within(id));
    };
    for (const api::DiskConfig& d : wiring.config.disk) YADO_TRY(named(d.id, plugged->plug_disk(d)));
    for (const api::NetConfig& n : wiring.config.net) YADO_TRY(named(n.id, plugged->plug_net(n)));
    YADO_TRY(plugged->plug_standard());
    plugged->ports_ = YADO_TRY(HotplugPorts::create(
        {wiring.chipset.pci_wiring(), wiring.chipset.pci(), wiring.config.hotplug_ports, wiring.slot_wants_service}));
    return plugged;
}

/// A virtio function around the model; whoever plugs it in says where.
virtio::VirtioPci& Plugged::make_function(std::unique_ptr<virtio::DeviceModel> model, Place place) {
    functions_.push_back(std::make_unique<virtio::VirtioPci>(
        virtio::VirtioPci::Wiring{wiring_.chipset.pci_wiring(), wiring_.executor, wiring_.engine.has_doorbells() ? &doorbells_ : nullptr}, std::move(model),
        virtio::VirtioPci::Options{.packed = wiring_.config.rings == api::Rings::Packed, .express = place == Place::Port}));
    return *functions_.back();
}

Result<> Plugged::plug(std::unique_ptr<virtio::DeviceModel> model) {
    if (next_slot_ > kLastSlot) return fail(ErrorKind::Usage, "{}: no PCI slot is left ({} devices fit)", model->id(), kLastSlot);
    return wiring_.chipset.pci().add(next_slot_++, 0, make_function(std::move(model), Place::RootBus));
}

Result<> Plugged::plug_disk(const api::DiskConfig& config) {
    auto disk = YADO_TRY(disks_.open(config));
    return config.bus == api::DiskBus::Scsi ? plug_scsi(config, std::move(disk)) : plug(disks_.keep(std::move(disk)));
}

Result<> Plugged::plug_scsi(const api::DiskConfig& config, Disks::Opened disk) {
    const uint8_t target = next_target_++;
    CutOff& image = *disk.cable;
    block::Attachment* const attachment = disk.image.get();
    const std::string serial = disk.serial;
    disks_.keep(std::move(disk), [this, target] { return scsi_->counters(target); });
    if (!scsi_) {
        auto controller = YADO_TRY(virtio::Scsi::create({.id = "scsi0", .queues = scsi_queues(wiring_.config)}));
        scsi_ = controller.get();
        YADO_TRY(plug(std::move(controller)));
    }
    return io::call_on(wiring_.executor, [&] { return scsi_->attach_unit(target, image, {.id = config.id, .serial = serial, .attachment = attachment}); });
}

Result<> Plugged::plug_net(const api::NetConfig& config) {
    nics_.push_back({config.id, nullptr, nullptr});
    Nic& nic = nics_.back();
    nic.backend = config.kind == api::NetKind::None ? net::make_none() : YADO_TRY(net::make_user(wiring_.executor, YADO_TRY(user_config(config))));
    auto device = YADO_TRY(virtio::Net::create(*nic.backend, {.id = config.id, .mac = config.mac.value_or(api::MacAddress{}).octets}));
    nic.device = device.get();
    return plug(std::move(device));
}

Result<> Plugged::plug_standard() {
    if (wiring_.config.console_device == api::ConsoleDevice::Virtio) {
        auto model = std::make_unique<virtio::Console>("console0", wiring_.console);
        virtio::Console& console = *model;
        YADO_TRY(plug(std::move(model)));
        wiring_.console.connect({.take = [&console](std::span<const std::byte> bytes) { return console.input(bytes); },
                                 .resize = [&console](uint16_t columns, uint16_t rows) { console.resize({columns, rows}); }});
    }
    if (wiring_.config.rng) YADO_TRY(plug(std::make_unique<virtio::Rng>("rng0")));
    if (wiring_.config.balloon) YADO_TRY(plug(std::make_unique<virtio::Balloon>("balloon0", wiring_.chipset.ram())));
    return {};
}

void Plugged::list(vm::Inventory& inventory) {
    ports_->list(inventory);
    for (auto& f : functions_) inventory.add(*f);
}

// ---- hot-plug ----

Result<> Plugged::attach(std::unique_ptr<virtio::DeviceModel> model, vm::Inventory& inventory, vm::RunControl::Devices devices) {
    pci::RootPort& port = *YADO_TRY(ports_->free_port());
    virtio::VirtioPci& function = make_function(std::move(model), Place::Port);
    inventory.add(function);
    if (devices == vm::RunControl::Devices::Running) function.resume();
    return port.insert(function);
}

Result<> Plugged::attach_disk(Disks::Opened& disk, vm::Inventory& inventory, vm::RunControl::Devices devices) {
    if (disks_.has(disk.id)) return fail(ErrorKind::Conflict, "the guest has a disk {} already", disk.id);
    YADO_TRY(ports_->free_port());
    return attach(disks_.keep(std::move(disk)), inventory, devices);
}

Result<pci::RootPort*> Plugged::way_out(std::string_view id) const {
    if (!disks_.has(id)) return fail(ErrorKind::NotFound, "the guest has no disk {}", id);
    if (pci::RootPort* port = ports_->port_of(id)) return port;
    return fail(ErrorKind::Conflict, "disk {} is in no hot-plug slot: it stays for as long as the guest is there", id);
}

Result<pci::RootPort::Asked> Plugged::detach_disk(std::string_view id, api::Detach how, vm::Inventory& inventory) {
    pci::RootPort* const port = YADO_TRY(way_out(id));
    const auto asked = how == api::Detach::Force ? pci::RootPort::Asked::Off : port->ask_to_leave();
    if (asked == pci::RootPort::Asked::Off) remove(*port, inventory);
    return asked;
}

void Plugged::service(vm::Inventory& inventory) {
    for (const auto& port : ports_->ports()) {
        port->service();
        if (port->leaving()) remove(*port, inventory);
    }
}

void Plugged::after_reset(vm::Inventory& inventory) {
    for (const auto& port : ports_->ports())
        if (port->asked()) remove(*port, inventory);
}

void Plugged::remove(pci::RootPort& port, vm::Inventory& inventory) {
    pci::PciFunction* const card = port.card();
    if (!card) return;
    const std::string id = card->id();
    port.eject();
    inventory.remove(*card);
    std::erase_if(functions_, [&](const auto& f) { return f.get() == card; });
    disks_.retire(id);
}

void Plugged::count(api::Counters& counters) {
    io::call_on(wiring_.executor, [&] { count_now(counters); });
}

/// Executor's thread, where the counters live.
void Plugged::count_now(api::Counters& counters) const {
    const auto put = [&](const std::string& id, std::string_view name, uint64_t value) { counters[fmt::format("{}.{}", id, name)] = value; };
    disks_.count_now(counters);
    for (const Nic& n : nics_) {
        const auto c = n.backend->counters();
        put(n.id, "sent_frames", c.sent);
        put(n.id, "received_frames", c.received);
        put(n.id, "dropped_frames", c.send_drops + c.receive_drops);
    }
}

std::vector<api::DiskState> Plugged::disks() {
    return io::call_on(wiring_.executor, [&] { return disks_.states(); });
}

Result<> Plugged::limit_disk(const api::LimitsRequest& request) {
    return io::call_on(wiring_.executor, [&] { return disks_.limit(request); });
}

Result<> Plugged::close() {
    jobs_.close();
    wiring_.console.disconnect();
    functions_.clear();
    if (!nics_.empty()) io::call_on(wiring_.executor, [this] { nics_.clear(); });
    ports_.reset();
    return disks_.close();
}

}  // namespace yado::assemble
