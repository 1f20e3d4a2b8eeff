// Hexadecimal text, as the remote protocol writes numbers and bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace yado::gdb {

/// A whole text of 1 to 16 hexadecimal digits.
std::optional<uint64_t> hex_number(std::string_view text);
/// Two digits a byte, nothing else.
std::optional<std::vector<std::byte>> hex_bytes(std::string_view text);
std::string to_hex(std::span<const std::byte> bytes);
std::string to_hex(std::string_view bytes);

/// Reads a packet's arguments from left to right.
class Arguments {
  public:
    explicit Arguments(std::string_view text) : rest_(text) {}

    /// A number of 1 to 16 digits, up to what is no digit.
    std::optional<uint64_t> number();
    /// True and consumed if the text goes on with it.
    bool skip(std::string_view word);
    /// Up to the separator, which is consumed; all of the rest where there is none.
    std::string_view until(char separator);
    std::string_view rest() const { return rest_; }
    bool empty() const { return rest_.empty(); }

  private:
    std::string_view rest_;
};

}  // namespace yado::gdb
