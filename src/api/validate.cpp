#include <arpa/inet.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <set>

#include "api/guest_config.h"

namespace yado::api {

namespace {

constexpr Bytes kLeastMemory = 4_MiB;  // as machine/layout.cpp wants
constexpr Bytes kMemoryStep = 1_MiB;
constexpr Bytes kLeastWriteback = 1_MiB;

/// FNV-1a: a fixed MAC address for a fixed name, not a secret.
uint32_t hash_of(std::string_view text) {
    uint32_t hash = 2166136261u;
    for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
    return hash;
}

template <typename Device>
void name_devices(std::vector<Device>& devices, std::string_view stem, std::set<std::string>& taken) {
    size_t number = 0;
    for (Device& device : devices) {
        while (device.id.empty()) {
            std::string id = fmt::format("{}{}", stem, number++);
            if (taken.insert(id).second) device.id = std::move(id);
        }
    }
}

Result<> check_id(std::string_view id) {
    const bool good = !id.empty() && id.size() <= 32 && std::ranges::all_of(id, [](unsigned char c) { return isalnum(c) || c == '-' || c == '_'; });
    if (good) return {};
    return fail(ErrorKind::Usage, "device id \"{}\" is not 1 to 32 letters, digits, - or _", id);
}

Result<> check_memory(Bytes memory, Bytes host) {
    if (memory.value() == 0) return fail(ErrorKind::Usage, "memory is 0; a guest needs some, such as --memory 512M");
    if (memory < kLeastMemory) return fail(ErrorKind::Usage, "memory {} is too little; the least is {}", to_string(memory), to_string(kLeastMemory));
    if (memory.value() % kMemoryStep.value() != 0)
        return fail(ErrorKind::Usage, "memory {} is not a whole number of MiB; use {}M", to_string(memory), (memory.value() >> 20) + 1);
    if (memory > host)
        return fail(ErrorKind::Usage, "memory {} is more than this host has; use at most {}M", to_string(memory), host.value() >> 20);
    return {};
}

Result<> check_disk(const DiskConfig& disk) {
    if (disk.path.empty()) return fail(ErrorKind::Usage, "disk {} has no path; add path=FILE", disk.id);
    if (disk.format.empty()) return fail(ErrorKind::Usage, "disk {} has no format; add format=raw, or what it is", disk.id);
    if (disk.queues == 0 || disk.queues > kMaxDiskQueues)
        return fail(ErrorKind::Usage, "disk {}: {} queues; 1 to {} are possible", disk.id, disk.queues, kMaxDiskQueues);
    if (disk.reconnect > 0 && disk.path.find("://") == disk.path.npos)
        return fail(ErrorKind::Usage, "disk {}: reconnect= is for NBD servers (path=nbd://...); leave it out", disk.id);
    const bool held_back = disk.writeback_limit.value() > 0 || disk.writeback_age.count() > 0;
    if (held_back && (disk.cache == DiskCache::None || disk.cache == DiskCache::Writethrough))
        return fail(ErrorKind::Usage, "disk {}: with cache=none and cache=writethrough nothing waits in the page cache; leave writeback-limit and writeback-age out", disk.id);
    if (disk.writeback_limit.value() > 0 && disk.writeback_limit < kLeastWriteback)
        return fail(ErrorKind::Usage, "disk {}: writeback-limit={} is too little; the least is {}", disk.id, to_string(disk.writeback_limit), to_string(kLeastWriteback));
    if (held_back && disk.path.find("://") != disk.path.npos)
        return fail(ErrorKind::Usage, "disk {}: writeback-limit and writeback-age are for files of this host; leave them out", disk.id);
    if (disk.limits.burst.count() > 0 && disk.limits.iops == 0 && disk.limits.bps.value() == 0)
        return fail(ErrorKind::Usage, "disk {}: burst= without limit-iops or limit-bps means nothing; leave it out", disk.id);
    const bool printable = std::ranges::all_of(disk.serial, [](char c) { return c >= ' ' && c <= '~'; });
    if (disk.serial.size() > 20 || !printable)
        return fail(ErrorKind::Usage, "disk {}: serial \"{}\" is not at most 20 ASCII characters", disk.id, disk.serial);
    if (disk.readonly && disk.snapshot)
        return fail(ErrorKind::Usage, "disk {}: readonly=on and snapshot=on exclude each other; leave one out", disk.id);
    return {};
}

Result<> check_net(const NetConfig& net) {
    in_addr address;
    if (!net.dns.empty() && inet_pton(AF_INET, net.dns.c_str(), &address) != 1)
        return fail(ErrorKind::Usage, "net {}: dns \"{}\" is no IPv4 address", net.id, net.dns);
    if (net.kind == NetKind::None && !net.forward.empty())
        return fail(ErrorKind::Usage, "net {}: forward needs kind=user", net.id);
    if (net.hostname.size() > 63) return fail(ErrorKind::Usage, "net {}: hostname is longer than 63 characters", net.id);
    return {};
}

Result<> check_slots(const GuestConfig& config) {
    const size_t scsi = static_cast<size_t>(std::ranges::count(config.disk, DiskBus::Scsi, &DiskConfig::bus));
    const size_t slots = config.disk.size() - scsi + (scsi ? 1 : 0) + config.net.size();
    if (scsi > kMaxScsiDisks) return fail(ErrorKind::Usage, "{} SCSI disks are too many; the most is {}", scsi, kMaxScsiDisks);
    if (slots > kMaxDevices)
        return fail(ErrorKind::Usage, "{} disks and nets are too many; the most is {}{}", config.disk.size() + config.net.size(), kMaxDevices,
                    scsi ? ", all SCSI disks counted as one" : "; bus=scsi takes one slot for all disks");
    return {};
}

Result<> check_devices(const GuestConfig& config) {
    YADO_TRY(check_slots(config));
    std::set<std::string> ids;
    const auto claim = [&](const std::string& id) -> Result<> {
        YADO_TRY(check_id(id));
        if (!ids.insert(id).second) return fail(ErrorKind::Usage, "two devices have the id {}; give each its own", id);
        return {};
    };
    if (config.hotplug_ports > kMaxHotplugPorts)
        return fail(ErrorKind::Usage, "{} hot-plug ports are too many; the most is {}", config.hotplug_ports, kMaxHotplugPorts);
    for (const DiskConfig& disk : config.disk) {
        YADO_TRY(claim(disk.id));
        YADO_TRY(check_disk(disk));
    }
    for (const NetConfig& net : config.net) {
        YADO_TRY(claim(net.id));
        YADO_TRY(check_net(net));
    }
    return {};
}

Result<> check_boot(const GuestConfig& config) {
    if (config.kernel.empty() && config.image.empty())
        return fail(ErrorKind::Usage, "nothing to boot; name an image (yado run debian) or a kernel (--kernel FILE)");
    if (config.kernel.empty() && !config.initrd.empty()) return fail(ErrorKind::Usage, "--initrd needs --kernel");
    return {};
}

/// What looks into the translator needs it.
Result<> check_introspection(const GuestConfig& config) {
    if (config.perf.kind != PerfKind::Off && config.engine != EngineChoice::Bt)
        return fail(ErrorKind::Usage, "--perf is about translated code; add --engine bt");
    if (config.check != CheckKind::Off && (config.engine != EngineChoice::Bt || config.cpus != 1))
        return fail(ErrorKind::Usage, "--check compares the translator's one vCPU with the interpreter; use --engine bt and --cpus 1");
    if (config.check != CheckKind::Off && config.perf.kind != PerfKind::Off) return fail(ErrorKind::Usage, "--check and --perf exclude each other; leave one out");
    if (config.perf.kind == PerfKind::Off && !config.system_map.empty()) return fail(ErrorKind::Usage, "--system-map needs --perf map or jitdump=FOLDER");
    return {};
}

}  // namespace

HostLimits HostLimits::of_this_host() {
    struct sysinfo info {};
    if (sysinfo(&info) != 0) return {Bytes(~0ull)};
    return {Bytes(static_cast<uint64_t>(info.totalram) * info.mem_unit)};
}

void assign_ids(GuestConfig& config) {
    std::set<std::string> taken;
    for (const auto& disk : config.disk) taken.insert(disk.id);
    for (const auto& net : config.net) taken.insert(net.id);
    name_devices(config.disk, "disk", taken);
    name_devices(config.net, "net", taken);
    for (NetConfig& net : config.net) {
        if (net.mac) continue;
        const uint32_t hash = hash_of(config.name + "/" + net.id);
        net.mac = MacAddress{{0x52, 0x54, 0x00, static_cast<uint8_t>(hash >> 16), static_cast<uint8_t>(hash >> 8), static_cast<uint8_t>(hash)}};
    }
}

Result<> check_name(std::string_view name) {
    const auto inner = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'; };
    const bool good = !name.empty() && name.size() <= 63 && isalnum(static_cast<unsigned char>(name[0])) && std::ranges::all_of(name, inner);
    if (good) return {};
    return fail(ErrorKind::Usage, "\"{}\" is no name for a guest; use 1 to 63 of a-z, 0-9, -, _ and ., a letter or digit first", name);
}

Result<> validate(const DiskConfig& disk) {
    YADO_TRY(check_id(disk.id));
    return check_disk(disk);
}

Result<> validate(const GuestConfig& config, const HostLimits& host) {
    YADO_TRY(check_name(config.name));
    YADO_TRY(check_memory(config.memory, host.memory));
    if (config.cpus == 0) return fail(ErrorKind::Usage, "cpus is 0; a guest needs at least one");
    if (config.cpus > kMaxVcpus) return fail(ErrorKind::Usage, "{} cpus are too many; the most is {}", config.cpus, kMaxVcpus);
    YADO_TRY(check_boot(config));
    if (config.gdb_wait && config.gdb.kind == GdbKind::None) return fail(ErrorKind::Usage, "--gdb-wait needs --gdb, or no debugger could come");
    YADO_TRY(check_introspection(config));
    return check_devices(config);
}

}  // namespace yado::api
