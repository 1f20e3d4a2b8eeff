#include "assemble/disks.h"

#include <algorithm>
#include <cstring>

#include "io/call_on.h"

namespace yado::assemble {

namespace {

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

io::Task<Result<>> close_unused(std::function<io::Task<>()> unused, storage::LiveDisk* image) {
    co_await unused();
    co_return co_await image->close();
}

}  // namespace

Result<Disks::Opened> Disks::open(const api::DiskConfig& config) {
    storage::LiveConfig live{.disk = storage_config(config),
                             .on_error = config.on_error == api::DiskOnError::Report ? storage::OnError::Report : storage::OnError::Pause,
                             .kept_back = [this, id = config.id](const Error& error) { wiring_.failed(failure_text(id, error)); },
                             .limits = limits_of(config.limits)};
    Opened disk{config.id, YADO_TRY(io::finish_on(wiring_.executor, storage::LiveDisk::open(wiring_.executor, std::move(live)))), nullptr, nullptr,
                config.serial.empty() ? config.id : config.serial};
    disk.cable = std::make_unique<CutOff>(*disk.image);
    if (config.bus == api::DiskBus::Scsi) return disk;
    auto device = virtio::Blk::create(*disk.cable, {.id = config.id, .serial = disk.serial, .queues = config.queues, .attachment = disk.image.get()});
    if (!device) {
        discard(std::move(disk));
        return std::unexpected(device.error());
    }
    disk.device = std::move(*device);
    return disk;
}

void Disks::discard(Opened disk) {
    disk.device.reset();
    (void)io::finish_on(wiring_.executor, disk.image->close());
}

std::unique_ptr<virtio::DeviceModel> Disks::keep(Opened disk, Counters counters) {
    forget_closed();
    if (disk.device) counters = [blk = disk.device.get()] { return blk->counters(); };
    io::call_on(wiring_.executor, [&] { disks_.push_back({disk.id, std::move(disk.image), std::move(disk.cable), std::move(counters)}); });
    return std::move(disk.device);
}

const Disks::Disk* Disks::find(std::string_view id) const {
    const auto at = std::ranges::find(disks_, id, &Disk::id);
    return at == disks_.end() ? nullptr : &*at;
}

bool Disks::has(std::string_view id) const { return find(id) != nullptr; }

void Disks::cut(std::string_view id) {
    if (const Disk* disk = find(id)) io::call_on(wiring_.executor, [disk] { disk->cable->cut(); });
}

CutOff::Activity Disks::activity(std::string_view id) const {
    const Disk* disk = find(id);
    return disk ? io::call_on(wiring_.executor, [disk] { return disk->cable->activity(); }) : CutOff::Activity{};
}

void Disks::retire(std::string_view id) {
    const auto at = std::ranges::find(disks_, id, &Disk::id);
    if (at == disks_.end()) return;
    std::promise<Result<>> done;
    storage::LiveDisk* const image = at->image.get();
    io::call_on(wiring_.executor, [&] {
        retired_.push_back({at->id, std::move(at->image), done.get_future()});
        disks_.erase(at);
    });
    wiring_.executor.post([image, unused = wiring_.unused, tell = wiring_.closed, id = retired_.back().id, done = std::move(done)]() mutable {
        io::spawn(close_unused(std::move(unused), image), [tell = std::move(tell), id = std::move(id), done = std::move(done)](Result<> closed) mutable {
            tell(id, closed);
            done.set_value(std::move(closed));
        });
    });
}

void Disks::forget_closed() {
    std::erase_if(retired_, [](Retired& r) { return r.closed.wait_for(std::chrono::seconds(0)) == std::future_status::ready; });
}

Result<> Disks::close() {
    Result<> first;
    const auto note = [&](const std::string& id, const Result<>& closed) {
        if (!closed && first) first = std::unexpected(closed.error().within(id));
    };
    for (Retired& r : retired_) note(r.id, r.closed.get());
    retired_.clear();
    for (Disk& disk : disks_) note(disk.id, io::finish_on(wiring_.executor, disk.image->close()));
    io::call_on(wiring_.executor, [&] { disks_.clear(); });
    return first;
}

void Disks::count_now(api::Counters& counters) const {
    for (const Disk& d : disks_) {
        const auto put = [&](std::string_view name, uint64_t value) { counters[fmt::format("{}.{}", d.id, name)] = value; };
        const virtio::DiskCounters c = d.counters();
        put("reads", c.reads);
        put("writes", c.writes);
        put("flushes", c.flushes);
        put("errors", c.errors);
        put("read_bytes", c.bytes_read);
        put("written_bytes", c.bytes_written);
        const auto& limited = d.image->throttle_counters();
        put("delayed", limited.delayed);
        put("delayed_microseconds", static_cast<uint64_t>(limited.waited.count() / 1000));
    }
}

std::vector<DiskJobs::Disk> Disks::list() const {
    std::vector<DiskJobs::Disk> list;
    for (const Disk& d : disks_) list.push_back({d.id, d.image.get()});
    return list;
}

std::vector<api::DiskState> Disks::states() const {
    std::vector<api::DiskState> list;
    for (const Disk& d : disks_) list.push_back(state_of(d.id, *d.image));
    return list;
}

Result<> Disks::limit(const api::LimitsRequest& request) {
    const Disk* disk = find(request.disk);
    if (!disk) return fail(ErrorKind::NotFound, "there is no disk {}", request.disk);
    disk->image->change_limits(limits_of(request.limits));
    return {};
}

}  // namespace yado::assemble
