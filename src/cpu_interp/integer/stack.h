// The stack in 64-bit mode, for the handlers that must be fast: one TLB check, else Core::push and pop with all rules.
#pragma once

#include "cpu/state.h"
#include "cpu_interp/core.h"

namespace yado::cpu_interp {

[[gnu::always_inline]] inline void push64(Core& c, const Insn* i, uint64_t value) {
    const uint64_t at = c.gpr[cpu::RSP] - 8;
    const TlbEntry& e = c.tlb_entry(Acc::Write, at);
    if (e.hit(at, 8)) [[likely]] {
        std::memcpy(e.at(at), &value, 8);
        c.gpr[cpu::RSP] = at;
        return;
    }
    c.push(i, 8, value);
}

/// The value on top; RSP stays.
[[gnu::always_inline]] inline uint64_t top64(Core& c, const Insn* i) {
    const uint64_t at = c.gpr[cpu::RSP];
    const TlbEntry& e = c.tlb_entry(Acc::Read, at);
    uint64_t value;
    if (e.hit(at, 8)) [[likely]] {
        std::memcpy(&value, e.at(at), 8);
    } else {
        value = c.pop(i, 8);
        c.gpr[cpu::RSP] = at;
    }
    return value;
}

/// The stack pointer at the stack's width, and moved by n (16-bit stacks keep the upper bits).
inline uint64_t stack_pointer(const Core& c) {
    const uint64_t rsp = c.gpr[cpu::RSP];
    if (c.stack64) return rsp;
    return c.stack32 ? static_cast<uint32_t>(rsp) : static_cast<uint16_t>(rsp);
}
inline void set_stack_pointer(Core& c, uint64_t v) {
    if (c.stack64) c.gpr[cpu::RSP] = v;
    else if (c.stack32) c.gpr[cpu::RSP] = static_cast<uint32_t>(v);
    else c.gpr[cpu::RSP] = (c.gpr[cpu::RSP] & ~uint64_t{0xffff}) | static_cast<uint16_t>(v);
}

}  // namespace yado::cpu_interp
