// Text forms of sizes, addresses, forwards and consoles.
#include <arpa/inet.h>

#include <charconv>
#include <tuple>

#include "api/guest_config.h"

namespace yado::api {

namespace {

template <typename T>
bool parse_whole(std::string_view text, T& out, int base = 10) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
    return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

/// Shift of a size's suffix, or -1.
int shift_of(std::string_view suffix) {
    if (suffix.empty() || suffix == "B") return 0;
    if (suffix.size() > 1 && suffix.substr(1) != "B" && suffix.substr(1) != "iB") return -1;
    constexpr std::string_view kLetters = "KMGT";
    const size_t at = kLetters.find(static_cast<char>(suffix[0] & ~0x20));
    return at == kLetters.npos ? -1 : static_cast<int>(10 * (at + 1));
}

bool is_ipv4(const std::string& text) {
    in_addr address;
    return inet_pton(AF_INET, text.c_str(), &address) == 1;
}

/// "[ADDR:]PORT"
bool parse_end(std::string_view text, std::string& address, uint16_t& port) {
    const size_t colon = text.rfind(':');
    if (colon != text.npos) {
        address = text.substr(0, colon);
        if (!address.empty() && !is_ipv4(address)) return false;
        text.remove_prefix(colon + 1);
    }
    return parse_whole(text, port) && port != 0;
}

bool is_ipv6(const std::string& text) {
    in6_addr address;
    return inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

/// "ADDR", "[ADDR]" or nothing.
bool parse_listen_address(std::string_view text, std::string& address) {
    if (text.starts_with('[') && text.ends_with(']')) {
        address = text.substr(1, text.size() - 2);
        return is_ipv6(address);
    }
    address = text.empty() ? "127.0.0.1" : text;
    return is_ipv4(address);
}

bool parse_tcp(std::string_view text, GdbConfig& gdb) {
    const auto at = parse_listen(text);
    if (at) std::tie(gdb.address, gdb.port) = std::tie(at->address, at->port);
    return at.has_value();
}

}  // namespace

Result<ListenAddress> parse_listen(std::string_view text) {
    const size_t colon = text.rfind(':');
    const std::string_view address = colon == text.npos ? "" : text.substr(0, colon);
    ListenAddress at;
    if (parse_listen_address(address, at.address) && parse_whole(text.substr(colon + 1), at.port)) return at;
    return fail(ErrorKind::Usage, "\"{}\": write [ADDR:]PORT, such as 127.0.0.1:10809", text);
}

Result<Bytes> parse_size(std::string_view text) {
    const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    uint64_t number = 0;
    const int shift = shift_of(text.substr(digits));
    if (!parse_whole(text.substr(0, digits), number) || shift < 0)
        return fail(ErrorKind::Usage, "\"{}\" is no size; write a whole number and K, M, G or T, such as 512M", text);
    if (shift > 0 && number >> (64 - shift) != 0) return fail(ErrorKind::Usage, "\"{}\" is too large", text);
    return Bytes(number << shift);
}

std::string to_string(Bytes size) {
    constexpr std::string_view kLetters = " KMGT";
    uint64_t n = size.value();
    size_t letter = 0;
    while (n != 0 && n % 1024 == 0 && letter + 1 < kLetters.size()) {
        n /= 1024;
        ++letter;
    }
    return letter == 0 ? fmt::format("{}", n) : fmt::format("{}{}", n, kLetters[letter]);
}

Result<MacAddress> parse_mac(std::string_view text) {
    MacAddress mac;
    bool good = text.size() == 17;
    for (size_t i = 0; good && i < 6; ++i)
        good = parse_whole(text.substr(3 * i, 2), mac.octets[i], 16) && (i == 5 || text[3 * i + 2] == ':');
    if (!good) return fail(ErrorKind::Usage, "\"{}\" is no Ethernet address; write it as 52:54:00:12:34:56", text);
    if (mac.octets[0] & 1) return fail(ErrorKind::Usage, "{} is a group address; clear the lowest bit of its first byte", text);
    return mac;
}

std::string to_string(const MacAddress& mac) {
    const auto& o = mac.octets;
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", o[0], o[1], o[2], o[3], o[4], o[5]);
}

Result<Forward> parse_forward(std::string_view text) {
    Forward forward;
    std::string_view rest = text;
    if (rest.starts_with("udp:")) forward.transport = Transport::Udp;
    if (rest.starts_with("udp:") || rest.starts_with("tcp:")) rest.remove_prefix(4);
    const size_t last = rest.rfind(':');
    if (last == rest.npos || !parse_end(rest.substr(0, last), forward.host_address, forward.host_port) ||
        !parse_whole(rest.substr(last + 1), forward.guest_port) || forward.guest_port == 0)
        return fail(ErrorKind::Usage, "\"{}\" is no forward; write [tcp:|udp:][ADDR:]HOSTPORT:GUESTPORT, such as tcp:127.0.0.1:2222:22", text);
    if (forward.host_address.empty()) forward.host_address = "127.0.0.1";
    return forward;
}

std::string to_string(const Forward& f) {
    return fmt::format("{}:{}:{}:{}", f.transport == Transport::Tcp ? "tcp" : "udp", f.host_address, f.host_port, f.guest_port);
}

Result<ConsoleConfig> parse_console(std::string_view text) {
    ConsoleConfig console;
    const size_t equals = text.find('=');
    const std::string_view kind = text.substr(0, equals);
    if (equals != text.npos) console.path = text.substr(equals + 1);
    if (kind == "file" || kind == "socket") {
        if (console.path.empty()) return fail(ErrorKind::Usage, "console \"{}\" needs a path: {}=PATH", kind, kind);
        console.kind = kind == "file" ? ConsoleKind::File : ConsoleKind::Socket;
        return console;
    }
    if (text == "stdio") return console.kind = ConsoleKind::Stdio, console;
    if (text == "pty") return console.kind = ConsoleKind::Pty, console;
    if (text == "none") return console.kind = ConsoleKind::None, console;
    return fail(ErrorKind::Usage, "\"{}\" is no console; write stdio, pty, none, file=PATH or socket=PATH", text);
}

std::string to_string(const ConsoleConfig& console) {
    switch (console.kind) {
    case ConsoleKind::Stdio: return "stdio";
    case ConsoleKind::Pty: return "pty";
    case ConsoleKind::None: return "none";
    case ConsoleKind::File: return "file=" + console.path;
    case ConsoleKind::Socket: return "socket=" + console.path;
    }
    return "none";
}

Result<GdbConfig> parse_gdb(std::string_view text) {
    GdbConfig gdb;
    if (text == "none") return gdb;
    if (text.starts_with("unix:") && text.size() > 5) {
        gdb.kind = GdbKind::Unix;
        gdb.path = text.substr(5);
        return gdb;
    }
    gdb.kind = GdbKind::Tcp;
    if (text.starts_with("tcp:") && parse_tcp(text.substr(4), gdb)) return gdb;
    return fail(ErrorKind::Usage, "\"{}\" is no place for a debugger; write tcp:[ADDR:]PORT or unix:PATH, such as tcp:127.0.0.1:1234", text);
}

std::string to_string(const GdbConfig& gdb) {
    switch (gdb.kind) {
    case GdbKind::None: return "none";
    case GdbKind::Tcp: return fmt::format(fmt::runtime(is_ipv6(gdb.address) ? "tcp:[{}]:{}" : "tcp:{}:{}"), gdb.address, gdb.port);
    case GdbKind::Unix: return "unix:" + gdb.path;
    }
    return "none";
}

bool is_local(const GdbConfig& gdb) {
    return gdb.kind != GdbKind::Tcp || gdb.address.starts_with("127.") || gdb.address == "::1";
}

Result<PerfConfig> parse_perf(std::string_view text) {
    constexpr std::string_view kJitDump = "jitdump=";
    if (text == "off") return PerfConfig{};
    if (text == "map") return PerfConfig{PerfKind::Map, ""};
    if (text.starts_with(kJitDump) && text.size() > kJitDump.size()) return PerfConfig{PerfKind::JitDump, std::string(text.substr(kJitDump.size()))};
    return fail(ErrorKind::Usage, "\"{}\" is none of off, map, jitdump=FOLDER", text);
}

std::string to_string(const PerfConfig& perf) {
    switch (perf.kind) {
    case PerfKind::Off: break;
    case PerfKind::Map: return "map";
    case PerfKind::JitDump: return "jitdump=" + perf.folder;
    }
    return "off";
}

}  // namespace yado::api
