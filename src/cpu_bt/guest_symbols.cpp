#include "cpu_bt/guest_symbols.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>

namespace yado::cpu_bt {

namespace {

struct Line {
    uint64_t address = 0;
    char type = 0;
    std::string_view name;
};

/// "ffffffff81000000 T _text"
bool read_line(std::string_view text, Line& line) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), line.address, 16);
    if (error != std::errc()) return false;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (text.size() < 4 || text[0] != ' ' || text[2] != ' ') return false;
    line.type = text[1];
    line.name = text.substr(3);
    return true;
}

bool is_code(char type) { return type == 't' || type == 'T' || type == 'w' || type == 'W'; }

/// The end of the text: behind it there is data, which no code lies in.
constexpr std::string_view kEnd = "_einittext";

}  // namespace

Result<GuestSymbols> GuestSymbols::parse(std::string text, std::string_view source) {
    GuestSymbols symbols;
    symbols.text_ = std::make_unique<const std::string>(std::move(text));
    std::string_view rest = *symbols.text_;
    for (unsigned number = 1; !rest.empty(); ++number) {
        const size_t end = std::min(rest.find('\n'), rest.size());
        Line line;
        if (!read_line(rest.substr(0, end), line)) return fail(ErrorKind::Corrupt, "{}:{}: no line of a System.map (ADDRESS TYPE NAME)", source, number);
        if (is_code(line.type) && line.name.find('\t') == line.name.npos) symbols.symbols_.push_back({line.address, line.name});
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    std::ranges::stable_sort(symbols.symbols_, {}, &Symbol::address);
    if (symbols.symbols_.empty() || symbols.symbols_.back().address == 0)
        return fail(ErrorKind::Corrupt, "{}: names no code; Debian's System.map is in the linux-image-...-dbg package, and /proc/kallsyms as the guest's root sees it does as well", source);
    return symbols;
}

Result<GuestSymbols> GuestSymbols::read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return fail_errno("system map " + path);
    std::ostringstream text;
    text << in.rdbuf();
    return parse(std::move(text).str(), path);
}

std::optional<std::string_view> GuestSymbols::name(uint64_t address) const {
    const auto above = std::ranges::upper_bound(symbols_, address, {}, &Symbol::address);
    if (above == symbols_.begin()) return std::nullopt;
    const Symbol& at = *std::prev(above);
    if (above == symbols_.end() || at.name == kEnd) return std::nullopt;
    return at.name;
}

std::optional<uint64_t> GuestSymbols::address(std::string_view name) const {
    const auto at = std::ranges::find(symbols_, name, &Symbol::name);
    return at == symbols_.end() ? std::nullopt : std::optional(at->address);
}

}  // namespace yado::cpu_bt
