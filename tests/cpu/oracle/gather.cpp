// The part of Generator that leads a gather's elements into the window: base, displacement, and a vector of indices.
#include "generate.h"

namespace yado::oracle {

namespace {

struct Gather {
    unsigned index_size, element_size, count;
    uint8_t* index[2];   ///< halves of the index register
    uint8_t* mask[2];
};

unsigned vector_number(const ZydisDecodedOperand& o) { return static_cast<unsigned>(ZydisRegisterGetId(o.reg.value)); }

Gather describe_gather(Registers* in, const ZydisDecodedInstruction& insn, const ZydisDecodedOperand* operands) {
    Gather g;
    g.index_size = insn.opcode & 1 ? 8 : 4;
    g.element_size = insn.raw.vex.W ? 8 : 4;
    g.count = (insn.raw.vex.L ? 32 : 16) / std::max(g.index_size, g.element_size);
    const auto halves = [&](unsigned n, uint8_t** out) {
        out[0] = in->fx.data() + 160 + 16 * n;
        out[1] = in->high.data() + 16 * n;
    };
    halves(static_cast<unsigned>(ZydisRegisterGetId(operands[1].mem.index)), g.index);
    halves(vector_number(operands[2]), g.mask);
    return g;
}

uint8_t* element(uint8_t* const* halves, unsigned n, unsigned size) { return halves[n * size / 16] + n * size % 16; }

/// Mostly anywhere in the window, at times off its end.
uint64_t gather_target(Random& random) {
    if (random.one_in(60)) return random.one_in(2) ? kWindow - 1 - random.below(256) : kWindow + kWindowSize + random.below(256);
    return kWindow + random.below(kWindowSize - 8);
}

}  // namespace

bool Generator::place_gather(Case* test, Decoded* d, Random& random) const {
    const Gather g = describe_gather(&test->in, d->insn, d->operands);
    const auto& m = d->operands[1].mem;
    const uint64_t segment = segment_base(m.segment), goal = kWindow + kPage - segment;
    const uint64_t disp = m.disp.has_displacement ? static_cast<uint64_t>(m.disp.value) : 0;
    if (m.base != ZYDIS_REGISTER_NONE) {
        uint64_t& base = test->in.gpr[static_cast<unsigned>(ZydisRegisterGetId(m.base))];
        base = goal - disp;
        if (d->insn.address_width == 32) base = (mode_ == Mode::Long ? random.next() << 32 : 0) | static_cast<uint32_t>(base);
    } else {
        std::memcpy(test->code.data() + d->insn.raw.disp.offset, &goal, 4);
        if (!decode(test->code.data(), test->code.size(), d)) return false;
    }
    for (unsigned n = 0; n < g.count; ++n) {
        const int64_t index = static_cast<int64_t>(gather_target(random) - goal - segment) / m.scale;
        std::memcpy(element(g.index, n, g.index_size), &index, g.index_size);
        uint8_t& sign = element(g.mask, n, g.element_size)[g.element_size - 1];
        sign = static_cast<uint8_t>((sign & 0x7f) | (random.one_in(4) ? 0 : 0x80));
    }
    return true;
}

}  // namespace yado::oracle
