// What a guest is made of, as plain data: the command line, a TOML file and JSON all end here.
//
//     flat text "path=a.img,snapshot=on"  ---.
//     guest.toml                          ---+-> one reader of named fields (fields.h) -> GuestConfig -> validate()
//     JSON (to a detached guest's process) --'
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/units.h"

namespace yado::api {

enum class EngineChoice : uint8_t { Auto, Kvm, Bt };
enum class ConsoleKind : uint8_t { Stdio, Pty, None, File, Socket };
enum class NetKind : uint8_t { User, None };  ///< None: no NIC, and no default one either
enum class DiskAio : uint8_t { Auto, IoUring, Threads };
enum class DiskBacking : uint8_t { None, Folder, Any };
enum class DiskCache : uint8_t { Writeback, None, Writethrough, Unsafe };
enum class DiskBus : uint8_t { Virtio, Scsi };  ///< Scsi: all on one virtio-scsi controller
enum class DiskOnError : uint8_t { Pause, Report };
enum class Transport : uint8_t { Tcp, Udp };

/// An Ethernet address. Text form: "52:54:00:12:34:56".
struct MacAddress {
    std::array<uint8_t, 6> octets{};
    friend bool operator==(const MacAddress&, const MacAddress&) = default;
};
Result<MacAddress> parse_mac(std::string_view text);
std::string to_string(const MacAddress& mac);

/// A host port that leads to a guest port. Text form: "[tcp:|udp:][HOSTADDR:]HOSTPORT:GUESTPORT", "tcp:127.0.0.1:2222:22"; the
/// address is IPv4, absent or empty it is 127.0.0.1.
struct Forward {
    Transport transport = Transport::Tcp;
    std::string host_address = "127.0.0.1";
    uint16_t host_port = 0;
    uint16_t guest_port = 0;
    friend bool operator==(const Forward&, const Forward&) = default;
};
Result<Forward> parse_forward(std::string_view text);
std::string to_string(const Forward& forward);

/// How much of a disk a guest may use. 0: as much as it likes.
struct DiskLimits {
    uint32_t iops = 0;        ///< operations a second; key "limit-iops"
    Bytes bps;                ///< bytes a second; key "limit-bps"
    std::chrono::seconds burst{0};  ///< what an idle disk saves up; key "burst"
    friend bool operator==(const DiskLimits&, const DiskLimits&) = default;
};

struct DiskConfig {
    std::string id;             ///< made up ("disk0") when empty: assign_ids()
    std::string path;           ///< of the image on the host
    DiskBus bus = DiskBus::Virtio;
    std::string format = "raw"; ///< never probed from the image (DESIGN.md section 7)
    bool readonly = false;
    bool snapshot = false;      ///< writes are thrown away at the end
    std::string serial;         ///< at most 20 bytes of ASCII (virtio 1.2, 5.2.6.1)
    DiskAio aio = DiskAio::Auto;
    DiskBacking backing = DiskBacking::None;  ///< whether the image below that a header names is opened
    DiskCache cache = DiskCache::Writeback;
    bool discard = true;        ///< the guest's discards give space back
    uint16_t reconnect = 0;     ///< seconds that a lost NBD server is waited for; 0: not at all
    uint16_t queues = 1;        ///< of the virtio device, 1 to kMaxDiskQueues; a SCSI controller has as many as the most of its disks
    DiskLimits limits;          ///< keys "limit-iops", "limit-bps", "burst"
    Bytes writeback_limit;      ///< that may wait in the host's page cache; 0: no limit; key "writeback-limit"
    std::chrono::seconds writeback_age{0};  ///< that it may wait; 0: as the host likes; key "writeback-age"
    DiskOnError on_error = DiskOnError::Pause;  ///< key "on-error": what an I/O error or a full host disk does
    friend bool operator==(const DiskConfig&, const DiskConfig&) = default;
};

struct NetConfig {
    std::string id;
    NetKind kind = NetKind::User;
    std::optional<MacAddress> mac;  ///< assign_ids() makes one from name and id when absent
    std::vector<Forward> forward;
    std::string hostname;           ///< that DHCP hands out
    std::string dns;                ///< IPv4 of the resolver; empty: the host's
    bool restricted = false;        ///< only forwards pass; key "restrict"
    friend bool operator==(const NetConfig&, const NetConfig&) = default;
};

/// Where the first serial port goes. Text form: "stdio", "pty", "none", "file=PATH", "socket=PATH".
struct ConsoleConfig {
    ConsoleKind kind = ConsoleKind::Stdio;
    std::string path;  ///< file and socket only
    friend bool operator==(const ConsoleConfig&, const ConsoleConfig&) = default;
};
Result<ConsoleConfig> parse_console(std::string_view text);
std::string to_string(const ConsoleConfig& console);

/// Where a debugger may connect. Text form: "none", "tcp:[ADDR:]PORT", "unix:PATH"; the address is IPv4, or IPv6 in brackets,
/// absent or empty it is 127.0.0.1. Port 0: a free one.
enum class GdbKind : uint8_t { None, Tcp, Unix };
struct GdbConfig {
    GdbKind kind = GdbKind::None;
    std::string address;  ///< tcp only, without brackets
    uint16_t port = 0;
    std::string path;     ///< unix only
    friend bool operator==(const GdbConfig&, const GdbConfig&) = default;
};
Result<GdbConfig> parse_gdb(std::string_view text);

/// Where to listen. Text form: "[ADDR:]PORT", ADDR an IPv4 address or an IPv6 one in brackets. Errors: Usage.
struct ListenAddress {
    std::string address = "127.0.0.1";
    uint16_t port = 0;  ///< 0: any that is free
};
Result<ListenAddress> parse_listen(std::string_view text);
std::string to_string(const GdbConfig& gdb);
/// False if somebody on another host could connect.
bool is_local(const GdbConfig& gdb);

enum class CheckKind : uint8_t { Off, Lockstep, Sampled };
enum class PerfKind : uint8_t { Off, Map, JitDump };

/// How `perf` on the host learns what translated code is. Text form: "off", "map", "jitdump=FOLDER".
struct PerfConfig {
    PerfKind kind = PerfKind::Off;
    std::string folder;  ///< jitdump only
    friend bool operator==(const PerfConfig&, const PerfConfig&) = default;
};
Result<PerfConfig> parse_perf(std::string_view text);
std::string to_string(const PerfConfig& perf);

inline constexpr uint32_t kMaxVcpus = 254;  ///< xAPIC ids 0 to 253; 255 is broadcast, 254 stays free
inline constexpr uint16_t kMaxDiskQueues = 16;  ///< as virtio/blk and virtio/scsi want
inline constexpr size_t kMaxDevices = 24;   ///< disks and nets: one PCI slot each on bus 0; all SCSI disks together one
inline constexpr size_t kMaxScsiDisks = 64; ///< as virtio/scsi has targets
inline constexpr uint16_t kMaxHotplugPorts = 16;

/// The layout of virtio queues that drivers are offered (virtio 1.2, 2.7 and 2.8).
enum class Rings : uint8_t { Split, Packed };

/// Which device carries the console: the first serial port, or virtio-console (the guest's hvc0).
enum class ConsoleDevice : uint8_t { Serial, Virtio };

struct GuestConfig {
    std::string name;           ///< [a-z0-9][a-z0-9_.-]{0,62}; made up when empty
    EngineChoice engine = EngineChoice::Auto;
    std::string cpu = "x86-64-v2";
    uint32_t cpus = 1;
    Bytes memory = 512_MiB;
    std::string image;          ///< name of a built image; resolved into kernel, initrd, append and a disk by the launcher
    std::string kernel;         ///< paths on the host
    std::string initrd;
    std::string append;         ///< kernel command line
    std::vector<DiskConfig> disk;
    std::vector<NetConfig> net;
    ConsoleConfig console;
    ConsoleDevice console_device = ConsoleDevice::Serial;  ///< key "console_device"
    bool debug_exit = false;    ///< isa-debug-exit at port 0xf4
    bool no_reboot = false;     ///< the first reset ends the guest
    GdbConfig gdb;
    bool gdb_wait = false;      ///< the vCPUs wait for the debugger
    Rings rings = Rings::Split;
    bool rng = true;
    bool balloon = true;
    uint16_t hotplug_ports = 4; ///< PCI Express slots for devices that come while the guest runs
    CheckKind check = CheckKind::Off;  ///< translator against interpreter: every block, or a sample of their runs
    PerfConfig perf;            ///< of the translator
    std::string system_map;     ///< path of the guest kernel's System.map, for perf
    bool engine_stats = false;  ///< the vCPUs' time is split, and all that the engine counted is printed at the end
    friend bool operator==(const GuestConfig&, const GuestConfig&) = default;
};

/// "512M", "1G": a whole number with an optional K, M, G or T (powers of 1024; "iB" or "B" may follow). A number alone
/// is bytes. Errors: Usage.
Result<Bytes> parse_size(std::string_view text);
/// The shortest exact text: "512M", "1G", "1000".
std::string to_string(Bytes size);

/// "key=value,key=value": a comma in a value is written twice. The first item may be a value alone: it is the path of a disk and
/// the kind of a net. Errors: Usage, naming an unknown key and the known ones.
Result<DiskConfig> parse_disk(std::string_view text);
Result<NetConfig> parse_net(std::string_view text);

/// A TOML document with the same keys: name, memory, [[disk]] path, [[net]] kind ... over `base`. Errors: Usage, with
/// "source:line".
Result<GuestConfig> parse_toml(std::string_view text, std::string_view source, GuestConfig base = {});

/// Sets one key by its text form; "disk" and "net" append. Errors: Usage, "--key: ...".
Result<> set_field(GuestConfig& config, std::string_view key, const std::string& text);

/// JSON, as a launcher hands it to yado-vmm. Lossless.
std::string to_json(const GuestConfig& config);
Result<GuestConfig> guest_config_from_json(std::string_view text);
/// The same for a disk that comes later. Errors: Usage.
std::string to_json(const DiskConfig& disk);
Result<DiskConfig> disk_config_from_json(std::string_view text);

/// Gives every device an id ("disk0", "net0") and every net a MAC address (52:54:00 and a hash of guest name and id).
void assign_ids(GuestConfig& config);

/// What of the host bounds a guest.
struct HostLimits {
    Bytes memory;
    static HostLimits of_this_host();
};

/// Checks everything that can be known without opening a file. Errors: Usage, one line with the remedy.
Result<> validate(const GuestConfig& config, const HostLimits& host);
/// The same for a disk, which has an id.
Result<> validate(const DiskConfig& disk);
/// Errors: Usage, for a name that could not be a folder or host name.
Result<> check_name(std::string_view name);

}  // namespace yado::api
