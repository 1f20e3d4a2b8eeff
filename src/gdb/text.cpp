#include "gdb/text.h"

#include <algorithm>
#include <charconv>

namespace yado::gdb {

namespace {

constexpr std::string_view kDigits = "0123456789abcdefABCDEF";

}  // namespace

std::optional<uint64_t> hex_number(std::string_view text) {
    uint64_t number = 0;
    if (text.empty() || text.size() > 16 || text.find_first_not_of(kDigits) != text.npos) return {};
    std::from_chars(text.data(), text.data() + text.size(), number, 16);
    return number;
}

std::optional<std::vector<std::byte>> hex_bytes(std::string_view text) {
    std::vector<std::byte> bytes;
    if (text.size() % 2 != 0) return {};
    for (size_t i = 0; i < text.size(); i += 2) {
        const auto byte = hex_number(text.substr(i, 2));
        if (!byte) return {};
        bytes.push_back(static_cast<std::byte>(*byte));
    }
    return bytes;
}

std::string to_hex(std::span<const std::byte> bytes) {
    std::string text;
    text.reserve(2 * bytes.size());
    for (const std::byte b : bytes) {
        text += kDigits[std::to_integer<unsigned>(b) >> 4];
        text += kDigits[std::to_integer<unsigned>(b) & 15];
    }
    return text;
}

std::string to_hex(std::string_view bytes) { return to_hex(std::as_bytes(std::span(bytes))); }

std::optional<uint64_t> Arguments::number() {
    const size_t digits = std::min(rest_.find_first_not_of(kDigits), rest_.size());
    const auto value = hex_number(rest_.substr(0, digits));
    if (value) rest_.remove_prefix(digits);
    return value;
}

bool Arguments::skip(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
}

std::string_view Arguments::until(char separator) {
    const size_t at = rest_.find(separator);
    const std::string_view piece = rest_.substr(0, at);
    rest_.remove_prefix(at == rest_.npos ? rest_.size() : at + 1);
    return piece;
}

}  // namespace yado::gdb
