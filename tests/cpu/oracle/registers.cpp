#include "generate.h"
#include "native.h"

namespace yado::oracle {

namespace {

/// x87 control, status and tags of an FXSAVE image: mostly masked exceptions and few empty registers, sometimes all else.
void random_x87(Random& random, uint8_t* fx) {
    uint16_t fcw = static_cast<uint16_t>((random.next() & 0x0f00) | 0x7f);
    if (random.one_in(4)) fcw = static_cast<uint16_t>((random.next() & 0x0f3f) | 0x40);
    uint16_t fsw = static_cast<uint16_t>(random.next() & 0x7f00);
    if (random.one_in(4)) fsw |= random.next() & 0x7f;
    if (!random.one_in(4)) fsw = static_cast<uint16_t>(fsw & ~(~fcw & 0x3f));   // mostly nothing pending
    if (fsw & ~fcw & 0x3f) fsw |= 0x8080;
    const uint8_t tags = random.one_in(3) ? static_cast<uint8_t>(random.next()) : 0xff;
    std::memcpy(fx, &fcw, 2);
    std::memcpy(fx + 2, &fsw, 2);
    fx[4] = tags;
    for (unsigned i = 0; i < 8; ++i) random.float80(fx + 32 + 16 * i);
}

uint32_t random_mxcsr(Random& random) {
    uint32_t value = 0x1f80;
    if (random.one_in(2)) value |= random.next() & 0x6000;
    if (random.one_in(4)) value |= random.next() & 0x8040;
    if (random.one_in(4)) value |= random.next() & 0x3f;
    if (random.one_in(8)) value &= ~(random.next() & 0x1f80);
    return value;
}

}  // namespace

Registers random_registers(Random& random, Mode mode) {
    Registers r;
    for (uint64_t& v : r.gpr) v = mode == Mode::Long ? random.integer() : static_cast<uint32_t>(random.integer());
    if (mode != Mode::Long)
        for (unsigned i = 8; i < 16; ++i) r.gpr[i] = 0;
    r.rflags = (random.next() & 0xcd5) | 0x202;   // CF PF AF ZF SF DF OF
    r.rflags &= ~0x100ull;
    if (random.one_in(2)) r.rflags &= ~0x400ull;
    if (random.one_in(64)) r.rflags |= 0x40000;   // AC
    if (random.one_in(16)) r.rflags |= 0x200000;  // ID
    random_x87(random, r.fx.data());
    const uint32_t mxcsr = random_mxcsr(random);
    std::memcpy(r.fx.data() + 24, &mxcsr, 4);
    const unsigned vectors = mode == Mode::Long ? 16 : 8;
    for (unsigned i = 0; i < vectors; ++i) random.vector(r.fx.data() + 160 + 16 * i);
    if (has_avx())
        for (unsigned i = 0; i < vectors; ++i) random.vector(r.high.data() + 16 * i);
    return r;
}

}  // namespace yado::oracle
