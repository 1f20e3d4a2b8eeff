// Units are types: an integer whose unit is not in its type stops a review. A Unit converts to its number only by
// .value() and is made only explicitly; addresses add and subtract Bytes, checked where overflow is a guest's choice.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace yado {

/// A count of bytes.
struct Bytes {
    uint64_t n = 0;
    constexpr Bytes() = default;
    constexpr explicit Bytes(uint64_t count) : n(count) {}
    constexpr uint64_t value() const { return n; }
    friend constexpr auto operator<=>(Bytes, Bytes) = default;
    friend constexpr Bytes operator+(Bytes a, Bytes b) { return Bytes(a.n + b.n); }
    friend constexpr Bytes operator-(Bytes a, Bytes b) { return Bytes(a.n - b.n); }
    friend constexpr Bytes operator*(Bytes a, uint64_t k) { return Bytes(a.n * k); }
};
constexpr Bytes operator""_KiB(unsigned long long n) { return Bytes(n << 10); }
constexpr Bytes operator""_MiB(unsigned long long n) { return Bytes(n << 20); }
constexpr Bytes operator""_GiB(unsigned long long n) { return Bytes(n << 30); }

/// An address as the guest's physical bus sees it.
struct GuestPhysAddr {
    uint64_t n = 0;
    constexpr GuestPhysAddr() = default;
    constexpr explicit GuestPhysAddr(uint64_t address) : n(address) {}
    constexpr uint64_t value() const { return n; }
    friend constexpr auto operator<=>(GuestPhysAddr, GuestPhysAddr) = default;
    friend constexpr GuestPhysAddr operator+(GuestPhysAddr a, Bytes b) { return GuestPhysAddr(a.n + b.n); }
    friend constexpr Bytes operator-(GuestPhysAddr a, GuestPhysAddr b) { return Bytes(a.n - b.n); }
    /// a + b unless it wraps past 2^64.
    constexpr std::optional<GuestPhysAddr> checked_add(Bytes b) const {
        uint64_t sum = 0;
        if (__builtin_add_overflow(n, b.n, &sum)) return std::nullopt;
        return GuestPhysAddr(sum);
    }
};

/// An address as the guest's instructions see it after segmentation, before paging.
struct GuestLinearAddr {
    uint64_t n = 0;
    constexpr GuestLinearAddr() = default;
    constexpr explicit GuestLinearAddr(uint64_t address) : n(address) {}
    constexpr uint64_t value() const { return n; }
    friend constexpr auto operator<=>(GuestLinearAddr, GuestLinearAddr) = default;
    /// Wraps at 2^64, as address arithmetic does.
    friend constexpr GuestLinearAddr operator+(GuestLinearAddr a, Bytes b) { return GuestLinearAddr(a.n + b.n); }
};

/// An I/O port number.
struct Port {
    uint16_t n = 0;
    constexpr Port() = default;
    constexpr explicit Port(uint16_t number) : n(number) {}
    constexpr uint16_t value() const { return n; }
    friend constexpr auto operator<=>(Port, Port) = default;
};

/// A disk address or length in 512-byte sectors (virtio 1.2, 5.2.4).
struct Sectors {
    uint64_t n = 0;
    constexpr Sectors() = default;
    constexpr explicit Sectors(uint64_t count) : n(count) {}
    constexpr uint64_t value() const { return n; }
    constexpr Bytes bytes() const { return Bytes(n << 9); }
    friend constexpr auto operator<=>(Sectors, Sectors) = default;
    friend constexpr Sectors operator+(Sectors a, Sectors b) { return Sectors(a.n + b.n); }
};

inline constexpr uint64_t kPageSize = 4096;
inline constexpr uint64_t kPageMask = kPageSize - 1;
constexpr uint64_t page_down(uint64_t v) { return v & ~kPageMask; }
constexpr uint64_t page_up(uint64_t v) { return (v + kPageMask) & ~kPageMask; }

}  // namespace yado
