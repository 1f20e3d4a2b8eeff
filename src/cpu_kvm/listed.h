// KVM's "count, then entries" structures: with room for N entries, or of as many as there are.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

namespace yado::cpu_kvm {

/// An ioctl's number holds the size of its structure, and for structures that end in a flexible array the kernel's header
/// makes that greater in C++ than in C (an empty structure before the array has a byte in C++): the number as C has it.
constexpr unsigned long sized_request(unsigned long request, unsigned long size) { return (request & ~0x3fff0000ul) | size << 16; }
constexpr unsigned long listed_request(unsigned long request) { return sized_request(request, 8); }
constexpr unsigned long xsave_request(unsigned long request) { return sized_request(request, 4096); }

/// Head is KVM's structure that ends in a flexible array: its fields before that are two 32-bit words, the first of
/// which is the count.
template <typename Head, typename Entry, size_t N>
struct Listed {
    uint32_t count = 0;
    uint32_t second = 0;
    std::array<Entry, N> entries{};
    static_assert(alignof(Entry) <= 8 && std::is_trivially_copyable_v<Entry>);

    Head* head() { return reinterpret_cast<Head*>(this); }
    /// False: no room.
    bool add(const Entry& entry) {
        if (count >= N) return false;
        entries[count++] = entry;
        return true;
    }
};

/// The same, made of entries whose number is known when it is made.
template <typename Head, typename Entry>
class ListedCopy {
  public:
    explicit ListedCopy(std::span<const Entry> entries) : words_(1 + entries.size_bytes() / sizeof(uint64_t)) {
        static_assert(alignof(Entry) <= 8 && sizeof(Entry) % sizeof(uint64_t) == 0 && std::is_trivially_copyable_v<Entry>);
        const auto count = static_cast<uint32_t>(entries.size());
        std::memcpy(words_.data(), &count, sizeof count);
        if (!entries.empty()) std::memcpy(words_.data() + 1, entries.data(), entries.size_bytes());
    }
    Head* head() { return reinterpret_cast<Head*>(words_.data()); }

  private:
    std::vector<uint64_t> words_;
};

}  // namespace yado::cpu_kvm
