// What headers of several image formats hold alike: identifiers, UTF-16 text. (Numbers: base/bytes.h.)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace yado::storage {

/// 16 bytes that name something. VHD writes them in the order of their text (RFC 4122), VHDX in Microsoft's order of GUIDs,
/// where the first three groups are little-endian.
struct Uuid {
    enum class Order : uint8_t { Text, Guid };
    std::array<std::byte, 16> bytes{};

    /// Random, version 4.
    static Uuid random();
    static Uuid load(const std::byte* from);
    /// "2dc27766-f623-4200-9d64-115e9bfd4a08", in any case, with or without braces. Errors: Usage.
    static Result<Uuid> parse(std::string_view text, Order order);

    void store(std::byte* to) const;
    std::string text(Order order) const;
    bool zero() const { return *this == Uuid{}; }
    friend bool operator==(const Uuid&, const Uuid&) = default;
};

enum class Endian : uint8_t { Little, Big };

/// Up to the first NUL; what is not valid becomes U+FFFD, and control characters do too (they come from a header, and go to a
/// terminal).
std::string text_of_utf16(std::span<const std::byte> utf16, Endian endian);
/// What is not valid UTF-8 becomes U+FFFD. Without a NUL at the end.
std::string utf16_of_text(std::string_view utf8, Endian endian);

}  // namespace yado::storage
