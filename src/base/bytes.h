// Unaligned little- and big-endian loads and stores on byte spans.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace yado {

template <typename T>
T load_le(const void* p) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;  // the host is x86-64: little-endian
}
template <typename T>
void store_le(void* p, T v) {
    std::memcpy(p, &v, sizeof v);
}
template <typename T>
T load_be(const void* p) {
    return std::byteswap(load_le<T>(p));
}
template <typename T>
void store_be(void* p, T v) {
    store_le(p, std::byteswap(v));
}

/// The low `size` bytes set (size 1 to 8).
constexpr uint64_t mask_of_size(unsigned size) { return size >= 8 ? ~0ull : (1ull << (8 * size)) - 1; }

template <typename T>
std::span<const std::byte> as_bytes_of(const T& object) {
    return std::as_bytes(std::span(&object, 1));
}
template <typename T>
std::span<std::byte> as_writable_bytes_of(T& object) {
    return std::as_writable_bytes(std::span(&object, 1));
}

}  // namespace yado
