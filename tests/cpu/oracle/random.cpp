#include "random.h"

#include <algorithm>

namespace yado::oracle {

uint64_t Random::integer() {
    static const uint64_t kEdges[] = {0, 1, 2, ~0ull, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
                                      0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffff00000000};
    switch (below(6)) {
        case 0: return below(256);
        case 1: return pick(kEdges);
        case 2: return (1ull << below(64)) + below(5) - 2;
        default: return next();
    }
}

uint32_t Random::float32() {
    static const uint32_t kSpecial[] = {0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xffbfffff,
                                        1, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0x3f800000, 0xbf800000, 0x3f000000,
                                        0x4effffff, 0x4f000000, 0xcf000000, 0x5f000000, 0xdf000000, 0x3fc00000, 0x40200000};
    switch (below(4)) {
        case 0: return pick(kSpecial);
        case 1: return static_cast<uint32_t>(next() & 0x80ffffff) | static_cast<uint32_t>(0x38 + below(16)) << 24;
        case 2: return static_cast<uint32_t>(next() & 0x800fffff) | static_cast<uint32_t>(0x3f8 + below(40)) << 20;
        default: return static_cast<uint32_t>(next());
    }
}

uint64_t Random::float64() {
    static const uint64_t kSpecial[] = {0, 1ull << 63, 0x7ffull << 52, 0xfffull << 52, 0x7ff8ull << 48, 0xfff8ull << 48,
                                        0x7ff0000000000001, 0xfff7ffffffffffff, 1, 0x8000000000000001, 0x000fffffffffffff,
                                        0x0010000000000000, 0x7fefffffffffffff, 0x3ff0000000000000, 0xbff0000000000000,
                                        0x3fe0000000000000, 0x41dfffffffc00000, 0x41e0000000000000, 0xc1e0000000000000,
                                        0x43e0000000000000, 0xc3e0000000000000, 0x3ff8000000000000, 0x36a0000000000000,
                                        0x380fffffffffffff, 0x47efffffefffffff};
    switch (below(4)) {
        case 0: return pick(kSpecial);
        case 1: return (next() & 0x800fffffffffffff) | (0x3c0 + below(0x80)) << 52;
        case 2: return (next() & 0x80000fffffffffff) | (0x3ff00 + below(1024)) << 44;
        default: return next();
    }
}

void Random::float80(uint8_t* out) {
    uint64_t mantissa = next() | 1ull << 63;
    uint16_t exponent = static_cast<uint16_t>(0x3fff - 70 + below(140));
    switch (below(10)) {
        case 0: mantissa = exponent = 0; break;
        case 1: mantissa = 1ull << 63, exponent = 0x7fff; break;                       // infinity
        case 2: mantissa = 3ull << 62 | (one_in(2) ? next() >> 2 : 0), exponent = 0x7fff; break;   // quiet NaN
        case 3: mantissa = 1ull << 63 | (next() >> 2 | 1), exponent = 0x7fff; break;   // signalling NaN
        case 4: mantissa = next() >> (1 + below(63)), exponent = 0; break;             // denormal
        case 5: mantissa = next(), exponent = static_cast<uint16_t>(next()) & 0x7fff; break;  // unnormal, pseudo-anything
        case 6: mantissa = 1ull << 63, exponent = static_cast<uint16_t>(0x3fff + below(66)); break;
        case 7: mantissa = (below(1000) | 1) << below(50); while (!(mantissa >> 63)) mantissa <<= 1; break;
        default: break;
    }
    exponent = static_cast<uint16_t>(exponent | (one_in(2) ? 0x8000 : 0));
    std::memcpy(out, &mantissa, 8);
    std::memcpy(out + 8, &exponent, 2);
}

void Random::vector(uint8_t* out) {
    const auto fill = [&](size_t size, auto make) {
        for (size_t at = 0; at < 16; at += size) {
            const uint64_t v = make();
            std::memcpy(out + at, &v, std::min(size, sizeof v));
        }
    };
    switch (below(7)) {
        case 0: return fill(4, [&] { return float32(); });
        case 1: return fill(8, [&] { return float64(); });
        case 2: return fill(1, [&] { return "\0abcABC\x7f\x80\xff"[below(10)]; });   // strings for PCMPxSTRx
        case 3: return fill(2, [&] { return integer(); });
        case 4: return fill(8, [&] { return integer(); });
        case 5: {
            const uint64_t pair[2] = {below(20), 0};
            std::memcpy(out, pair, 16);
            return;
        }
        default: return fill(8, [&] { return next(); });
    }
}

}  // namespace yado::oracle
