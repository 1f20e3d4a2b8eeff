#include "storage/wire.h"

#include <sys/random.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"

namespace yado::storage {
namespace {

constexpr char32_t kReplacement = 0xfffd;

/// Where the text's byte n lies: its first three groups may be reversed.
constexpr std::array<uint8_t, 16> kGuidOrder{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

size_t place(size_t n, Uuid::Order order) { return order == Uuid::Order::Guid ? kGuidOrder[n] : n; }

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

void append_utf8(std::string& out, char32_t c) {
    if (c < 0x20 || c == 0x7f) c = kReplacement;
    if (c < 0x80) {
        out += static_cast<char>(c);
        return;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    constexpr uint8_t kLead[] = {0, 0xc0, 0xe0, 0xf0};
    out += static_cast<char>(kLead[more] | c >> (6 * more));
    for (int n = more - 1; n >= 0; --n) out += static_cast<char>(0x80 | (c >> (6 * n) & 0x3f));
}

/// Takes one character from the front.
char32_t next_utf8(std::string_view& text) {
    const auto lead = static_cast<uint8_t>(text.front());
    text.remove_prefix(1);
    if (lead < 0x80) return lead;
    const size_t more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4) return kReplacement;
    char32_t c = lead & (0x3f >> more);
    for (size_t n = 0; n < more; ++n) {
        if (text.empty() || (static_cast<uint8_t>(text.front()) & 0xc0) != 0x80) return kReplacement;
        c = c << 6 | (static_cast<uint8_t>(text.front()) & 0x3f);
        text.remove_prefix(1);
    }
    constexpr char32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
    return c < kLeast[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? kReplacement : c;
}

}  // namespace

Uuid Uuid::random() {
    Uuid id;
    const ssize_t n = getrandom(id.bytes.data(), id.bytes.size(), 0);
    YADO_CHECK(n == static_cast<ssize_t>(id.bytes.size()));  // up to 256 bytes are never cut short (getrandom(2))
    id.bytes[7] = (id.bytes[7] & std::byte{0x0f}) | std::byte{0x40};
    id.bytes[6] = (id.bytes[6] & std::byte{0x0f}) | std::byte{0x40};  // the version, wherever the order has it
    id.bytes[8] = (id.bytes[8] & std::byte{0x3f}) | std::byte{0x80};
    return id;
}

Uuid Uuid::load(const std::byte* from) {
    Uuid id;
    std::copy_n(from, id.bytes.size(), id.bytes.begin());
    return id;
}

void Uuid::store(std::byte* to) const { std::ranges::copy(bytes, to); }

Result<Uuid> Uuid::parse(std::string_view text, Order order) {
    const std::string_view whole = text;
    if (text.starts_with('{') && text.ends_with('}')) text = text.substr(1, text.size() - 2);
    Uuid id;
    size_t digits = 0;
    for (size_t at = 0; at < text.size(); ++at) {
        const bool dash = at == 8 || at == 13 || at == 18 || at == 23;
        const int digit = dash ? (text[at] == '-' ? 0 : -1) : hex_digit(text[at]);
        if (digit < 0 || digits == 32) return fail(ErrorKind::Usage, "{}: not a UUID", whole);
        if (dash) continue;
        std::byte& b = id.bytes[place(digits / 2, order)];
        b = b << 4 | std::byte(digit);
        ++digits;
    }
    if (digits != 32) return fail(ErrorKind::Usage, "{}: not a UUID", whole);
    return id;
}

std::string Uuid::text(Order order) const {
    std::string out;
    for (size_t n = 0; n < bytes.size(); ++n) {
        if (n == 4 || n == 6 || n == 8 || n == 10) out += '-';
        out += fmt::format("{:02x}", static_cast<unsigned>(bytes[place(n, order)]));
    }
    return out;
}

std::string text_of_utf16(std::span<const std::byte> utf16, Endian endian) {
    const auto unit = [&](size_t n) { return endian == Endian::Big ? load_be<uint16_t>(&utf16[n * 2]) : load_le<uint16_t>(&utf16[n * 2]); };
    const size_t units = utf16.size() / 2;
    std::string out;
    for (size_t n = 0; n < units; ++n) {
        char32_t c = unit(n);
        if (c == 0) break;
        const bool high = c >= 0xd800 && c < 0xdc00, paired = high && n + 1 < units && unit(n + 1) >= 0xdc00 && unit(n + 1) < 0xe000;
        if (paired) c = 0x10000 + ((c - 0xd800) << 10) + (unit(++n) - 0xdc00u);
        else if (c >= 0xd800 && c < 0xe000) c = kReplacement;
        append_utf8(out, c);
    }
    return out;
}

std::string utf16_of_text(std::string_view utf8, Endian endian) {
    std::string out;
    const auto unit = [&](char32_t u) {
        const char low = static_cast<char>(u), high = static_cast<char>(u >> 8);
        out += endian == Endian::Big ? high : low;
        out += endian == Endian::Big ? low : high;
    };
    while (!utf8.empty()) {
        const char32_t c = next_utf8(utf8);
        if (c < 0x10000) {
            unit(c);
        } else {
            unit(0xd800 + ((c - 0x10000) >> 10));
            unit(0xdc00 + ((c - 0x10000) & 0x3ff));
        }
    }
    return out;
}

}  // namespace yado::storage
