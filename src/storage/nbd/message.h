// Big-endian messages, put together and taken apart. What is taken apart comes from a peer: nothing is read beyond its end.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace yado::storage::nbd {

class BytesOut {
  public:
    template <typename T>
    BytesOut& add(T value) {
        if constexpr (std::is_enum_v<T>) return add(std::to_underlying(value));
        else {
            bytes_.resize(bytes_.size() + sizeof value);
            store_be(bytes_.data() + bytes_.size() - sizeof value, value);
            return *this;
        }
    }
    BytesOut& add_text(std::string_view text) { return add_bytes(std::as_bytes(std::span(text))); }
    BytesOut& add_bytes(std::span<const std::byte> bytes) {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
        return *this;
    }
    BytesOut& add_zeroes(size_t count) {
        bytes_.resize(bytes_.size() + count);
        return *this;
    }
    std::span<const std::byte> bytes() const { return bytes_; }

  private:
    std::vector<std::byte> bytes_;
};

class BytesIn {
  public:
    explicit BytesIn(std::span<const std::byte> bytes) : left_(bytes) {}
    template <typename T>
    std::optional<T> take() {
        if (left_.size() < sizeof(T)) return std::nullopt;
        const T value = load_be<T>(left_.data());
        left_ = left_.subspan(sizeof(T));
        return value;
    }
    /// A length of 32 bits and that much text.
    std::optional<std::string> take_string(uint32_t most) {
        const auto length = take<uint32_t>();
        if (!length || *length > most || *length > left_.size()) return std::nullopt;
        std::string text(reinterpret_cast<const char*>(left_.data()), *length);
        left_ = left_.subspan(*length);
        return text;
    }
    bool empty() const { return left_.empty(); }
    size_t size() const { return left_.size(); }

  private:
    std::span<const std::byte> left_;
};

}  // namespace yado::storage::nbd
