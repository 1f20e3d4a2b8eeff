#include "assemble/plugged.h"

#include <algorithm>
#include <cstring>

#include "io/call_on.h"
#include "net/none.h"
#include "net/user.h"
#include "virtio/balloon/balloon.h"
#include "virtio/blk/blk.h"
#include "virtio/console/console.h"
#include "virtio/net/net.h"
#include "virtio/rng/rng.h"
#include "virtio/scsi/scsi.h"

namespace yado::assemble {

namespace {

constexpr unsigned kLastSlot = 0x1e;  // 0x1f is the LPC bridge

storage::AioMode aio_of(api::DiskAio aio) {
    switch (aio) {
    case api::DiskAio::IoUring: return storage::AioMode::IoUring;
    case api::DiskAio::Threads: return storage::AioMode::Threads;
    case api::DiskAio::Auto: break;
    }
    return storage::AioMode::Auto;
}

storage::BackingPolicy backing_of(api::DiskBacking backing) {
    switch (backing) {
    case api::DiskBacking::Folder: return storage::BackingPolicy::Folder;
    case api::DiskBacking::Any: return storage::BackingPolicy::Any;
    case api::DiskBacking::None: break;
    }
    return storage::BackingPolicy::None;
}

storage::CacheMode cache_of(api::DiskCache cache) {
    switch (cache) {
    case api::DiskCache::None: return storage::CacheMode::None;
    case api::DiskCache::Writethrough: return storage::CacheMode::Writethrough;
    case api::DiskCache::Unsafe: return storage::CacheMode::Unsafe;
    case api::DiskCache::Writeback: break;
    }
    return storage::CacheMode::Writeback;
}

storage::DiskConfig storage_config(const api::DiskConfig& config) {
    return {.path = config.path,
            .format = config.format,
            .readonly = config.readonly,
            .snapshot = config.snapshot,
            .aio = aio_of(config.aio),
            .backing = backing_of(config.backing),
            .cache = cache_of(config.cache),
            .reconnect = std::chrono::seconds(config.reconnect),
            .discard = config.discard,
            .writeback = {.limit = config.writeback_limit, .age = config.writeback_age}};
}

storage::Limits limits_of(const api::DiskLimits& limits) { return {.operations = limits.iops, .bytes = limits.bps, .burst = limits.burst}; }

api::DiskLimits limits_of(const storage::Limits& limits) {
    return {.iops = static_cast<uint32_t>(limits.operations), .bps = limits.bytes, .burst = std::chrono::duration_cast<std::chrono::seconds>(limits.burst)};
}

api::DiskState state_of(const std::string& id, const storage::LiveDisk& disk) {
    api::DiskState state{.id = id, .path = {}, .format = {}, .chain = {}, .size = disk.size(), .readonly = disk.readonly(), .limits = limits_of(disk.limits())};
    const auto& layers = disk.layers();
    if (layers.empty()) return state;
    state.path = layers[0].path;
    state.format = layers[0].format->name();
    for (const storage::Layer& below : std::span(layers).subspan(1)) state.chain.push_back(below.path);
    return state;
}

const std::string& serial_of(const api::DiskConfig& config) { return config.serial.empty() ? config.id : config.serial; }

/// As many as the disk that asks for the most.
uint16_t scsi_queues(const api::GuestConfig& config) {
    uint16_t queues = 1;
    for (const api::DiskConfig& d : config.disk)
        if (d.bus == api::DiskBus::Scsi) queues = std::max(queues, d.queues);
    return queues;
}

/// What the user reads, and what is to be done.
std::string failure_text(const std::string& id, const Error& error) {
    if (error.lasting())
        return fmt::format("disk {}: flush: {}; what the guest wrote since the flush before it may be lost and no later flush can succeed: mend the "
                           "host's disk, then yado stop --force and start the guest anew (yado resume tells the guest of the error)",
                           id, strerror(error.number()));
    const bool space = error.number() != EIO;
    return fmt::format("disk {}: {} ({}); {}, then yado resume", id, strerror(error.number()), error.message(),
                       space ? "make room on the host" : "mend the host's disk");
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

Plugged::Plugged(const Wiring& wiring) : wiring_(wiring), doorbells_(wiring.engine), jobs_({wiring.executor, [this] { return list_disks(); }, wiring.event}) {}

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
    return plugged;
}

Result<> Plugged::plug(std::unique_ptr<virtio::DeviceModel> model) {
    if (next_slot_ > kLastSlot) return fail(ErrorKind::Usage, "{}: no PCI slot is left ({} devices fit)", model->id(), kLastSlot);
    functions_.push_back(std::make_unique<virtio::VirtioPci>(
        virtio::VirtioPci::Wiring{wiring_.chipset.pci_wiring(), wiring_.executor, wiring_.engine.has_doorbells() ? &doorbells_ : nullptr}, std::move(model),
        virtio::VirtioPci::Options{.packed = wiring_.config.rings == api::Rings::Packed}));
    return wiring_.chipset.pci().add(next_slot_++, 0, *functions_.back());
}

Result<> Plugged::plug_disk(const api::DiskConfig& config) {
    disks_.push_back({config.id, nullptr, {}});
    Disk& disk = disks_.back();
    storage::LiveConfig live{.disk = storage_config(config),
                             .on_error = config.on_error == api::DiskOnError::Report ? storage::OnError::Report : storage::OnError::Pause,
                             .kept_back = [this, id = config.id](const Error& error) { wiring_.disk_failed(failure_text(id, error)); },
                             .limits = limits_of(config.limits)};
    disk.image = YADO_TRY(io::finish_on(wiring_.executor, storage::LiveDisk::open(wiring_.executor, std::move(live))));
    return config.bus == api::DiskBus::Scsi ? plug_scsi(config, disk) : plug_blk(config, disk);
}

Result<> Plugged::plug_blk(const api::DiskConfig& config, Disk& disk) {
    auto device =
        YADO_TRY(virtio::Blk::create(*disk.image, {.id = config.id, .serial = serial_of(config), .queues = config.queues, .attachment = disk.image.get()}));
    disk.counters = [blk = device.get()] { return blk->counters(); };
    return plug(std::move(device));
}

Result<> Plugged::plug_scsi(const api::DiskConfig& config, Disk& disk) {
    if (!scsi_) {
        auto controller = YADO_TRY(virtio::Scsi::create({.id = "scsi0", .queues = scsi_queues(wiring_.config)}));
        scsi_ = controller.get();
        YADO_TRY(plug(std::move(controller)));
    }
    const uint8_t target = next_target_++;
    disk.counters = [scsi = scsi_, target] { return scsi->counters(target); };
    return io::call_on(wiring_.executor, [&] {
        return scsi_->attach_unit(target, *disk.image, {.id = config.id, .serial = serial_of(config), .attachment = disk.image.get()});
    });
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
    for (auto& f : functions_) inventory.add(*f);
}

void Plugged::count(api::Counters& counters) {
    io::call_on(wiring_.executor, [&] { count_now(counters); });
}

/// Executor's thread, where the counters live.
void Plugged::count_now(api::Counters& counters) const {
    const auto put = [&](const std::string& id, std::string_view name, uint64_t value) { counters[fmt::format("{}.{}", id, name)] = value; };
    for (const Disk& d : disks_) {
        if (!d.counters) continue;
        const virtio::DiskCounters c = d.counters();
        put(d.id, "reads", c.reads);
        put(d.id, "writes", c.writes);
        put(d.id, "flushes", c.flushes);
        put(d.id, "errors", c.errors);
        put(d.id, "read_bytes", c.bytes_read);
        put(d.id, "written_bytes", c.bytes_written);
        const auto& limited = d.image->throttle_counters();
        put(d.id, "delayed", limited.delayed);
        put(d.id, "delayed_microseconds", static_cast<uint64_t>(limited.waited.count() / 1000));
    }
    for (const Nic& n : nics_) {
        const auto c = n.backend->counters();
        put(n.id, "sent_frames", c.sent);
        put(n.id, "received_frames", c.received);
        put(n.id, "dropped_frames", c.send_drops + c.receive_drops);
    }
}

std::vector<DiskJobs::Disk> Plugged::list_disks() const {
    std::vector<DiskJobs::Disk> list;
    for (const Disk& d : disks_)
        if (d.image) list.push_back({d.id, d.image.get()});
    return list;
}

std::vector<api::DiskState> Plugged::disks() {
    return io::call_on(wiring_.executor, [&] {
        std::vector<api::DiskState> list;
        for (const auto& [id, image] : list_disks()) list.push_back(state_of(id, *image));
        return list;
    });
}

Result<> Plugged::limit_disk(const api::LimitsRequest& request) {
    return io::call_on(wiring_.executor, [&]() -> Result<> {
        for (const auto& [id, image] : list_disks()) {
            if (id != request.disk) continue;
            image->change_limits(limits_of(request.limits));
            return {};
        }
        return fail(ErrorKind::NotFound, "there is no disk {}", request.disk);
    });
}

Result<> Plugged::close() {
    jobs_.close();
    wiring_.console.disconnect();
    functions_.clear();
    if (!nics_.empty()) io::call_on(wiring_.executor, [this] { nics_.clear(); });
    Result<> first;
    for (Disk& disk : disks_) {
        if (!disk.image) continue;
        const auto closed = io::finish_on(wiring_.executor, disk.image->close());
        if (!closed && first) first = std::unexpected(closed.error().within(disk.id));
        disk.image.reset();
    }
    return first;
}

}  // namespace yado::assemble
