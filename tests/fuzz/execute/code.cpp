#include "code.h"

#include <cstring>

namespace yado::execute {

namespace {

using oracle::Random;
using Code = std::vector<uint8_t>;

constexpr uint8_t kOneByte[] = {
    0x50, 0x51, 0x52, 0x53, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5d, 0x5e, 0x5f, 0x54, 0x5c, 0x63, 0x68, 0x69, 0x6a, 0x6b, 0x80, 0x81, 0x83, 0x84, 0x85,
    0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8d, 0x8f, 0x90, 0x91, 0x93, 0x97, 0x98, 0x99, 0x9c, 0x9d, 0x9e, 0x9f, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac,
    0xad, 0xae, 0xaf, 0xb0, 0xb4, 0xb7, 0xb8, 0xbb, 0xbf, 0xc0, 0xc1, 0xc6, 0xc7, 0xc8, 0xc9, 0xd0, 0xd1, 0xd2, 0xd3, 0xd7, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfc, 0xfd, 0xfe, 0xff};
constexpr uint8_t kTwoByte[] = {
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x40, 0x42, 0x43, 0x44, 0x45, 0x48, 0x4a, 0x4c, 0x4f, 0x90, 0x92, 0x94, 0x95,
    0x98, 0x9a, 0x9c, 0x9f, 0xa2, 0xa3, 0xa4, 0xa5, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xb0, 0xb1, 0xb3, 0xb6, 0xb7, 0xb8, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf, 0xc0, 0xc1, 0xc2,
    0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xcb, 0xcf, 0x18, 0x1f, 0x05, 0x00, 0x01, 0x20, 0x22, 0x23, 0x30, 0x32, 0x77};

constexpr uint64_t kFlags = cpu::rflags::ARITH | cpu::rflags::DF | cpu::rflags::ID;

void put32(Code& out, uint32_t value) {
    for (unsigned n = 0; n < 4; ++n) out.push_back(static_cast<uint8_t>(value >> 8 * n));
}
void put_random(Code& out, Random& random, uint64_t n) {
    while (n-- > 0) out.push_back(static_cast<uint8_t>(random.next()));
}

/// A ModRM byte with what belongs to it. Displacements are small, RIP-relative ones reach data.
void put_modrm(Code& out, Random& random) {
    const auto reg = static_cast<uint8_t>(random.below(8) << 3);
    auto rm = static_cast<uint8_t>(random.below(8));
    if (random.one_in(3)) return out.push_back(0xc0 | reg | rm);
    const auto mod = random.pick({0x00, 0x00, 0x40, 0x40, 0x40, 0x80});
    if (rm == 4 && !random.one_in(3)) rm = 3;
    out.push_back(static_cast<uint8_t>(mod | reg | rm));
    uint8_t sib = 0;
    if (rm == 4) {
        sib = static_cast<uint8_t>(random.next());
        if (random.one_in(2)) sib = (sib & 7) | 0x20;   // no index
        out.push_back(sib);
    }
    const bool absolute = mod == 0 && (rm == 5 || (rm == 4 && (sib & 7) == 5));
    if (mod == 0x40) out.push_back(static_cast<uint8_t>(random.next()));
    if (absolute) put32(out, static_cast<uint32_t>((rm == 5 ? kData - kCode : kData) + random.below(kDataPages * kPage)));
    if (mod == 0x80) put32(out, static_cast<uint32_t>(random.below(0x2000) - 0x1000));
}

void put_prefixes(Code& out, Random& random) {
    if (random.one_in(6)) out.push_back(0x66);
    if (random.one_in(14)) out.push_back(random.pick({0xf3, 0xf2}));
    if (random.one_in(30)) out.push_back(0xf0);
    if (random.one_in(40)) out.push_back(random.pick({0x64, 0x65}));
    if (random.one_in(60)) out.push_back(random.pick({0x67, 0x2e, 0x36, 0x3e}));
    if (!random.one_in(3)) out.push_back(static_cast<uint8_t>(0x40 | random.below(16)));
}

void put_vector(Code& out, Random& random) {
    if (random.one_in(2)) {
        const uint8_t mandatory = random.pick({0, 0x66, 0x66, 0xf2, 0xf3});
        if (mandatory) out.push_back(mandatory);
        if (random.one_in(2)) out.push_back(static_cast<uint8_t>(0x40 | random.below(16)));
        out.push_back(0x0f);
        const uint8_t map = random.pick({0, 0, 0, 0x38, 0x3a});
        if (map) out.push_back(map);
        out.push_back(map == 0x38 ? static_cast<uint8_t>(random.below(0x42)) : map ? static_cast<uint8_t>(random.below(0x23)) : static_cast<uint8_t>(random.pick({0x10, 0x50, 0x60, 0x70, 0xd0, 0xe0, 0xf0}) + random.below(16)));
        put_modrm(out, random);
        if (map == 0x3a || random.one_in(8)) out.push_back(static_cast<uint8_t>(random.next()));
        return;
    }
    const auto map = static_cast<uint8_t>(1 + random.below(3));
    out.push_back(0xc4);
    out.push_back(static_cast<uint8_t>(random.next() & 0xe0) | map);
    out.push_back(static_cast<uint8_t>(random.next()) & (random.one_in(3) ? 0xff : 0x7f));
    put_random(out, random, 1);
    put_modrm(out, random);
    if (map == 3 || random.one_in(6)) out.push_back(static_cast<uint8_t>(random.next()));
}

void put_branch(Code& out, Random& random) {
    switch (random.below(8)) {
    case 0: out.push_back(0xe8), put32(out, static_cast<uint32_t>(random.below(64) - 12)); break;
    case 1: out.push_back(0xe9), put32(out, static_cast<uint32_t>(random.below(64) - 12)); break;
    case 2: out.push_back(0x0f), out.push_back(static_cast<uint8_t>(0x80 | random.below(16))), put32(out, static_cast<uint32_t>(random.below(64) - 12)); break;
    case 3: out.push_back(static_cast<uint8_t>(0xe0 | random.below(4))), out.push_back(static_cast<uint8_t>(random.below(24) - 6)); break;
    case 4: out.push_back(random.pick({0xc3, 0xc2, 0xff, 0xcf, 0xcb})), put_modrm(out, random); break;
    default: out.push_back(static_cast<uint8_t>(0x70 | random.below(16))), out.push_back(static_cast<uint8_t>(random.below(32) - 8));
    }
}

/// Something that often is an instruction.
void put_likely(Code& out, Random& random) {
    const uint64_t kind = random.below(20);
    if (kind == 0) return put_random(out, random, 1 + random.below(8));
    if (kind <= 2) return put_branch(out, random);
    if (kind <= 6) return put_vector(out, random);
    put_prefixes(out, random);
    if (kind == 7) {
        out.push_back(static_cast<uint8_t>(0xd8 | random.below(8)));
        return put_modrm(out, random);
    }
    if (kind <= 11) {   // ALU
        out.push_back(static_cast<uint8_t>(random.below(8) << 3 | random.below(6)));
        put_modrm(out, random);
    } else if (kind <= 14) {
        out.push_back(0x0f);
        out.push_back(random.pick(kTwoByte));
        put_modrm(out, random);
    } else {
        out.push_back(random.pick(kOneByte));
        put_modrm(out, random);
    }
    if (random.one_in(4)) put_random(out, random, random.pick({1, 4}));
}

Code noise(Random& random) {
    Code code;
    put_random(code, random, 16 + random.below(48));
    return code;
}

Code likely(Random& random) {
    Code code;
    for (uint64_t n = 3 + random.below(24); n > 0; --n) put_likely(code, random);
    return code;
}

/// A loop over some bytes that rarely leave it: R15 counts.
Code loop(Random& random) {
    Code body;
    const uint64_t pieces = 1 + random.below(6);
    for (uint64_t n = 0; n < pieces; ++n) put_likely(body, random);
    Code code{0x41, 0xbf};                                  // mov r15d, count
    put32(code, static_cast<uint32_t>(random.pick({40, 500, 20000}) + random.below(100)));
    code.insert(code.end(), body.begin(), body.end());
    if (random.one_in(2)) code.insert(code.end(), {0x90, 0x90, 0x90, 0x90});
    code.insert(code.end(), {0x41, 0xff, 0xcf, 0x0f, 0x85});   // dec r15d; jnz body
    put32(code, static_cast<uint32_t>(6 - static_cast<int>(code.size()) - 4));
    return code;
}

/// RDTSC, RDTSCP, RDRAND and RDSEED differ each time: makes others of them.
void make_repeatable(Code& code) {
    for (size_t n = 0; n + 2 < code.size(); ++n) {
        if (code[n] != 0x0f) continue;
        if (code[n + 1] == 0x31) code[n + 1] = 0xa2;
        if (code[n + 1] == 0x01 && code[n + 2] == 0xf9) code[n + 2] = 0xf8;
        if (code[n + 1] == 0xc7 && code[n + 2] >= 0xf0) code[n + 2] &= 0x3f;
    }
}

uint64_t pointer(Random& random) {
    const uint64_t high = random.one_in(3) ? kHigh : 0;
    switch (random.below(12)) {
    case 0: return high + kCode + random.below(kCodePages * kPage);
    case 1: return high + kCodeAlias + random.below(kCodePages * kPage);
    case 2: return high + kLarge + random.below(kRamBytes);
    case 3: return high + kData + kDataPages * kPage + random.below(3 * kPage);   // read-only, device, nothing
    case 4: case 5: return high + kData + (1 + random.below(kDataPages + 1)) * kPage + random.below(64) - 32;
    case 6: return high + random.below(kRamBytes);                                // tables, handlers
    default: return high + kData + (random.below(kDataPages * kPage) & (random.one_in(2) ? ~15ull : ~0ull));
    }
}

void set_vectors(cpu::XsaveArea& area, Random& random) {
    auto* bytes = area.bytes.data();
    const uint16_t control = random.one_in(4) ? static_cast<uint16_t>(random.below(0x10000) & 0xf7f) | 0x40 : 0x37f;
    std::memcpy(bytes, &control, 2);
    bytes[3] = static_cast<uint8_t>(random.below(64) & 0x38);                    // TOP
    bytes[4] = random.one_in(2) ? 0 : static_cast<uint8_t>(random.next());       // tags
    const uint32_t mxcsr = random.one_in(6) ? static_cast<uint32_t>(random.below(0x10000)) : 0x1f80;
    std::memcpy(bytes + 24, &mxcsr, 4);
    for (unsigned n = 0; n < 8; ++n) random.float80(bytes + 32 + 16 * n);
    for (unsigned n = 0; n < 16; ++n) random.vector(bytes + 160 + 16 * n);
    const bool upper = random.one_in(2);
    for (unsigned n = 0; n < 16 && upper; ++n) random.vector(bytes + 576 + 16 * n);
    bytes[512] = upper ? 7 : 3;
}

void set_control(cpu::CpuState& s, Random& random) {
    if (random.one_in(16)) s.cr0 ^= cpu::cr0::WP;
    if (random.one_in(16)) s.cr0 |= cpu::cr0::AM;
    if (random.one_in(40)) s.cr0 |= cpu::cr0::TS;
    if (random.one_in(60)) s.cr0 |= cpu::cr0::EM;
    if (random.one_in(8)) s.cr4 |= cpu::cr4::SMEP;
    if (random.one_in(8)) s.cr4 |= cpu::cr4::SMAP;
    if (random.one_in(4)) s.cr4 |= cpu::cr4::FSGSBASE;
    if (random.one_in(8)) s.cr4 |= cpu::cr4::UMIP | cpu::cr4::TSD;
    if (random.one_in(40)) s.cr4 &= ~cpu::cr4::OSFXSR;
    if (random.one_in(40)) s.cr4 &= ~cpu::cr4::OSXSAVE;
    if (random.one_in(20)) s.xcr0 = random.pick({1, 3});
    if (random.one_in(30)) s.rflags |= cpu::rflags::TF;
    if (random.one_in(16)) s.rflags |= cpu::rflags::AC;
    if (random.one_in(10)) s.rflags |= cpu::rflags::IOPL;
    if (random.one_in(30)) {   // a data breakpoint
        s.dr[0] = pointer(random) & ~7ull;
        s.dr7 = 0x400 | 1 | random.pick({1ull, 3ull}) << 16 | random.pick({0ull, 1ull, 2ull, 3ull}) << 18;
    }
}

}  // namespace

Case make_case(Random& random, const Machine& machine) {
    Case test;
    test.ring = random.one_in(2) ? Ring::Kernel : Ring::User;
    const uint64_t shape = random.below(8);
    test.code = shape == 0 ? noise(random) : shape == 1 ? loop(random) : likely(random);
    if (shape == 1 && random.one_in(2)) test.more_faults = 100;
    make_repeatable(test.code);
    test.at = kCode + random.below(kCodePages * kPage - 256);
    if (random.one_in(4)) test.at = kCode + kPage - random.below(test.code.size() + 1);
    if (random.one_in(16)) test.at = kCode + kCodePages * kPage - random.below(test.code.size() + 1);
    for (size_t n = 0; n < test.data.size(); n += 8) {
        const uint64_t value = random.one_in(3) ? pointer(random) : random.one_in(2) ? random.float64() : random.next();
        std::memcpy(test.data.data() + n, &value, 8);
    }
    cpu::CpuState& s = test.state = machine.base(test.ring);
    for (uint64_t& r : s.gpr) r = random.one_in(3) ? random.integer() : random.one_in(4) ? random.below(64) : pointer(random);
    if (!random.one_in(20)) s.gpr[cpu::RSP] = kData + 2 * kPage + (random.below(kPage) & ~7ull);
    s.rip = test.at + (random.one_in(5) ? kHigh : 0);
    s.rflags = 2 | (random.next() & kFlags);
    set_control(s, random);
    set_vectors(s.xsave, random);
    return test;
}

}  // namespace yado::execute
