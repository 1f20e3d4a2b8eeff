// One table of named fields for each type of the API. A visitor is a template over field types: the JSON writer, the
// reader (JSON, TOML and flat text all become JSON first) and the schema writer walk the same tables.
// Included by this module's .cpp files only.
#pragma once

#include <array>
#include <span>
#include <type_traits>
#include <utility>

#include "api/guest_config.h"
#include "api/guest_info.h"

namespace yado::api {

/// The words of an enum, in the order of its values.
template <typename Enum>
inline constexpr std::array<std::string_view, 0> kWords{};
template <>
inline constexpr std::array<std::string_view, 3> kWords<EngineChoice>{"auto", "kvm", "bt"};
template <>
inline constexpr std::array<std::string_view, 5> kWords<ConsoleKind>{"stdio", "pty", "none", "file", "socket"};
template <>
inline constexpr std::array<std::string_view, 2> kWords<NetKind>{"user", "none"};
template <>
inline constexpr std::array<std::string_view, 3> kWords<DiskAio>{"auto", "io_uring", "threads"};
template <>
inline constexpr std::array<std::string_view, 3> kWords<DiskBacking>{"none", "folder", "any"};
template <>
inline constexpr std::array<std::string_view, 4> kWords<DiskCache>{"writeback", "none", "writethrough", "unsafe"};
template <>
inline constexpr std::array<std::string_view, 2> kWords<DiskBus>{"virtio", "scsi"};
template <>
inline constexpr std::array<std::string_view, 2> kWords<DiskOnError>{"pause", "report"};
template <>
inline constexpr std::array<std::string_view, 2> kWords<ConsoleDevice>{"serial", "virtio"};
template <>
inline constexpr std::array<std::string_view, 2> kWords<Rings>{"split", "packed"};
template <>
inline constexpr std::array<std::string_view, 3> kWords<CheckKind>{"off", "lockstep", "sampled"};
template <>
inline constexpr std::array<std::string_view, 2> kWords<Transport>{"tcp", "udp"};
template <>
inline constexpr std::array<std::string_view, 4> kWords<RunState>{"starting", "running", "paused", "stopped"};
template <>
inline constexpr std::array<std::string_view, 3> kWords<JobState>{"running", "done", "failed"};
template <>
inline constexpr std::array<std::string_view, 7> kWords<StopReason>{"none", "powered-off", "rebooted", "stopped",
                                                                    "debug-exit", "crashed", "failed"};

template <typename Enum>
std::string_view word_of(Enum value) {
    const auto index = static_cast<size_t>(std::to_underlying(value));
    return index < kWords<Enum>.size() ? kWords<Enum>[index] : "?";
}

// fields(visitor, object): visitor(name, member, description) for every field. Object may be const.

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, DiskConfig>
void fields(V& v, T& d) {
    v("id", d.id, "name of the device");
    v("path", d.path, "image file on the host");
    v("bus", d.bus, "how the guest sees it: a virtio-blk device of its own, or a disk of a virtio-scsi controller");
    v("format", d.format, "image format; never guessed");
    v("readonly", d.readonly, "the guest may not write");
    v("snapshot", d.snapshot, "writes are thrown away at the end");
    v("serial", d.serial, "serial number that the guest sees, at most 20 characters");
    v("aio", d.aio, "how the host does the I/O");
    v("backing", d.backing, "whether the backing file that the image names is followed: none, inside the image's folder, any");
    v("cache", d.cache, "writeback, none (O_DIRECT), writethrough (every write flushed) or unsafe (flushes ignored)");
    v("discard", d.discard, "the guest's discards give space back");
    v("reconnect", d.reconnect, "seconds that a lost NBD server is waited for; 0: requests fail at once");
    v("queues", d.queues, "queues of the device, 1 to 16");
    v("limit-iops", d.limits.iops, "operations a second; 0: no limit");
    v("limit-bps", d.limits.bps, "bytes a second; 0: no limit");
    v("burst", d.limits.burst, "seconds' worth of the limits that an idle disk saves up");
    v("writeback-limit", d.writeback_limit, "data that may wait in the host's page cache; 0: no limit");
    v("writeback-age", d.writeback_age, "seconds that data may wait in the host's page cache; 0: as the host likes");
    v("on-error", d.on_error, "when the host's disk is full or fails: the guest is paused and nothing is lost, or the error is reported to it");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, NetConfig>
void fields(V& v, T& n) {
    v("id", n.id, "name of the device");
    v("kind", n.kind, "user: NAT without privileges; none: no network interface");
    v("mac", n.mac, "Ethernet address, 52:54:00:...");
    v("forward", n.forward, "host port to guest port: [tcp:|udp:][ADDR:]HOSTPORT:GUESTPORT");
    v("hostname", n.hostname, "host name that DHCP hands out");
    v("dns", n.dns, "IPv4 address of the name server");
    v("restrict", n.restricted, "only forwarded ports pass");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, GuestConfig>
void fields(V& v, T& g) {
    v("name", g.name, "name of the guest");
    v("engine", g.engine, "what runs its instructions");
    v("cpu", g.cpu, "CPU model: x86-64-v1, x86-64-v2, x86-64-v3, host");
    v("cpus", g.cpus, "number of vCPUs");
    v("memory", g.memory, "RAM: 512M, 2G");
    v("image", g.image, "name of a built image");
    v("kernel", g.kernel, "bzImage, PVH or multiboot ELF file");
    v("initrd", g.initrd, "initial RAM disk file");
    v("append", g.append, "kernel command line");
    v("disk", g.disk, "disks");
    v("net", g.net, "network interfaces");
    v("console", g.console, "stdio, pty, none, file=PATH or socket=PATH");
    v("console_device", g.console_device, "what carries the console: the serial port, or virtio-console (hvc0)");
    v("debug_exit", g.debug_exit, "isa-debug-exit at port 0xf4");
    v("no_reboot", g.no_reboot, "the first reset ends the guest");
    v("gdb", g.gdb, "where a debugger may connect: none, tcp:[ADDR:]PORT or unix:PATH");
    v("gdb_wait", g.gdb_wait, "the vCPUs wait for the debugger");
    v("rings", g.rings, "layout of virtio queues");
    v("rng", g.rng, "virtio-rng device");
    v("balloon", g.balloon, "virtio-balloon device");
    v("hotplug_ports", g.hotplug_ports, "slots for devices that come while the guest runs, 0 to 16");
    v("check", g.check, "lockstep: every block by the translator and by the interpreter, compared; sampled: only some runs of those that run much");
    v("perf", g.perf, "tells perf what translated code is: off, map, jitdump=FOLDER");
    v("system_map", g.system_map, "System.map of the guest's kernel: names for perf");
    v("engine_stats", g.engine_stats, "what the engine counted, and what its time was spent on, is printed at the end");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, ExitReport>
void fields(V& v, T& r) {
    v("reason", r.reason, "why the guest ended");
    v("detail", r.detail, "one line more");
    v("debug_code", r.debug_code, "value written to the debug-exit port");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, DeviceInfo>
void fields(V& v, T& d) {
    v("id", d.id, "name of the device, unique in the guest");
    v("kind", d.kind, "what it is: virtio-blk, uart16550");
    v("location", d.location, "PCI address, port or MMIO address");
    v("detail", d.detail, "one line about its back end");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, CounterGroup>
void fields(V& v, T& g) {
    v("name", g.name, "what is counted");
    v("unit", g.unit, "unit of the values: bytes, ns, or nothing (counts)");
    v("parts", g.parts, "the values are parts of a whole");
    v("counters", g.counters, "values by name");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, VcpuStats>
void fields(V& v, T& s) {
    v("vcpu", s.vcpu, "number of the vCPU");
    v("groups", s.groups, "what its engine counts");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, EngineStats>
void fields(V& v, T& s) {
    v("engine", s.engine, "kvm or bt");
    v("vcpus", s.vcpus, "by vCPU");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, GuestInfo>
void fields(V& v, T& g) {
    v("name", g.name, "name of the guest");
    v("pid", g.pid, "process that runs it");
    v("state", g.state, "run state");
    v("pause_reason", g.pause_reason, "what it waits for, if it was paused by something that failed on the host");
    v("stop_reason", g.stop_reason, "why it stopped, if it did");
    v("engine", g.engine, "kvm or bt");
    v("engine_reason", g.engine_reason, "why this engine");
    v("cpu", g.cpu, "CPU model");
    v("cpus", g.cpus, "number of vCPUs");
    v("memory", g.memory, "RAM in bytes");
    v("uptime", g.uptime, "nanoseconds since the first start");
    v("image", g.image, "name of the image, if any");
    v("console", g.console, "where its console is");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, DiskState>
void fields(V& v, T& d) {
    v("id", d.id, "name of the device");
    v("path", d.path, "the image that is written to");
    v("format", d.format, "its format");
    v("chain", d.chain, "the images below it, from the top down");
    v("size", d.size, "bytes, as the guest sees it");
    v("readonly", d.readonly, "the guest may not write");
    v("limit-iops", d.limits.iops, "operations a second; 0: no limit");
    v("limit-bps", d.limits.bps, "bytes a second; 0: no limit");
    v("burst", d.limits.burst, "seconds' worth of the limits that it saves up while idle");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, LimitsRequest>
void fields(V& v, T& r) {
    v("disk", r.disk, "which one");
    v("limit-iops", r.limits.iops, "operations a second; 0: no limit");
    v("limit-bps", r.limits.bps, "bytes a second; 0: no limit");
    v("burst", r.limits.burst, "seconds' worth of the limits that it saves up while idle");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, SnapshotRequest>
void fields(V& v, T& r) {
    v("name", r.name, "of the snapshot: goes into the names of its files");
    v("disks", r.disks, "which ones; none: all that the guest may write to");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, CommitRequest>
void fields(V& v, T& r) {
    v("disk", r.disk, "which one");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, DiskSnapshot>
void fields(V& v, T& s) {
    v("disk", s.disk, "which one");
    v("base", s.base, "has what the disk showed at that moment, and is not written any more");
    v("active", s.active, "has what is written from then on");
    v("format", s.format, "of the active image");
    v("stall", s.stall, "nanoseconds that requests had to wait");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, JobInfo>
void fields(V& v, T& j) {
    v("id", j.id, "1, 2, 3 ... within a guest");
    v("kind", j.kind, "snapshot, commit");
    v("state", j.state, "whether it has ended, and how");
    v("done", j.done, "bytes");
    v("total", j.total, "bytes; 0 where that is not known");
    v("error_kind", j.error_kind, "of a job that failed");
    v("error", j.error, "of a job that failed");
    v("snapshots", j.snapshots, "what a snapshot made");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, Event>
void fields(V& v, T& e) {
    v("number", e.number, "1, 2, 3 ... within a guest");
    v("time", e.time, "nanoseconds since 1970-01-01 UTC");
    v("kind", e.kind, "what happened");
    v("detail", e.detail, "one line more");
}

template <typename V, typename T>
    requires std::is_same_v<std::remove_const_t<T>, ApiError>
void fields(V& v, T& e) {
    v("kind", e.kind, "failed, usage, not-found, conflict, denied, unreachable, timed-out, guest-crashed, out-of-range, corrupt");
    v("message", e.message, "what failed, on what, why, what to do");
}

/// True for types with a table.
template <typename T, typename... List>
inline constexpr bool kOneOf = (std::is_same_v<T, List> || ...);
template <typename T>
concept Described = kOneOf<T, DiskConfig, NetConfig, GuestConfig, ExitReport, DeviceInfo, CounterGroup, VcpuStats, EngineStats, GuestInfo, Event, ApiError, DiskState, LimitsRequest,
                           SnapshotRequest, CommitRequest, DiskSnapshot, JobInfo>;

}  // namespace yado::api
