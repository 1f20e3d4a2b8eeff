#include "storage/vhdx/crc32c.h"

#include <array>

namespace yado::storage::vhdx {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;

/// Eight tables: table n tells what a byte does to the sum when n more follow it.
constexpr auto kTables = [] {
    std::array<std::array<uint32_t, 256>, 8> tables{};
    for (uint32_t byte = 0; byte < 256; ++byte) {
        uint32_t sum = byte;
        for (int bit = 0; bit < 8; ++bit) sum = sum & 1 ? sum >> 1 ^ kPolynomial : sum >> 1;
        tables[0][byte] = sum;
    }
    for (size_t n = 1; n < 8; ++n)
        for (size_t byte = 0; byte < 256; ++byte) tables[n][byte] = tables[n - 1][byte] >> 8 ^ tables[0][tables[n - 1][byte] & 0xff];
    return tables;
}();

uint32_t add(uint32_t sum, std::span<const std::byte> bytes) {
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
        uint32_t next = 0;
        for (size_t n = 0; n < 8; ++n) {
            const uint32_t before = n < 4 ? sum >> (8 * n) & 0xff : 0;
            next ^= kTables[7 - n][static_cast<uint32_t>(bytes[n]) ^ before];
        }
        sum = next;
    }
    for (const std::byte b : bytes) sum = sum >> 8 ^ kTables[0][(sum ^ static_cast<uint32_t>(b)) & 0xff];
    return sum;
}

}  // namespace

uint32_t crc32c(std::span<const std::byte> bytes) { return ~add(~0u, bytes); }

uint32_t crc32c(std::span<const std::byte> bytes, size_t hole) {
    constexpr std::byte kZeroes[4] = {};
    return ~add(add(add(~0u, bytes.first(hole)), kZeroes), bytes.subspan(hole + 4));
}

}  // namespace yado::storage::vhdx
