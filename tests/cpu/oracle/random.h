// The seeded random source of the instruction tests, and the values that are worth trying more often than chance does.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>

namespace yado::oracle {

/// splitmix64: any seed is good, one 64-bit state, the same on every machine.
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        uint64_t z = (state_ += 0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
    uint64_t below(uint64_t n) { return next() % n; }
    bool one_in(unsigned n) { return below(n) == 0; }
    template <typename T, size_t N>
    T pick(const T (&table)[N]) {
        return table[below(N)];
    }

    template <typename T>
    T pick(std::initializer_list<T> table) {
        return table.begin()[below(table.size())];
    }

    /// An integer with edges: random, small, around powers of two, sign boundaries.
    uint64_t integer();
    /// Bits of a float with specials: zeros, infinities, quiet and signalling NaNs, denormals, ties.
    uint32_t float32();
    uint64_t float64();
    /// An 80-bit x87 register (10 bytes): as above, and the encodings that the 80387 and later do not support.
    void float80(uint8_t* out);
    /// 16 bytes of one of the shapes that vector instructions care about.
    void vector(uint8_t* out);

  private:
    uint64_t state_;
};

/// A number from the environment, or `fallback`.
inline uint64_t environment(const char* name, uint64_t fallback) {
    const char* text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 0) : fallback;
}

}  // namespace yado::oracle
