// Port I/O: IN, OUT, INS, OUTS (SDM vol. 1, chapter 18; vol. 2).
#include "cpu_interp/fpu/fpu.h"
#include "cpu_interp/system/descriptor.h"
#include "cpu_interp/system/handlers.h"

namespace yado::cpu_interp {

namespace {

/// SDM vol. 1, 18.5.2: the I/O permission bit map of the TSS, two bytes read at a time.
void check_bitmap(Core& c, const Insn* i, uint16_t port, unsigned size) {
    constexpr unsigned kMapBase = 102;
    const bool wide = c.tr.attr & 8 && !(c.tr.attr & attr::Unusable);
    if (!wide || c.tr.limit < kMapBase + 1) c.raise(i, Vec::GP, 0);
    const uint32_t at = c.load_system<uint16_t>(i, c.tr.base + kMapBase) + port / 8u;
    if (at + 1 > c.tr.limit) c.raise(i, Vec::GP, 0);
    const unsigned bits = c.load_system<uint16_t>(i, c.tr.base + at) >> (port & 7);
    if (bits & ((1u << size) - 1)) c.raise(i, Vec::GP, 0);
}

void check_port(Core& c, const Insn* i, uint16_t port, unsigned size) {
    if (protected_mode(c) && (c.cpl > iopl(c) || vm86(c))) check_bitmap(c, i, port, size);
    fpu_leave(*c.fpu);  // devices compute with the host's own MXCSR
    if (!(c.cr4 & cpu::cr4::DE) || !(c.dr7 & 0xff)) return;
    constexpr unsigned kLength[4] = {1, 2, 8, 4};
    for (unsigned n = 0; n < 4; ++n) {  // I/O breakpoints: RW = 2
        if (!(c.dr7 >> (2 * n) & 3) || (c.dr7 >> (16 + 4 * n) & 3) != 2) continue;
        const unsigned length = kLength[c.dr7 >> (18 + 4 * n) & 3];
        const uint64_t start = c.dr[n] & ~static_cast<uint64_t>(length - 1);
        if (start < port + size && port < start + length) c.debug_hits |= 1u << n;
    }
}

/// Even opcodes are the byte forms; there is no 64-bit form.
unsigned io_size(const Insn* i) { return !(i->opcode & 1) ? 1 : i->opsize == 2 ? 2 : 4; }

void in(Core& c, const Insn* i, uint16_t port) {
    const unsigned size = io_size(i);
    check_port(c, i, port, size);
    const uint64_t value = c.wiring.devices.port_read(Port(port), size);
    const uint64_t mask = (1ull << (8 * size)) - 1;
    c.gpr[cpu::RAX] = size == 4 ? value & mask : (c.gpr[cpu::RAX] & ~mask) | (value & mask);
    c.rip = c.next_rip(i);
}

void out(Core& c, const Insn* i, uint16_t port) {
    const unsigned size = io_size(i);
    check_port(c, i, port, size);
    c.wiring.devices.port_write(Port(port), size, c.gpr[cpu::RAX] & ((1ull << (8 * size)) - 1));
    c.rip = c.next_rip(i);
}

uint64_t address_mask(const Insn* i) { return i->addrsize == 8 ? ~0ull : (1ull << (8 * i->addrsize)) - 1; }

/// Writes the low part of a register that the address size covers; 32-bit writes clear the upper half.
void write_counter(Core& c, const Insn* i, unsigned r, uint64_t value) {
    const uint64_t mask = address_mask(i);
    c.gpr[r] = i->addrsize == 2 ? (c.gpr[r] & ~mask) | (value & mask) : value & mask;
}

void advance(Core& c, const Insn* i, unsigned r, unsigned size) {
    const bool down = c.sysflags & cpu::rflags::DF;
    write_counter(c, i, r, c.gpr[r] + (down ? -static_cast<uint64_t>(size) : size));
}

/// Runs one(…) once, or RCX times with REP. Between iterations it looks for requests, and then stays at the instruction.
template <typename F>
void repeat(Core& c, const Insn* i, F&& one) {
    if (!i->rep && !i->repne) {
        one();
        c.rip = c.next_rip(i);
        return;
    }
    while (c.gpr[cpu::RCX] & address_mask(i)) {
        one();
        write_counter(c, i, cpu::RCX, c.gpr[cpu::RCX] - 1);
        if (!(c.gpr[cpu::RCX] & address_mask(i))) break;
        if (c.requests.load(std::memory_order_relaxed) || c.alone) {
            c.rep_unfinished = true;
            c.rip = c.rip_of(i);
            return;
        }
    }
    c.rip = c.next_rip(i);
}

}  // namespace

namespace op {

void in_immediate(Core& c, const Insn* i) { in(c, i, static_cast<uint8_t>(i->imm)); }
void in_dx(Core& c, const Insn* i) { in(c, i, static_cast<uint16_t>(c.gpr[cpu::RDX])); }
void out_immediate(Core& c, const Insn* i) { out(c, i, static_cast<uint8_t>(i->imm)); }
void out_dx(Core& c, const Insn* i) { out(c, i, static_cast<uint16_t>(c.gpr[cpu::RDX])); }

void ins(Core& c, const Insn* i) {
    const unsigned size = io_size(i);
    const auto port = static_cast<uint16_t>(c.gpr[cpu::RDX]);
    repeat(c, i, [&] {
        check_port(c, i, port, size);
        const uint64_t at = c.segmented(i, cpu::ES, c.gpr[cpu::RDI] & address_mask(i), size, Acc::Write);
        c.probe_write(i, at, size);  // a fault must come before the device is read
        const uint64_t value = c.wiring.devices.port_read(Port(port), size);
        c.store_slow(i, at, &value, size);
        advance(c, i, cpu::RDI, size);
    });
}

void outs(Core& c, const Insn* i) {
    const unsigned size = io_size(i);
    const auto port = static_cast<uint16_t>(c.gpr[cpu::RDX]);
    repeat(c, i, [&] {
        check_port(c, i, port, size);
        const uint64_t at = c.segmented(i, i->seg, c.gpr[cpu::RSI] & address_mask(i), size, Acc::Read);
        uint64_t value = 0;
        c.load_slow(i, at, &value, size);
        c.wiring.devices.port_write(Port(port), size, value);
        advance(c, i, cpu::RSI, size);
    });
}

}  // namespace op

}  // namespace yado::cpu_interp
