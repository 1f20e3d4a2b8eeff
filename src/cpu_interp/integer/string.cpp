// MOVS, STOS, LODS, CMPS, SCAS, with and without REP. SDM vol. 2; vol. 1, 7.3.9.
//
// A REP instruction goes on in steps: a run of elements inside one page on either side by memcpy or fill where nothing
// tells it from single elements, else one element through load and store. Registers are committed after each step, so a
// fault or a request in between leaves the state that a restart needs.
#include <algorithm>

#include "cpu_interp/block.h"
#include "cpu_interp/integer/flags.h"
#include "cpu_interp/integer/operands.h"
#include "cpu_interp/integer/select.h"

namespace yado::cpu_interp {

namespace {

enum class Repeat { None, Always, WhileEqual, WhileNotEqual };

uint64_t address_mask(const Insn* i) {
    return i->addrsize == 8 ? ~uint64_t{0} : i->addrsize == 4 ? 0xffffffff : 0xffff;
}
void write_address(Core& c, const Insn* i, unsigned r, uint64_t v) {
    if (i->addrsize == 2) write_low<uint16_t>(c, r, static_cast<uint16_t>(v));
    else c.gpr[r] = v & address_mask(i);
}
/// Moves RSI or RDI by n bytes in the direction of DF. 0: a step that was not made leaves even the upper half alone.
void advance(Core& c, const Insn* i, unsigned r, uint64_t n) {
    if (n == 0) return;
    const bool down = c.sysflags & cpu::rflags::DF;
    write_address(c, i, r, c.gpr[r] + (down ? -n : n));
}
void count_down(Core& c, const Insn* i, uint64_t n) { write_address(c, i, cpu::RCX, c.gpr[cpu::RCX] - n); }

/// One side of a string instruction: DS:rSI (or an override) or ES:rDI.
struct Side {
    unsigned reg;
    unsigned seg;
    uint64_t ea(const Core& c, const Insn* i) const { return c.gpr[reg] & address_mask(i); }
};
Side source_of(const Insn* i) { return {cpu::RSI, i->seg}; }
constexpr Side kDestination{cpu::RDI, cpu::ES};

uint64_t linear_of(Core& c, const Insn* i, Side side, unsigned size, Acc acc) {
    const uint64_t ea = side.ea(c, i);
    if (c.code_mode == CodeMode::Bits64) return ea + (side.seg >= cpu::FS ? c.seg[side.seg].base : 0);
    return c.segmented(i, side.seg, ea, size, acc);
}

/// How many bytes from the current element upwards stay inside the segment, the address size and the page.
uint64_t room(const Core& c, const Insn* i, Side side, uint64_t linear) {
    const uint64_t ea = side.ea(c, i), in_page = 4096 - (linear & 4095);
    const uint64_t to_wrap = i->addrsize == 8 ? in_page : address_mask(i) - ea + 1;
    if (c.code_mode == CodeMode::Bits64) return std::min(in_page, to_wrap);
    const cpu::Segment& s = c.seg[side.seg];
    const bool expand_down = (s.attr & 0xc) == 4;  // data segment, E (SDM vol. 3, 3.4.5.1)
    if (expand_down || ea > s.limit) return 0;
    return std::min({in_page, to_wrap, uint64_t{s.limit} - ea + 1});
}

/// Host addresses where the TLB has the page; nullptr: take a single element.
const uint8_t* readable(const Core& c, uint64_t linear) {
    const TlbEntry& e = c.tlb_entry(Acc::Read, linear);
    return e.hit(linear, 1) ? static_cast<const uint8_t*>(e.at(linear)) : nullptr;
}
uint8_t* writable(const Core& c, uint64_t linear) {
    const TlbEntry& e = c.tlb_entry(Acc::Write, linear);
    return e.hit(linear, 1) ? static_cast<uint8_t*>(e.at(linear)) : nullptr;
}

/// Copies a run; returns elements done, 0 if this place needs a single step.
template <typename T>
uint64_t copy_run(Core& c, const Insn* i, uint64_t count) {
    const uint64_t from = linear_of(c, i, source_of(i), sizeof(T), Acc::Read);
    const uint64_t to = linear_of(c, i, kDestination, sizeof(T), Acc::Write);
    const uint8_t* s = readable(c, from);
    uint8_t* d = writable(c, to);
    if (!s || !d) return 0;
    uint64_t n = std::min({count, room(c, i, source_of(i), from) / sizeof(T), room(c, i, kDestination, to) / sizeof(T)});
    // A destination inside the source repeats what was just written: copy no more than the distance at a time.
    const uint64_t distance = static_cast<uint64_t>(d - s);
    if (distance < n * sizeof(T)) n = distance / sizeof(T);
    if (n != 0) std::memmove(d, s, n * sizeof(T));
    return n;
}

template <typename T>
uint64_t fill_run(Core& c, const Insn* i, uint64_t count) {
    const uint64_t to = linear_of(c, i, kDestination, sizeof(T), Acc::Write);
    uint8_t* d = writable(c, to);
    if (!d) return 0;
    const uint64_t n = std::min(count, room(c, i, kDestination, to) / sizeof(T));
    const T v = read_low<T>(c, cpu::RAX);
    for (uint64_t k = 0; k < n; ++k) poke<T>(d + k * sizeof(T), v);
    return n;
}

template <typename T>
struct Movs {
    static void one(Core& c, const Insn* i) {
        const uint64_t from = linear_of(c, i, source_of(i), sizeof(T), Acc::Read);
        const T v = c.load<T>(i, from);
        c.store<T>(i, linear_of(c, i, kDestination, sizeof(T), Acc::Write), v);
        advance(c, i, cpu::RSI, sizeof(T));
        advance(c, i, cpu::RDI, sizeof(T));
    }
    static uint64_t run(Core& c, const Insn* i, uint64_t count) {
        const uint64_t n = copy_run<T>(c, i, count);
        advance(c, i, cpu::RSI, n * sizeof(T));
        advance(c, i, cpu::RDI, n * sizeof(T));
        return n;
    }
};
template <typename T>
struct Stos {
    static void one(Core& c, const Insn* i) {
        c.store<T>(i, linear_of(c, i, kDestination, sizeof(T), Acc::Write), read_low<T>(c, cpu::RAX));
        advance(c, i, cpu::RDI, sizeof(T));
    }
    static uint64_t run(Core& c, const Insn* i, uint64_t count) {
        const uint64_t n = fill_run<T>(c, i, count);
        advance(c, i, cpu::RDI, n * sizeof(T));
        return n;
    }
};
template <typename T>
struct Lods {
    static void one(Core& c, const Insn* i) {
        write_low<T>(c, cpu::RAX, c.load<T>(i, linear_of(c, i, source_of(i), sizeof(T), Acc::Read)));
        advance(c, i, cpu::RSI, sizeof(T));
    }
    static uint64_t run(Core&, const Insn*, uint64_t) { return 0; }
};
template <typename T>
struct Cmps {
    static void one(Core& c, const Insn* i) {
        const T a = c.load<T>(i, linear_of(c, i, source_of(i), sizeof(T), Acc::Read));
        const T b = c.load<T>(i, linear_of(c, i, kDestination, sizeof(T), Acc::Read));
        op::Cmp::run(a, b, c.aflags);
        advance(c, i, cpu::RSI, sizeof(T));
        advance(c, i, cpu::RDI, sizeof(T));
    }
    static uint64_t run(Core&, const Insn*, uint64_t) { return 0; }
};
template <typename T>
struct Scas {
    static void one(Core& c, const Insn* i) {
        const T b = c.load<T>(i, linear_of(c, i, kDestination, sizeof(T), Acc::Read));
        op::Cmp::run(read_low<T>(c, cpu::RAX), b, c.aflags);
        advance(c, i, cpu::RDI, sizeof(T));
    }
    static uint64_t run(Core&, const Insn*, uint64_t) { return 0; }
};

template <Repeat Rep>
bool goes_on(const Core& c) {
    if constexpr (Rep == Repeat::WhileEqual) return c.aflags & hflags::ZF;
    if constexpr (Rep == Repeat::WhileNotEqual) return !(c.aflags & hflags::ZF);
    return true;
}

/// Stops between iterations: the instruction will be entered again.
void leave_unfinished(Core& c, const Insn* i) {
    c.take_back(i);
    c.rep_unfinished = true;
    c.rip = c.rip_of(i);
}

/// True when all is done, false when it must be entered again. Polls requests between steps; under TF a step is one
/// iteration (SDM vol. 3, 17.3.1.4).
template <typename Op, Repeat Rep>
bool repeat(Core& c, const Insn* i) {
    const bool stepping = c.sysflags & cpu::rflags::TF;
    const bool down = c.sysflags & cpu::rflags::DF;
    while (const uint64_t count = c.gpr[cpu::RCX] & address_mask(i)) {
        uint64_t done = down || stepping ? 0 : Op::run(c, i, count);
        if (done == 0) {
            Op::one(c, i);
            done = 1;
        }
        count_down(c, i, done);
        if (!goes_on<Rep>(c)) return true;
        if (done == count) break;
        if (stepping || c.requests.load(std::memory_order_relaxed)) return false;
    }
    return true;
}

template <typename Op, Repeat Rep>
void string(Core& c, const Insn* i) {
    if constexpr (Rep == Repeat::None) {
        Op::one(c, i);
    } else if (!repeat<Op, Rep>(c, i)) {
        return leave_unfinished(c, i);
    }
    return next(c, i);
}

template <template <typename> typename Op>
Handler pick_plain(const Insn& i) {
    return with_size_or_byte(i, [&]<typename T>(T) -> Handler {
        return i.rep || i.repne ? string<Op<T>, Repeat::Always> : string<Op<T>, Repeat::None>;
    });
}
template <template <typename> typename Op>
Handler pick_comparing(const Insn& i) {
    return with_size_or_byte(i, [&]<typename T>(T) -> Handler {
        if (i.rep) return string<Op<T>, Repeat::WhileEqual>;
        return i.repne ? string<Op<T>, Repeat::WhileNotEqual> : string<Op<T>, Repeat::None>;
    });
}

}  // namespace

Selected select_string(const Insn& i) {
    if (i.map != Map::One) return {};
    switch (i.opcode) {
    case 0xa4: case 0xa5: return {pick_plain<Movs>(i)};
    case 0xa6: case 0xa7: return {pick_comparing<Cmps>(i)};
    case 0xaa: case 0xab: return {pick_plain<Stos>(i)};
    case 0xac: case 0xad: return {pick_plain<Lods>(i)};
    case 0xae: case 0xaf: return {pick_comparing<Scas>(i)};
    default: return {};
    }
}

}  // namespace yado::cpu_interp
